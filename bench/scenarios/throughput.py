"""Jobs per second, durable from end to end: HTTP batch, PostgreSQL, placement, NATS, simulated workers, verdict rows.

The clock runs from the first request to the last verdict in PostgreSQL (fsync on). CPU is that of Core's processes and
the simulated workers together, from /proc, in microseconds per job.
"""

import time
from typing import Any

import psutil

from bench.harness import Core, core, wait_until
from bench.results import Say
from swarmsync.client import Client

BATCH = 1_000
WORKERS = 8
WORKER_CPUS = 400
PROGRAMS = ("postgres", "nats-server", "valkey", "gunicorn", "worker.program")


def measure(*, quick: bool, say: Say, jobs: int | None = None) -> dict[str, Any]:
    jobs = jobs or (5_000 if quick else 50_000)
    say(f"{jobs:,} jobs in batches of {BATCH:,}")
    with core("simulated", config=f"simulated_count = {WORKERS}\ncpus = {WORKER_CPUS}\n") as there:
        client = there.client()
        wait_until(lambda: client.get("/v1/stats")["workers"].get("ready", 0) == WORKERS, 30)
        _round(client, 1_000)
        cpu_before = _cpu_s(there)
        began = time.perf_counter()
        submitted_s = _round(client, jobs)
        took_s = time.perf_counter() - began
        cpu = {name: round((after - cpu_before.get(name, 0)) * 1e6 / jobs, 1) for name, after in _cpu_s(there).items()}
    return {
        "jobs": jobs,
        "workers": WORKERS,
        "worker_cpus": WORKER_CPUS,
        "jobs_per_s": round(jobs / took_s),
        "submit_per_s": round(jobs / submitted_s),
        "cpu_us_per_job": round(sum(cpu.values()), 1),
        "cpu_us_per_job_by_process": dict(sorted(cpu.items(), key=lambda item: -item[1])[:12]),
    }


def _round(client: Client, jobs: int) -> float:
    """Submit `jobs` in batches and wait for the last verdict; return the seconds that submitting took."""
    began = time.perf_counter()
    last = ""
    for _ in range(0, jobs, BATCH):
        specs = [{"image": "simulated", "name": "bench"}] * BATCH
        last = client.submit_many(specs)[-1]
    submitted_s = time.perf_counter() - began
    client.wait(last, timeout_s=300)
    wait_until(lambda: _active(client) == 0, 300)
    return submitted_s


def _active(client: Client) -> int:
    states = client.get("/v1/stats")["jobs"]
    return sum(states.get(state, 0) for state in ("queued", "starting", "running", "stopping", "scheduled"))


def _cpu_s(there: Core) -> dict[str, float]:
    """CPU seconds so far of each process of this Core, by what it is."""
    seconds: dict[str, float] = {}
    for process in psutil.Process(there.process.pid).children(recursive=True):
        try:
            line = " ".join(process.cmdline())
            times = process.cpu_times()
        except psutil.Error:
            continue
        name = next(
            (key for key in ("postgres", "nats-server", "valkey", "gunicorn", "worker.program") if key in line),
            "engine",
        )
        seconds[name] = seconds.get(name, 0.0) + times.user + times.system
    return seconds
