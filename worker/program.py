"""The worker's program; `swarmsyncd worker` becomes it. Chooses the runtime, connects, runs one agent or many."""

import asyncio
import importlib.metadata
import os
import signal
import sys
from collections.abc import MutableMapping
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import structlog
import uvloop
from msgspec import structs

from conf.settings import LocalWorkerSettings, WorkerSite
from swarmsync import collector
from swarmsync.bus import Bus
from swarmsync.errors import ConfigError
from swarmsync.json_lines import event_line
from swarmsync.model.policy import Allowance
from swarmsync.model.resources import parse_size
from worker import egress, gpus, identity
from worker.agent import Agent
from worker.capacity import check_amounts, default_name, offer_of
from worker.container_runtime import ContainerRuntime, RuntimeInfo, RuntimeProblem
from worker.docker_runtime import DockerRuntime
from worker.process_runtime import ProcessRuntime
from worker.simulated_runtime import SimulatedRuntime
from worker.watch import Watch

EXIT_CONFIG = 3
TIDY_EVERY_S = 10.0
PATIENCE_S = 3.0  # before a worker says that it has no connection yet
EXIT_REFUSED = 4  # by Core; a supervisor tries again, ever more rarely

log = structlog.get_logger()


def main(path: str) -> None:
    """Run until SIGTERM; SIGHUP leaves the containers to the next agent. `path` names a WorkerSite in JSON.

    Exit codes: 3 for bad settings, 4 where Core refuses.
    """
    site = msgspec.json.decode(Path(path).read_bytes(), type=WorkerSite)
    if site.log_format == "json":
        structlog.configure(processors=[structlog.processors.add_log_level, _as_json])
    try:
        again = uvloop.run(_main(site.worker, site))
    except ConfigError as problem:
        sys.stderr.write(f"worker: {problem}\n")
        raise SystemExit(EXIT_CONFIG) from None
    except identity.NotAWorkerError as problem:
        sys.stderr.write(f"worker: {problem}\n")
        raise SystemExit(EXIT_REFUSED) from None
    if again:
        os.execv(sys.executable, [sys.executable, "-m", "worker.program", path])  # noqa: S606 our program


def _as_json(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    return event_line("worker", event)


async def open_runtime(settings: LocalWorkerSettings, site: WorkerSite) -> tuple[ContainerRuntime, RuntimeInfo]:
    """Open the wanted runtime; `auto` takes Docker where it answers, else plain processes, and says so."""
    owner = owner_of(settings.name or default_name(), site.owner or site.join_token)
    if settings.runtime == "simulated":
        simulated = SimulatedRuntime()
        return simulated, await simulated.open()
    if settings.runtime in ("auto", "docker"):
        images = Path(site.state_dir) / f"{owner}.images.json"
        docker = DockerRuntime(
            owner=owner, pulled=images, allowed=allowance_of(settings), keeps_networks=settings.keep_networks
        )
        try:
            info = await docker.open()
        except RuntimeProblem as problem:
            await docker.close()
            if settings.runtime == "docker":
                raise ConfigError(f"Docker does not answer: {problem.message}") from None
            log.warning("no Docker engine answers: jobs run as plain processes, without isolation", why=problem.message)
        else:
            warning = await egress.close_link_local()
            if info.gives_gpus and (found := await gpus.names()) is not None:
                info = structs.replace(info, gpus=len(found), gpu_model=gpus.common_model(found))
            return docker, info if warning is None else structs.replace(info, warnings=(*info.warnings, warning))
    process = ProcessRuntime(Path(site.state_dir) / owner)
    return process, await process.open()


def allowance_of(settings: LocalWorkerSettings) -> Allowance:
    """What this machine's owner lets jobs loosen."""
    return Allowance(
        tuple(settings.allow_paths),
        tuple(settings.allow_capabilities),
        tuple(settings.allow_devices),
        settings.allow_machine_network,
        settings.allow_privileged,
    )


def owner_of(name: str, join_token: str) -> str:
    """Whose containers these are on a shared engine: another Core may use the same worker's name.

    The join token is Core's own secret, so its hash tells Cores apart; it does not give the token away.
    """
    return f"{name}-{blake2b(join_token.encode(), digest_size=6).hexdigest()}"


async def _main(settings: LocalWorkerSettings, site: WorkerSite) -> bool:
    """Run the agents; tell whether this program must begin anew and adopt what they left."""
    check_amounts(settings)
    loop = asyncio.get_running_loop()
    starting = asyncio.ensure_future(_started(settings, site))

    def stop() -> None:
        if not starting.cancel() and not starting.cancelled():
            for agent in starting.result()[1]:
                agent.stop()

    for number in (signal.SIGTERM, signal.SIGINT):  # from the start: a container's first process is not ended by them
        loop.add_signal_handler(number, stop)
    await asyncio.wait({starting})
    if starting.cancelled():
        return False
    bus, agents = starting.result()
    collector.relax()

    def leave() -> None:
        for agent in agents:
            agent.leave()

    loop.add_signal_handler(signal.SIGHUP, leave)

    async def run(agent: Agent) -> None:
        await agent.run()
        if agent.must_begin_anew:
            leave()

    async def tidy() -> None:
        while True:
            await asyncio.sleep(TIDY_EVERY_S)
            collector.tidy()

    tidying = asyncio.create_task(tidy())
    try:
        await asyncio.gather(*(run(agent) for agent in agents))
    finally:
        tidying.cancel()
        await bus.close()
        for agent in agents:
            await agent.close()
    return any(agent.must_begin_anew for agent in agents)


async def _started(settings: LocalWorkerSettings, site: WorkerSite) -> tuple[Bus, list[Agent]]:
    bus = await _connected(settings, site)
    if settings.runtime != "simulated" and site.join_token == site.enroll_token:
        # A machine of its own: its token is used once, and may be left out later.
        site = structs.replace(site, owner=identity.owner(Path(site.state_dir), settings.name or default_name()))
    return bus, [await _agent(bus, entry, site) for entry in workers_of(site)]


async def _connected(settings: LocalWorkerSettings, site: WorkerSite) -> Bus:
    """Connect, however long that takes; say so when it takes long."""
    if settings.runtime == "simulated":
        connecting = asyncio.ensure_future(Bus.connect(site.nats_url, "worker"))
    else:
        name = settings.name or default_name()
        connecting = asyncio.ensure_future(
            identity.connect(site.nats_url, name, Path(site.state_dir), site.enroll_token)
        )
    try:
        if not (await asyncio.wait({connecting}, timeout=PATIENCE_S))[0]:
            log.warning(
                "NATS does not let this worker in yet; it goes on trying", nats=urlsplit(site.nats_url).hostname
            )
        return await connecting
    finally:
        connecting.cancel()


def _images_max(settings: LocalWorkerSettings) -> int | None:
    try:
        return parse_size(settings.images_max) if settings.images_max else None
    except ValueError as problem:
        raise ConfigError(f"worker.images_max: {problem}") from None


def workers_of(site: WorkerSite) -> list[LocalWorkerSettings]:
    """One worker, or of as many simulated ones as wanted this program's, each with a name of its own."""
    settings = site.worker
    if settings.runtime != "simulated" or settings.simulated_count == 1:
        return [settings]
    base = settings.name or "simulated"
    own = range(settings.simulated_count) if site.numbers is None else range(*site.numbers)
    return [structs.replace(settings, name=f"{base}-{number}") for number in own]


async def _agent(bus: Bus, settings: LocalWorkerSettings, site: WorkerSite) -> Agent:
    version = importlib.metadata.version("swarmsync")
    runtime, info = await open_runtime(settings, site)
    for warning in info.warnings:
        log.warning(warning)
    offer = offer_of(settings, runtime.name, info, version)
    watch = None  # simulated containers end with this process
    if runtime.name != "simulated":
        watch = Watch(Path(site.state_dir), runtime.name, owner_of(offer.name, site.owner or site.join_token))
    return Agent(bus, runtime, offer, site.join_token, watch, _images_max(settings))


if __name__ == "__main__":
    main(sys.argv[1])
