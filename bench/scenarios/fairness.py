"""Who waits how long for whom: 82,227 jobs of 15 tenants on 512 GPUs, through the Scheduler's core on a virtual clock.

The log is Microsoft's Philly (`bench/traces`). Of each policy: every tenant's mean bounded slowdown, the worst of them,
and Jain's index over them. Nobody knows run times beforehand; `sjf` and `easy` are told what users asked for, which is
nothing here, and the default learns from each tenant's last jobs.
"""

from pathlib import Path
from typing import Any, Final

import bench
from bench.plots import Chart
from bench.results import Say
from bench.scenarios import replay

LOG: Final = Path(bench.__file__).parent / "traces" / "philly_gpu_2017.csv.gz"
GPUS: Final = 512
POLICIES: Final = ("default", "easy", "sjf")


def measure(*, quick: bool, say: Say) -> dict[str, Any]:
    return replay.measure(file=LOG, gpus=GPUS, policies=POLICIES, quick=quick, say=say) | {"gpus": GPUS}


def charts(figures: dict[str, Any]) -> list[Chart]:
    tenants = {name: sorted(entry["users"].items()) for name, entry in figures["policies"].items()}
    return [Chart("Mean slowdown of each tenant", "times", dict(tenants), logarithmic=True)]
