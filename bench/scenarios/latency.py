"""Submit to container start, at arrival rates that do not care how Core fares (an open loop, as people are).

A request goes out at each moment of a Poisson process; the clock runs from that planned moment to the start of the
container, as the worker saw it (milliseconds), and to the durable verdict. Simulated workers take no time of their own,
so their figures are those of Core. *alone*: one job after the other on an idle Core, from the request until the client
has the verdict, beside Celery where that is installed. With Docker the engine's time is in it, and `docker run` of the
same image is measured beside it, in turn, in a closed loop: from the call to the first instruction in the container.
"""

import asyncio
import json
import random
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import asyncpg
import uvloop

from bench import peers, peers_on_valkey
from bench.apart import Apart, apart
from bench.harness import Core, core, wait_until
from bench.load import Connection, open_loop, request
from bench.plots import Chart
from bench.results import Say, spread
from bench.scenarios.peers import alone_ms
from bench.scenarios.throughput import all_over
from swarmsync.client import Client
from swarmsync.embedded import load_secrets, plan_postgres
from worker.demo_image import TAG

UPTIME: Final = ("cat", "/proc/uptime")  # hundredths of a second; a static busybox date has no finer
#: Quick or not: arrivals/s and seconds for simulated workers, the same for Docker, rounds beside docker run.
_PLANS: Final[dict[bool, tuple[tuple[tuple[float, float], ...], tuple[tuple[float, float], ...], int]]] = {
    True: (((50, 2),), ((1, 5),), 3),
    False: (((10, 20), (100, 20), (500, 20), (1_000, 20)), ((0.5, 30), (1, 30), (2, 30)), 30),
}
#: Quick or not: jobs one after the other.
_ALONE: Final = {True: 20, False: 300}
_TIMES: Final = """
SELECT id, extract(epoch FROM coalesce(started_at, finished_at))::float8 AS started,
    extract(epoch FROM finished_at)::float8 AS finished FROM swarmsync.jobs WHERE array_id IS NULL
"""
_CONFIG: Final = "simulated_count = 8\ncpus = 400\n[api]\nrequests_per_s = 1000000\n"


def measure(*, quick: bool, say: Say, docker: bool = True, celery: bool = True) -> dict[str, Any]:
    simulated, containers, rounds = _PLANS[quick]
    with core("simulated", config=_CONFIG) as there:
        wait_until(lambda: there.client().get("/v1/stats")["workers"].get("ready", 0) == 8, 30)
        spec = {"image": "simulated", "resources": {"cpus": 0.5}}
        say("one job alone, again and again")
        alone = {"SwarmSync": spread(alone_ms(there.client(), _ALONE[quick]))}
        figures: dict[str, Any] = {"unit": "ms", "alone": alone}
        figures["simulated"] = uvloop.run(_rates(there, spec, simulated, say))
    if celery and "Celery" in peers.installed():
        say("one job alone with Celery")
        alone["Celery"] = _celery(_ALONE[quick])
    if not docker:
        return figures
    with core("docker", config="[api]\nrequests_per_s = 1000000\n") as there:
        client = there.client()
        wait_until(lambda: any(w["liveness"] == "ready" for w in client.get("/v1/workers")["items"]), 30)
        spec = {"image": TAG, "command": ["true"], "resources": {"cpus": 0.1, "memory": "32MiB"}}
        figures["docker"] = uvloop.run(_rates(there, spec, containers, say))
        figures["beside_docker_run"] = _beside(client, rounds, say)
    return figures


def _celery(singles: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="swarmsync-bench-", ignore_cleanup_errors=True) as directory:
        try:
            _, took_s = apart(peers_on_valkey.celery, 100, singles, Path(directory))
        except Apart as problem:  # a peer that does not run must not cost our own figures
            return {"failed": str(problem).strip().splitlines()[-1]}
    return spread([seconds * 1_000 for seconds in took_s])


async def _rates(there: Core, spec: dict[str, Any], plans: tuple[tuple[float, float], ...], say: Say) -> dict[str, Any]:
    postgres = await asyncpg.connect(plan_postgres(there.data_dir, load_secrets(there.data_dir)).url)
    lines: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()
    for _ in range(64):
        lines.put_nowait(await Connection.open(there.url))
    text = request("POST", "/v1/jobs", there.token, json.dumps(spec).encode())
    answer = await (await lines.get()).ask(text)  # the first of everything is not measured
    assert answer.status == 201, answer.body
    figures = {}
    for rate, seconds in plans:
        say(f"{rate:g} arrivals a second for {seconds:g} s")
        due: dict[str, float] = {}
        answered: list[float] = []

        async def ask(_number: int, at: float, due: dict[str, float] = due, took: list[float] = answered) -> None:
            line = await lines.get()
            if line.lost:
                line = await Connection.open(there.url)
            try:
                job = json.loads((await line.ask(text)).body)
                took.append((time.time() - at) * 1_000)
                due[job["id"]] = at
            finally:
                lines.put_nowait(line)

        refused = await open_loop(arrivals(rate, seconds), ask)
        await all_over(postgres)
        figures[f"{rate:g}/s"] = await _read(postgres, due) | {"to_answer": spread(answered), "refused": refused}
    await postgres.close()
    return figures


async def _read(postgres: asyncpg.Connection, due: dict[str, float]) -> dict[str, Any]:
    from swarmsync.ids import encode

    rows = {encode(row["id"]): row for row in await postgres.fetch(_TIMES)}
    starts = [(rows[job]["started"] - at) * 1_000 for job, at in due.items()]
    ends = [(rows[job]["finished"] - at) * 1_000 for job, at in due.items()]
    return {"to_start": spread(starts), "to_verdict": spread(ends)}


def arrivals(rate: float, seconds: float, seed: int = 7) -> list[float]:
    """Return the moments of a Poisson process, the same for the same seed."""
    chance = random.Random(seed)
    moments, at = [], chance.expovariate(rate)
    while at < seconds:
        moments.append(at)
        at += chance.expovariate(rate)
    return moments


def _beside(client: Client, rounds: int, say: Say) -> dict[str, Any]:
    docker_ms, job_ms = [], []
    for number in range(rounds):
        if number % 10 == 0:
            say(f"beside docker run, round {number + 1} of {rounds}")
        docker_ms.append(_docker_run())
        job_ms.append(_job(client))
    docker, job = spread(docker_ms), spread(job_ms)
    return {
        "docker_run": docker,
        "swarmsync": job,
        "added_p50_ms": round(job["p50"] - docker["p50"], 2),
        "ratio_p50": round(job["p50"] / docker["p50"], 3),
    }


def _docker_run() -> float:
    began = _uptime_ms()
    done = subprocess.run(["docker", "run", "--rm", TAG, *UPTIME], check=True, capture_output=True)
    return _ms(done.stdout.decode()) - began


def _job(client: Client) -> float:
    began = _uptime_ms()
    job = client.submit({"image": TAG, "command": list(UPTIME), "resources": {"cpus": 0.5}})
    client.wait(job["id"], timeout_s=60)
    text = b"\n".join(client.lines(f"/v1/jobs/{job['id']}/logs"))
    return _ms(text.decode()) - began


def _uptime_ms() -> float:
    return _ms(Path("/proc/uptime").read_text())


def _ms(text: str) -> float:
    """Milliseconds since the machine started, from what /proc/uptime says."""
    return float(text.split(maxsplit=1)[0]) * 1000


def charts(figures: dict[str, Any]) -> list[Chart]:
    made = []
    for runtime in ("simulated", "docker"):
        rates = figures.get(runtime, {})
        parts = ("p50", "p90", "p99", "p99.9")
        series: dict[str, list[tuple[str | float, float]]] = {
            part: [(rate, max(figure["to_start"][part], 0.1)) for rate, figure in rates.items()] for part in parts
        }
        made.append(Chart(f"Submit to start, {runtime} runtime, open loop", "ms", series, logarithmic=True))
    return made
