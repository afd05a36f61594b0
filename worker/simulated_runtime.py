"""Containers that are only values: for benches and tests with thousands of workers in one process.

What a container does is read from its plan's environment: SIM_DURATION (`50ms`, `2s`, or a number of milliseconds;
default 0), SIM_EXIT, SIM_STDOUT and SIM_STDERR (written when it starts), SIM_OOM=1 (killed for memory: 137), SIM_SIGNAL
(killed by that signal: 128 + its number) and SIM_IGNORE_STOP=1 (only SIGKILL ends it early). A container of no duration
ends within `start`, without a timer. An image `slow-pull:1s` takes that long to be there. Survives its agents as Docker
does: they may share one object one after another.
"""

import asyncio
import io
import posixpath
import tarfile
from collections.abc import AsyncIterator, Callable, Mapping
from functools import lru_cache
from typing import Final, Protocol

from swarmsync.clock import Clock, SystemClock
from swarmsync.model.lifecycle import EndReason
from swarmsync.model.resources import parse_duration_ms
from worker.container_runtime import (
    NO_EXIT_CODE,
    ContainerPlan,
    Exit,
    ImageRef,
    LogPiece,
    Observed,
    RegistryAuth,
    RuntimeInfo,
    RuntimeProblem,
    Seen,
    Stream,
    Usage,
    signal_number,
)

_KILLED: Final = 128
_SLOW: Final = "slow-pull:"
_STREAMS: Final[tuple[tuple[Stream, str], ...]] = (("stdout", "SIM_STDOUT"), ("stderr", "SIM_STDERR"))


class Timer(Protocol):
    def cancel(self) -> None: ...


class _Container:
    __slots__ = ("end", "plan", "started_ms", "timer", "waiters")

    def __init__(self, plan: ContainerPlan) -> None:
        self.plan = plan
        self.started_ms: int | None = None
        self.timer: Timer | None = None
        self.end: Exit | None = None
        self.waiters: list[asyncio.Future[None]] = []


class SimulatedRuntime:
    """`call_later` is the running loop's unless given; with `clock` it makes time the caller's (seconds, callback)."""

    name = "simulated"

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        call_later: Callable[[float, Callable[[], None]], Timer] | None = None,
        cpus_milli: int = 64_000,
        memory_bytes: int = 256 << 30,
    ) -> None:
        self._clock = clock or SystemClock()
        self._call_later = call_later
        self._info = RuntimeInfo("simulated", cpus_milli, memory_bytes, 0, ("no containers run here: a simulation",))
        self._containers: dict[str, _Container] = {}

    async def open(self) -> RuntimeInfo:
        return self._info

    async def close(self) -> None:
        """Nothing to let go of: the containers go on, and so do their timers."""

    async def ensure_image(self, image: str, auth: RegistryAuth | None = None) -> ImageRef:  # noqa: ARG002 no registry
        if image.startswith(_SLOW):
            await self._pause(_duration_ms(image.removeprefix(_SLOW)) / 1000)
        return ImageRef(image, image, 0)

    async def _pause(self, seconds: float) -> None:
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def end() -> None:
            if not over.done():
                over.set_result(None)

        call_later = self._call_later or asyncio.get_running_loop().call_later
        timer = call_later(seconds, end)
        try:
            await over
        finally:
            timer.cancel()

    async def create(self, plan: ContainerPlan) -> str:
        name = plan.name
        present = self._containers.get(name)
        if present is None:
            self._containers[name] = _Container(plan)
        elif present.plan.fence != plan.fence:
            raise RuntimeProblem(
                EndReason.CREATE_FAILED, f"another container has the name {name}; remove it first", retryable=True
            )
        return name

    async def start(self, container_id: str) -> None:
        container = self._containers.get(container_id)
        if container is None:
            raise RuntimeProblem(EndReason.CONTAINER_REMOVED, "the container was removed before it started")
        if container.started_ms is not None:
            return
        environment = container.plan.environment
        try:
            duration_ms = _duration_ms(environment.get("SIM_DURATION", "0"))
            code, oom = _outcome(environment)
        except ValueError as error:
            raise RuntimeProblem(EndReason.START_FAILED, f"the simulation's settings are wrong: {error}") from None
        container.started_ms = self._clock.wall_ms()
        if duration_ms == 0:
            self._finish(container, code, oom=oom)
            return
        call_later = self._call_later or asyncio.get_running_loop().call_later
        container.timer = call_later(duration_ms / 1000, lambda: self._finish(container, code, oom=oom))

    async def wait(self, container_id: str) -> Exit:
        container = self._containers.get(container_id)
        if container is None:
            return Exit(NO_EXIT_CODE, removed=True)
        if container.end is None:
            if container.started_ms is None:
                return Exit(0)
            await self._ended(container)
        assert container.end is not None
        return container.end

    async def logs(self, container_id: str, *, skip: Mapping[str, int]) -> AsyncIterator[LogPiece]:
        container = self._containers.get(container_id)
        if container is None or container.started_ms is None:
            return
        for stream, variable in _STREAMS:
            text = container.plan.environment.get(variable)
            data = text.encode()[skip.get(stream, 0) :] if text else b""
            if data:
                yield LogPiece(stream, data, container.started_ms / 1000)
        if container.end is None:
            await self._ended(container)

    async def stop(self, container_id: str, signal: str, grace_s: float) -> None:
        container = self._containers.get(container_id)
        if container is None or container.started_ms is None or container.end is not None:
            return
        try:
            number = signal_number(signal)
        except ValueError as error:
            raise RuntimeProblem(EndReason.DOCKER_ERROR, str(error)) from None
        if not container.plan.environment.get("SIM_IGNORE_STOP"):
            self._finish(container, _KILLED + number)
            return
        call_later = self._call_later or asyncio.get_running_loop().call_later
        timer = call_later(grace_s, lambda: self._finish(container, _KILLED + 9))
        try:
            await self._ended(container)
        finally:
            timer.cancel()

    async def kill(self, container_id: str) -> None:
        container = self._containers.get(container_id)
        if container is not None and container.started_ms is not None:
            self._finish(container, _KILLED + 9)

    async def remove(self, container_id: str) -> None:
        container = self._containers.pop(container_id, None)
        if container is not None:
            self._finish(container, NO_EXIT_CODE, removed=True)

    async def archive(self, container_id: str, path: str) -> AsyncIterator[bytes]:
        """SIM_OUTPUT=/out/a.txt=text makes one file."""
        container = self._containers.get(container_id)
        if container is None:
            raise RuntimeProblem(EndReason.CONTAINER_REMOVED, "the container was removed before its outputs were read")
        name, _, text = container.plan.environment.get("SIM_OUTPUT", "").partition("=")
        parent = posixpath.dirname(path)
        if name == path or name.startswith(f"{path}/"):
            made = io.BytesIO()
            with tarfile.open(fileobj=made, mode="w") as tar:
                entry = tarfile.TarInfo(posixpath.relpath(name, parent))
                entry.size = len(text.encode())
                tar.addfile(entry, io.BytesIO(text.encode()))
            yield made.getvalue()

    async def usage(self, container_id: str) -> Usage | None:
        """As Docker: nothing once it has ended."""
        container = self._containers.get(container_id)
        if container is None or container.started_ms is None or container.end is not None:
            return None
        return Usage(memory_peak_bytes=0, cpu_s=0.0)

    async def written(self, container_id: str) -> int | None:  # noqa: ARG002 nothing counts it here
        return None

    async def images(self) -> tuple[str, ...]:
        return ()

    async def trim_images(self, budget: int) -> list[str]:  # noqa: ARG002 no images
        return []

    async def list(self) -> list[Observed]:
        return [_observed(container_id, container) for container_id, container in self._containers.items()]

    async def _ended(self, container: _Container) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        container.waiters.append(waiter)
        await waiter

    def _finish(self, container: _Container, code: int, *, oom: bool = False, removed: bool = False) -> None:
        if container.end is not None:
            return
        started_ms = container.started_ms
        started_at = started_ms / 1000 if started_ms is not None else None
        finished_at = self._clock.wall_ms() / 1000 if started_ms is not None else None
        container.end = Exit(code, oom, started_at, finished_at, "", removed)
        if container.timer is not None:
            container.timer.cancel()
        for waiter in container.waiters:
            if not waiter.done():
                waiter.set_result(None)
        container.waiters.clear()


def _observed(container_id: str, container: _Container) -> Observed:
    plan, end, started_ms = container.plan, container.end, container.started_ms
    seen = Seen.EXITED if end is not None else Seen.CREATED if started_ms is None else Seen.RUNNING
    return Observed(
        container_id=container_id,
        job=plan.job,
        attempt=plan.attempt,
        fence=plan.fence,
        session=plan.session,
        state=seen,
        exit_code=end.exit_code if end is not None else None,
        oom_killed=end is not None and end.oom_killed,
        started_at=started_ms / 1000 if started_ms is not None else None,
        finished_at=end.finished_at if end is not None else None,
        note=plan.note,
    )


def _outcome(environment: Mapping[str, str]) -> tuple[int, bool]:
    """Return the exit code and whether memory was the cause. Raises ValueError."""
    if environment.get("SIM_OOM") == "1":
        return _KILLED + 9, True
    named = environment.get("SIM_SIGNAL")
    return (_KILLED + signal_number(named) if named else int(environment.get("SIM_EXIT", "0"))), False


@lru_cache(maxsize=256)
def _duration_ms(text: str) -> float:
    return float(text) if text.replace(".", "", 1).isdigit() else parse_duration_ms(text)
