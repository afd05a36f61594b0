"""Docker Swarm's own jobs: a service of so many containers that end, so many at a time, on this one engine.

On Docker's bridge: a swarm gives no container without a network. The engine founds a swarm for the measurement and
leaves it again; `Refused` where it will not, as one with live-restore, and where it is in one, which is not ours.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import docker
from docker.errors import APIError
from docker.types import ContainerSpec, RestartPolicy, ServiceMode, TaskTemplate

LOOPBACK: Final = "127.0.0.1"
#: The network that a swarm makes on each of its engines, and leaves behind.
GATEWAY: Final = "docker_gwbridge"
PATIENCE_S: Final = 300
_LOOK_S: Final = 0.05


class Refused(Exception):
    """This engine does not found a swarm."""


def run(spec: dict[str, Any], count: int, concurrent: int) -> float:
    """Return the seconds from the order to the end of so many containers, for a job's spec like `bench containers`'."""
    engine = docker.from_env()
    try:
        with _swarm(engine):
            return _run(engine, spec, count, concurrent)
    finally:
        engine.close()


@contextmanager
def _swarm(engine: docker.DockerClient) -> Iterator[None]:
    if engine.info().get("Swarm", {}).get("LocalNodeState") != "inactive":
        raise Refused("this engine is in a swarm already, or knows of none")
    there = {network.name for network in engine.networks.list()}
    try:
        engine.swarm.init(advertise_addr=LOOPBACK, listen_addr=f"{LOOPBACK}:2377")
    except APIError as problem:
        raise Refused(problem.explanation or str(problem)) from None
    try:
        yield
    finally:
        engine.swarm.leave(force=True)
        for network in engine.networks.list(names=[GATEWAY]):  # all that have it in their names
            if network.name == GATEWAY and GATEWAY not in there:
                network.remove()


def _run(engine: docker.DockerClient, spec: dict[str, Any], count: int, concurrent: int) -> float:
    container = ContainerSpec(spec["image"], command=spec["command"])
    task = TaskTemplate(container, restart_policy=RestartPolicy(condition="none"))
    mode = ServiceMode("replicated-job", replicas=count, concurrency=concurrent)
    calls: Any = engine.api  # its types say nothing of services
    began = time.perf_counter()
    service = calls.create_service(task, mode=mode)
    try:
        while _ended(calls, service["ID"]) < count:
            if time.perf_counter() - began > PATIENCE_S:
                raise TimeoutError(f"not all of {count} containers of the swarm have ended after {PATIENCE_S} s")
            time.sleep(_LOOK_S)
        return time.perf_counter() - began
    finally:
        calls.remove_service(service["ID"])


def _ended(calls: Any, service_id: str) -> int:
    (found,) = calls.services(filters={"id": service_id}, status=True)
    ended: int = found["ServiceStatus"]["CompletedTasks"]
    return ended
