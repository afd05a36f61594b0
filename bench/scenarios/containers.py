"""Containers a second on one worker, beside raw aiodocker calls on the same engine with the same settings.

*raw*: create, start, wait, read the output, delete, with exactly the body that our worker sends for such a job, so
many at a time. *swarmsync*: as many jobs in one batch on a worker that takes so many at a time; from the request to the
last durable verdict. *swarm*: a job of Docker Swarm's, on the bridge, where the engine may found one. CPU is what
our own processes (Core, its servers, the worker) used per container; Docker's own is not in it; what they use while
nothing is to be done is told apart, per second. Rounds of all alternate. Networks: Docker's bridge, and none. Without a
network our worker keeps empty containers whose namespace the jobs join, and the raw calls make a namespace each.
"""

import asyncio
import statistics
import time
from typing import Any, Final

import aiodocker

from bench import swarm_jobs
from bench.harness import Core, core, wait_until
from bench.plots import Chart
from bench.results import Say
from bench.scenarios.throughput import cpu_s
from swarmsync.client import Client
from swarmsync.model.job import JobRef
from swarmsync.protocol.codec import convert_spec
from swarmsync.protocol.messages import RunJob
from worker.demo_image import TAG
from worker.docker_config import create_body
from worker.plans import model_of, plan_of
from worker.terms import terms_of

CONCURRENT: Final = 4
#: Quick or not: containers per round, rounds, networks.
_SIZES: Final = {True: (4, 1, ("none",)), False: (40, 3, ("bridge", "none"))}


def measure(*, quick: bool, say: Say) -> dict[str, Any]:
    count, rounds, networks = _SIZES[quick]
    figures: dict[str, Any] = {}
    # One worker; its cpus bound how many containers it has at a time.
    with core("docker", config=f"cpus = {CONCURRENT}\n") as there:
        client = there.client()
        wait_until(lambda: any(w["liveness"] == "ready" for w in client.get("/v1/workers")["items"]), 30)
        figures["idle_cpu_ms_per_s"] = _idle_cpu_ms(there, 2 if quick else 10)
        for network in networks:
            spec = _spec(network)
            _ours(there, client, spec, 2 * CONCURRENT)  # warm
            asyncio.run(_raw(spec, CONCURRENT, CONCURRENT))
            raw: list[float] = []
            ours: list[float] = []
            swarm: list[float] = []
            cpu_ms: list[dict[str, float]] = []
            for number in range(rounds):
                say(f"network {network}, round {number + 1} of {rounds}")
                raw.append(count / asyncio.run(_raw(spec, count, CONCURRENT)))
                took_s, used_s = _ours(there, client, spec, count)
                ours.append(count / took_s)
                cpu_ms.append({name: seconds * 1_000 / count for name, seconds in used_s.items()})
                if network == "bridge" and len(swarm) == number:  # not again where it did not work
                    swarm += _swarm(spec, count, say)
            totals = [sum(used.values()) for used in cpu_ms]
            middle = cpu_ms[totals.index(statistics.median_low(totals))]
            figures[f"network {network}"] = {
                "raw_per_s": round(statistics.median(raw), 2),
                "swarmsync_per_s": round(statistics.median(ours), 2),
                "ratio": round(statistics.median(ours) / statistics.median(raw), 3),
                "our_cpu_ms": round(statistics.median(totals), 1),
                "our_cpu_ms_by_process": {n: round(ms, 2) for n, ms in sorted(middle.items(), key=lambda i: -i[1])},
                "spread": {"raw": [round(x, 2) for x in raw], "swarmsync": [round(x, 2) for x in ours]},
            }
            if swarm:
                per_s = statistics.median(swarm)
                beside = {"swarm_per_s": round(per_s, 2), "to_swarm": round(statistics.median(ours) / per_s, 2)}
                figures[f"network {network}"] |= beside
                figures[f"network {network}"]["spread"]["swarm"] = [round(x, 2) for x in swarm]
    return {"unit": "containers/s", "concurrent": CONCURRENT, "containers": count, **figures}


def _spec(network: str) -> dict[str, Any]:
    return {
        "image": TAG,
        "command": ["true"],
        "network": network,
        "resources": {"cpus": 1, "memory": "32MiB"},
    }


def _idle_cpu_ms(there: Core, seconds: float) -> float:
    before = sum(cpu_s(there).values())
    time.sleep(seconds)
    return round((sum(cpu_s(there).values()) - before) * 1_000 / seconds, 1)


def _ours(there: Core, client: Client, spec: dict[str, Any], count: int) -> tuple[float, dict[str, float]]:
    """Return seconds, and CPU seconds by process."""
    before = cpu_s(there)
    began = time.perf_counter()
    job_ids = client.submit_many([spec] * count)
    for job_id in job_ids[: -CONCURRENT - 1 : -1]:  # they begin in this order, so all others have ended by then
        client.wait(job_id, timeout_s=300)  # one request, woken by its end: looks cost CPU that is none of a container
    while client.get("/v1/jobs", {"state": "waiting,active", "limit": 1})["items"]:
        if time.perf_counter() - began > 300:
            raise TimeoutError(f"not all of {count} containers have ended after 300 s")
        time.sleep(0.1)
    took_s = time.perf_counter() - began
    used = {name: after - before.get(name, 0.0) for name, after in cpu_s(there).items()}
    for job_id in job_ids:
        state = client.job(job_id)["state"]
        if state != "succeeded":
            raise RuntimeError(f"job {job_id} is {state}")
    return took_s, used


def _swarm(spec: dict[str, Any], count: int, say: Say) -> list[float]:
    """Return containers/s of Docker Swarm's jobs; nothing where they cannot be measured here."""
    try:
        return [count / swarm_jobs.run(spec, count, CONCURRENT)]
    except Exception as problem:  # noqa: BLE001 a swarm that does not work must not cost our own figures
        say(f"without Docker Swarm: {problem}")
        return []


async def _raw(spec: dict[str, Any], count: int, concurrent: int) -> float:
    """Return the seconds that so many containers took through plain calls."""
    docker = aiodocker.Docker()
    bodies = iter([_body(spec, number) for number in range(count)])

    async def run_on() -> None:
        for body in bodies:
            container = await docker.containers.create(body)
            await container.start()
            await container.wait()
            await container.log(stdout=True, stderr=True)
            await container.delete()

    began = time.perf_counter()
    try:
        await asyncio.gather(*(run_on() for _ in range(concurrent)))
    finally:
        await docker.close()
    return time.perf_counter() - began


def _body(spec: dict[str, Any], number: int) -> dict[str, Any]:
    """What our worker would send; without a name, and as nobody's container."""
    made = convert_spec(spec)
    order = RunJob(JobRef(number + 1, 1), 1, "", 0)
    plan = plan_of(model_of(made, terms_of(made, order), worker="bench", session="bench"), order)
    body = create_body(plan, owner="bench-raw")
    body["Labels"] = {"bench": "raw"}
    return body


def charts(figures: dict[str, Any]) -> list[Chart]:
    networks = [key for key in figures if key.startswith("network ")]
    kinds = {"raw aiodocker calls": "raw_per_s", "SwarmSync": "swarmsync_per_s", "Docker Swarm": "swarm_per_s"}
    series: dict[str, list[tuple[str | float, float]]] = {
        kind: [(network, figures[network][key]) for network in networks if key in figures[network]]
        for kind, key in kinds.items()
    }
    there = {kind: points for kind, points in series.items() if points}
    return [Chart(f"Containers a second, {figures['concurrent']} at a time", "containers/s", there)]
