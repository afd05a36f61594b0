"""As `chaos`, slower and longer: a fault about every 10 s, and the question whether anything grows.

What ends a process has its turn for a quarter of the time, so that each process also lives for long, through the faults
of others. Memory and descriptors of each of Core's processes are looked at each second; a slope is fitted over all
lives of a process together (least squares, each life with a level of its own, its first `WARM_UP_S` left out: caches
fill). It is told with the half width of its 95 % interval, which takes samples for independent and is too narrow. What
is left over is compared with what there was before the first job.
"""

import random
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

from bench import watch
from bench.harness import Core, core
from bench.plots import Chart, Point
from bench.results import Say
from bench.scenarios import chaos
from engine.shared_resource.segment import DIRECTORY

_MIB: Final = 1 << 20
GAP_S: Final = 10.0
#: Of a life, where there is that much; a quick run sees nothing but warm-up.
WARM_UP_S: Final = 600.0
CURVE_EVERY_S: Final = 20.0


def measure(*, quick: bool, say: Say, seed: int | None = None, seconds: float | None = None) -> dict[str, Any]:
    plan = chaos.Plan(
        seed=random.SystemRandom().randrange(1_000_000) if seed is None else seed,
        scenario="all",
        seconds=seconds or (60.0 if quick else 4_800.0),
        jobs=0,
        gap_s=GAP_S / 2,
        rate_per_s=4.0,
        in_turns=True,
    )
    with core("process", config=chaos.CONFIG) as there:
        before = census(there)
        run = chaos.Run(there, plan, say)
        figures = run.figures()
        after = census(there)
    samples = run.watcher.seen.samples
    warm_up_s = watch.WARM_UP_S if plan.seconds < 4 * WARM_UP_S else WARM_UP_S
    figures["memory_mib"] = watch.slopes(samples, lambda sample: sample.memory_bytes / _MIB, warm_up_s)
    figures["descriptors"] = watch.slopes(samples, lambda sample: float(sample.descriptors), warm_up_s)
    figures["memory_curves"] = curves(samples)
    figures["census"] = {"before": before, "after": after}
    figures["failures"] += before != after
    for name, each in figures["memory_mib"].items():
        told = f"{each['per_hour']:+.2f} MiB/h within {each['within']:.2f}"
        say(f"{name:<12} memory {told}, n {each['n']}, {each['lives']} lives")
    say(f"before {before}, after {after}")
    return figures


def curves(samples: Sequence[watch.Sample]) -> dict[str, list[Point]]:
    """Return MiB over seconds by process, thinned to what a plot shows."""
    found: dict[str, list[Point]] = {}
    for sample in samples:
        points = found.setdefault(sample.name, [])
        if not points or sample.at_s - float(points[-1][0]) >= CURVE_EVERY_S:
            points.append((sample.at_s, round(sample.memory_bytes / _MIB, 2)))
    return found


def census(there: Core) -> dict[str, int]:
    """Count what must be again what it was: processes, segments of shared memory, directories of jobs."""
    instance = blake2b(str(there.data_dir).encode(), digest_size=6).hexdigest()  # as swarmsyncd names its segments
    return {
        "processes": len(watch.family(there)),
        "segments": len(list(DIRECTORY.glob(f"swarmsync-{instance}-*"))),
        "job_directories": len(list((there.data_dir / "worker").glob("*/swarmsync-*"))),
    }


def charts(figures: Mapping[str, Any]) -> list[Chart]:
    bars: dict[str, list[Point]] = {
        "slope": [(name, each["per_hour"]) for name, each in figures["memory_mib"].items()],
        "95 % within": [(name, each["within"]) for name, each in figures["memory_mib"].items()],
    }
    grown = Chart("Resident memory", "MiB", figures["memory_curves"], x_unit="s")
    return [*chaos.charts(figures), grown, Chart("Memory's growth", "MiB/h", bars)]
