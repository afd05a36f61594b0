"""Jobs per second, durable from end to end: HTTP batch, PostgreSQL, placement, NATS, simulated workers, verdict rows.

The clock runs from the first request to the last verdict in PostgreSQL (fsync on); the simulated containers take no
time. CPU is that of Core's processes, its servers and the simulated workers together, from /proc, in microseconds per
job. `tenths_per_s` is the rate within each tenth of the jobs, in the order of their verdicts: whether it stays flat.
"""

import asyncio
import time
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import asyncpg
import psutil

from bench.harness import Core, core, wait_until
from bench.plots import Chart
from bench.results import Say
from swarmsync.client import Client
from swarmsync.embedded import load_secrets, plan_postgres

BATCH: Final = 1_000
#: Each look is a query that takes from what is measured.
LOOK_S: Final = 0.1
WORKERS: Final = 8
WORKER_CPUS: Final = 1_500
SPEC: Final = {"image": "simulated"}
CONFIG: Final = f"simulated_count = {WORKERS}\ncpus = {WORKER_CPUS}\n"
_PROGRAMS: Final = ("postgres", "nats-server", "valkey", "gunicorn", "worker.program")
_OPEN: Final = """
SELECT EXISTS (SELECT FROM swarmsync.jobs WHERE state = 'queued')
    OR EXISTS (SELECT FROM swarmsync.jobs WHERE state IN ('starting', 'running', 'stopping'))
"""
_VERDICTS: Final = """
SELECT extract(epoch FROM finished_at)::float8 FROM swarmsync.jobs
WHERE finished_at > to_timestamp($1) ORDER BY finished_at
"""


def measure(*, quick: bool, say: Say, jobs: int | None = None) -> dict[str, Any]:
    jobs = jobs or (5_000 if quick else 100_000)
    with core("simulated", config=CONFIG) as there:
        return run(there, jobs, say)


def run(there: Core, jobs: int, say: Say) -> dict[str, Any]:
    """Measure on a Core that runs with `CONFIG`."""
    client = there.client()
    wait_until(lambda: client.get("/v1/stats")["workers"].get("ready", 0) == WORKERS, 30)
    submit(client, 2_000)
    asyncio.run(verdicts(there, 0.0))  # the first of everything is not measured
    say(f"{jobs:,} jobs in batches of {BATCH:,}")
    before = cpu_s(there)
    began, wall = time.perf_counter(), time.time()
    submit(client, jobs)
    submitted_s = time.perf_counter() - began
    say(f"all submitted after {submitted_s:.1f} s")
    ends = asyncio.run(verdicts(there, wall))
    took_s = ends[-1] - wall
    used = {name: round((after - before.get(name, 0.0)) * 1e6 / jobs, 1) for name, after in cpu_s(there).items()}
    if len(ends) != jobs:
        raise RuntimeError(f"{len(ends)} of {jobs} jobs have a verdict")
    return {
        "jobs": jobs,
        "workers": WORKERS,
        "worker_cpus": WORKER_CPUS,
        "jobs_per_s": round(jobs / took_s),
        "submit_per_s": round(jobs / submitted_s),
        "tenths_per_s": tenths([wall, *ends]),
        "cpu_us_per_job": round(sum(used.values()), 1),
        "cpu_us_per_job_by_process": dict(sorted(used.items(), key=lambda item: -item[1])),
    }


def tenths(moments: list[float]) -> list[int]:
    """Return the rate in each tenth of these ordered moments; the first is when it began, and counts for nothing."""
    count = len(moments) - 1
    edges = [count * part // 10 for part in range(11)]
    return [round((after - before) / max(moments[after] - moments[before], 1e-9)) for before, after in pairwise(edges)]


def submit(client: Client, jobs: int) -> None:
    for start in range(0, jobs, BATCH):
        client.submit_many([SPEC] * min(BATCH, jobs - start))


async def verdicts(there: Core, since: float) -> list[float]:
    """Wait until no job is open; return the moments of the verdicts since then, in order."""
    connection = await asyncpg.connect(plan_postgres(there.data_dir, load_secrets(there.data_dir)).url)
    try:
        await all_over(connection)
        return [row[0] for row in await connection.fetch(_VERDICTS, since)]
    finally:
        await connection.close()


async def all_over(connection: asyncpg.Connection, timeout_s: float = 600) -> None:
    """Wait until no job is queued or placed."""
    deadline = time.monotonic() + timeout_s
    while await connection.fetchval(_OPEN):
        if time.monotonic() > deadline:
            raise TimeoutError("the jobs did not end")
        await asyncio.sleep(LOOK_S)  # when it was over, the rows themselves say


def cpu_s(there: Core) -> dict[str, float]:
    """CPU seconds so far of each process of this Core, by what it is."""
    seconds: dict[str, float] = {}
    for process in psutil.Process(there.process.pid).children(recursive=True):
        try:
            line, own = " ".join(process.cmdline()), process.name()
            used = _ran_s(process)
        except (psutil.Error, OSError):
            continue
        name = next((key for key in _PROGRAMS if key in line), own)
        seconds[name] = seconds.get(name, 0.0) + used
    return seconds


def _ran_s(process: psutil.Process) -> float:
    """CPU seconds of a process's threads, to the nanosecond where the kernel tells (proc(5), schedstat).

    Its ordinary counters are in hundredths, and seldom see a process that wakes for a tenth of a millisecond.
    """
    threads = [*Path(f"/proc/{process.pid}/task").glob("*/schedstat")]
    if not threads:
        times = process.cpu_times()
        return float(times.user + times.system)
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def charts(figures: dict[str, Any]) -> list[Chart]:
    used = list(figures["cpu_us_per_job_by_process"].items())
    return [
        Chart(
            "CPU of a job, by process",
            "us",
            {"per job": [(name.removeprefix("swarm-"), value) for name, value in used]},
        ),
        Chart(
            "Verdicts a second in each tenth of the run",
            "jobs/s",
            {"SwarmSync": [(float(number + 1), float(rate)) for number, rate in enumerate(figures["tenths_per_s"])]},
            x_unit="tenth",
        ),
    ]
