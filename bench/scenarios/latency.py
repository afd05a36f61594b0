"""Submit to container start, beside `docker run` of the same image: what the whole engine adds to the container itself.

For each of n rounds, in turn: `docker run --rm IMAGE date +%s%N` and a job with the same command. A container prints the
time when its process runs; the clock starts before the command (or the request). Both are on one machine, so one clock.
"""

import subprocess
import time
from typing import Any

from bench.harness import Core, core, spread, wait_until
from worker.demo_image import TAG

COMMAND = ("date", "+%s%N")


def measure(*, quick: bool = False) -> dict[str, Any]:
    rounds = 10 if quick else 50
    subprocess.run(["docker", "image", "inspect", TAG], check=True, capture_output=True)
    with core("docker") as there:
        client = there.client()
        wait_until(lambda: any(w["liveness"] == "ready" for w in client.get("/v1/workers")["items"]), 30)
        _job(there, client)  # the first of everything is not measured
        _docker_run()
        docker_ms, job_ms = [], []
        for _ in range(rounds):
            docker_ms.append(_docker_run())
            job_ms.append(_job(there, client))
    docker, job = spread(docker_ms), spread(job_ms)
    return {
        "unit": "ms from the request to the first instruction in the container",
        "docker_run": docker,
        "swarmsync": job,
        "added_p50_ms": round(job["p50"] - docker["p50"], 2),
        "ratio_p50": round(job["p50"] / docker["p50"], 3),
    }


def _docker_run() -> float:
    began = time.time_ns()
    done = subprocess.run(["docker", "run", "--rm", TAG, *COMMAND], check=True, capture_output=True)
    return _running_at(done.stdout.decode()) - began / 1e6


def _job(there: Core, client: Any) -> float:
    began = time.time_ns()
    job = client.post("/v1/jobs", {"image": TAG, "command": list(COMMAND), "resources": {"cpus": 0.5}})
    client.get(f"/v1/jobs/{job['id']}?wait=30")
    text = client.text(f"/v1/jobs/{job['id']}/logs")
    assert there.process.poll() is None
    return _running_at(text) - began / 1e6


def _running_at(text: str) -> float:
    """Milliseconds since 1970; a busybox without %N gives whole seconds and fails here."""
    digits = text.strip()
    if not digits.isdigit() or len(digits) < 16:
        raise ValueError(f"the container printed {text!r}, not nanoseconds")
    return int(digits) / 1e6
