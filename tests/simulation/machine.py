"""A machine with containers that outlive the worker's agent, and what the container of a job does when it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct
from timeline import Timeline

from swarmsync.model.job import JobRef
from swarmsync.model.lifecycle import EndReason
from swarmsync.model.resources import NOTHING, Need
from worker.container_runtime import Exit, Seen
from worker.terms import Terms


class Behaviour(Struct, frozen=True):
    """What one attempt does. `run_ms` None: it runs until it is stopped; `react_ms` None: it ignores SIGTERM."""

    run_ms: int | None = 1_000
    exit_code: int = 0
    oom: bool = False
    react_ms: int | None = 50
    pull_ms: int = 20
    problem: EndReason | None = None  # it cannot be created


class Container(Struct):
    ref: JobRef
    terms: Terms
    behaviour: Behaviour
    seen: Seen = Seen.CREATED
    started_ms: int | None = None
    exit: Exit | None = None
    timer: list[Any] | None = None
    waiters: list[Callable[[Any, BaseException | None], None]] = []
    wanted_dead: bool = False  # somebody asked it to end before it did

    def grant(self, resume: Callable[[Any, BaseException | None], None]) -> None:
        """Waiting for a container means waiting for its end."""
        if self.exit is not None:
            resume(self.exit, None)
        else:
            self.waiters.append(resume)


class Machine:
    """One Docker engine. `clock_offset_ms` is how far its clocks are from Core's."""

    def __init__(self, name: str, capacity: Need, timeline: Timeline, clock_offset_ms: int) -> None:
        self.name = name
        self.capacity = capacity
        self.timeline = timeline
        self.clock_offset_ms = clock_offset_ms
        self.containers: dict[JobRef, Container] = {}
        self.running: dict[JobRef, Container] = {}
        self.alive = True
        self.on_start: Callable[[Machine, Container], None] = lambda _machine, _container: None
        self.on_end: Callable[[Machine, Container], None] = lambda _machine, _container: None

    @property
    def used(self) -> Need:
        total = NOTHING
        for container in self.running.values():
            total = total.plus(container.terms.need)
        return total

    def create(self, ref: JobRef, terms: Terms, behaviour: Behaviour) -> Container:
        container = self.containers.get(ref)
        if container is None:
            container = self.containers[ref] = Container(ref, terms, behaviour)
        return container

    def start(self, container: Container) -> None:
        if container.seen is not Seen.CREATED or not self.alive:
            return
        container.seen = Seen.RUNNING
        container.started_ms = self.timeline.now_ms
        self.running[container.ref] = container
        self.timeline.note("begin", self.name, container.ref.job_id, container.ref.fence)
        self.on_start(self, container)
        how = container.behaviour
        if how.run_ms is not None:
            container.timer = self.timeline.after(how.run_ms, self._finish, container, how.exit_code, how.oom)

    def stop(self, container: Container, *, kill: bool) -> None:
        """SIGTERM and, when the grace is over, SIGKILL; or that at once."""
        if container.seen is not Seen.RUNNING:
            return
        container.wanted_dead = True
        react_ms, grace_ms = container.behaviour.react_ms, container.terms.grace_ms
        if kill:
            self.timeline.after(5, self._finish, container, 137, False)
        elif react_ms is not None and react_ms < grace_ms:
            self.timeline.after(react_ms, self._finish, container, 143, False)
        else:
            self.timeline.after(grace_ms, self._finish, container, 137, False)

    def remove(self, ref: JobRef) -> None:
        container = self.containers.pop(ref, None)
        if container is not None:
            self._finish(container, -1, False, removed=True)

    def die(self) -> None:
        """The machine is gone for good, and everything that ran on it."""
        self.alive = False
        for container in list(self.containers.values()):
            container.waiters.clear()
            self.remove(container.ref)

    def _finish(self, container: Container, code: int, oom: bool, removed: bool = False) -> None:
        if container.exit is not None:
            return
        if container.timer is not None:
            Timeline.cancel(container.timer)
        ran = container.seen is Seen.RUNNING
        container.seen = Seen.EXITED
        container.exit = Exit(code, oom, container.started_ms, self.timeline.now_ms, "", removed)
        if ran:
            del self.running[container.ref]
            self.timeline.note("exit", self.name, container.ref.job_id, container.ref.fence, code)
            self.on_end(self, container)
        for resume in container.waiters:
            self.timeline.after(0, resume, container.exit, None)
        container.waiters.clear()
