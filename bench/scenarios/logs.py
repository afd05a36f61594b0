"""Output of jobs: bytes a second from a container into PostgreSQL, and on to somebody who follows.

*store*: jobs that write so much each (simulated: the bytes are there at once, so this is the way through the worker,
NATS, the Logger and PostgreSQL alone; Docker: `dd` writes them through the engine's log file), from the request to the
verdict, which comes after the last byte is durable. *follow*: the same job while a client reads its output live; the
clock runs until the client has the last byte.
"""

import time
from typing import Any, Final

from bench.harness import Core, core, wait_until
from bench.plots import Chart
from bench.results import Say
from bench.scenarios.throughput import cpu_s
from swarmsync.calls import job_path
from swarmsync.client import Client
from worker.demo_image import TAG

MIB: Final = 1 << 20
JOBS_PER_REQUEST: Final = 100  # their text must fit into one request
#: Quick or not: MiB of one simulated job, jobs at a time; MiB of the job in Docker.
_SIZES: Final = {True: (0.05, 4, 2), False: (0.05, 200, 20)}


def measure(*, quick: bool, say: Say, docker: bool = True) -> dict[str, Any]:
    simulated_mib, jobs, docker_mib = _SIZES[quick]
    figures: dict[str, Any] = {"unit": "MB/s"}
    with core("simulated") as there:
        client = there.client()
        _ready(client)
        text = "x" * 99 + "\n"
        spec = {
            "image": "simulated",
            "environment": {"SIM_STDOUT": text * int(simulated_mib * MIB / len(text))},
            "resources": {"cpus": 0.1},
        }
        say(f"{jobs} simulated jobs of {simulated_mib:g} MiB")
        figures["simulated to store"] = _stored(there, client, spec, jobs, simulated_mib)
    if docker:
        with core("docker") as there:
            client = there.client()
            _ready(client)
            spec = {
                "image": TAG,
                "command": ["sh", "-c", f"yes {'y' * 99} | head -c {docker_mib * MIB}"],
                "resources": {"cpus": 1, "memory": "64MiB"},
                "logs": {"max": "1GiB"},
            }
            say(f"one container that writes {docker_mib} MiB")
            figures["docker to store"] = _stored(there, client, spec, 1, docker_mib)
            say("the same with a follower")
            figures["docker to a follower"] = _followed(client, spec, docker_mib)
    return figures


def _ready(client: Client) -> None:
    wait_until(lambda: any(w["liveness"] == "ready" for w in client.get("/v1/workers")["items"]), 30)


def _stored(there: Core, client: Client, spec: dict[str, Any], jobs: int, mib: float) -> dict[str, float]:
    used, began = sum(cpu_s(there).values()), time.perf_counter()
    job_ids: list[str] = []
    for start in range(0, jobs, JOBS_PER_REQUEST):
        job_ids += client.submit_many([spec] * min(JOBS_PER_REQUEST, jobs - start))
    for job_id in job_ids:
        job = client.wait(job_id, timeout_s=300)
        if job["state"] != "succeeded":
            raise RuntimeError(f"job {job_id} is {job['state']}: {job['message']}")
    took_s = time.perf_counter() - began
    megabytes = jobs * mib * MIB / 1e6
    return {
        "mb": round(megabytes, 1),
        "mb_per_s": round(megabytes / took_s, 2),
        "our_cpu_ms_per_mb": round((sum(cpu_s(there).values()) - used) * 1_000 / megabytes, 1),
    }


def _followed(client: Client, spec: dict[str, Any], mib: float) -> dict[str, float]:
    began = time.perf_counter()
    job = client.submit(spec)
    seen = 0
    for line in client.lines(job_path(job["id"], "logs"), {"follow": "true"}):
        seen += len(line) + 1
    took_s = time.perf_counter() - began
    if seen < mib * MIB:
        raise RuntimeError(f"the follower got {seen} bytes")
    return {"mb": round(seen / 1e6, 1), "mb_per_s": round(seen / took_s / 1e6, 2)}


def charts(figures: dict[str, Any]) -> list[Chart]:
    cells = [(name, figure["mb_per_s"]) for name, figure in figures.items() if isinstance(figure, dict)]
    return [Chart("Output of jobs", "MB/s", {"SwarmSync": list(cells)})]
