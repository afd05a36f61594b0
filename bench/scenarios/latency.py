"""Submit to container start, beside `docker run` of the same image: what the whole engine adds to the container.

For each of n rounds, in turn: `docker run --rm IMAGE COMMAND` and a job with the same command. A container prints the
machine's uptime when its process runs; the clock starts before the command (or the request), and is the same.
"""

import subprocess
from pathlib import Path
from typing import Any

from bench.harness import Core, core, wait_until
from bench.results import Say, spread
from swarmsync.client import Client
from worker.demo_image import TAG

COMMAND = ("cat", "/proc/uptime")  # hundredths of a second; a static busybox date has no finer


def measure(*, quick: bool, say: Say) -> dict[str, Any]:
    rounds = 10 if quick else 50
    subprocess.run(["docker", "image", "inspect", TAG], check=True, capture_output=True)
    with core("docker") as there:
        client = there.client()
        wait_until(lambda: any(w["liveness"] == "ready" for w in client.get("/v1/workers")["items"]), 30)
        _job(there, client)  # the first of everything is not measured
        _docker_run()
        docker_ms, job_ms = [], []
        for number in range(rounds):
            if number % 10 == 0:
                say(f"round {number + 1} of {rounds}")
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
    began = _uptime_ms()
    done = subprocess.run(["docker", "run", "--rm", TAG, *COMMAND], check=True, capture_output=True)
    return _ms(done.stdout.decode()) - began


def _job(there: Core, client: Client) -> float:
    began = _uptime_ms()
    job = client.submit({"image": TAG, "command": list(COMMAND), "resources": {"cpus": 0.5}})
    client.wait(job["id"], timeout_s=30)
    text = b"\n".join(client.lines(f"/v1/jobs/{job['id']}/logs"))
    assert there.process.poll() is None
    return _ms(text.decode()) - began


def _uptime_ms() -> float:
    return _ms(Path("/proc/uptime").read_text())


def _ms(text: str) -> float:
    """Milliseconds since the machine started, from what /proc/uptime says."""
    return float(text.split(maxsplit=1)[0]) * 1000
