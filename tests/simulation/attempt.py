"""Mirrors `worker/assignment.py`: one container's life, step by step, from what is true now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from programs import Program

from swarmsync.errors import Unavailable
from swarmsync.model.job import JobRef
from swarmsync.model.lifecycle import AssignmentState, EndReason
from swarmsync.protocol.messages import Ended, Progress, Started, StopJob
from worker import steps
from worker.container_runtime import Exit, Seen
from worker.steps import End, Step
from worker.terms import Terms

if TYPE_CHECKING:
    from agent import Agent

SLOW_PULL_MS = 1_000
KILL_AGAIN_MS = 10_000
LOOK_MS = 200  # how soon an interrupted step notices


class Attempt:
    def __init__(self, agent: Agent, ref: JobRef, terms: Terms, *, adopted: bool) -> None:
        self.agent = agent
        self.machine = agent.machine
        self.ref = ref
        self.terms = terms
        self.adopted = adopted
        self.container = self.machine.containers.get(ref) if adopted else None
        self._seen = self.container.seen if self.container else Seen.ABSENT
        self._started_ms: int | None = None
        self._stop: StopJob | None = None
        self._cause: EndReason | None = None
        self._cause_ms = 0
        self._running = False

    def stop(self, order: StopJob) -> None:
        """The first cause counts; a kill after a stop only hurries."""
        self._stop = order
        if self._running:
            if self._cause is None:
                self._cause, self._cause_ms = order.reason, self._wall_ms()
            self.agent.life.run(self._bring_down(kill=order.kill))

    def live(self) -> Program:
        end, exit_ = yield from self._steps()
        while True:  # its output must be stored before its end is told
            try:
                yield self.agent._ask("logs", self.ref)
            except Unavailable:
                yield 200
            else:
                break
        started_ms = exit_.started_at if exit_ is not None else self._started_ms
        self.agent.say(
            Ended(
                self.ref, end.reason, end.message, self._wall_ms(), end.exit_code, None if started_ms is None
                else round(started_ms) + self.machine.clock_offset_ms,
            )
        )  # fmt: skip

    def _wall_ms(self) -> int:
        return self.agent.monotonic_ms()

    def _steps(self) -> Program:
        while True:
            match steps.next_step(self._seen, stop_wanted=self._stop is not None):
                case Step.CREATE:
                    problem = yield from self._create()
                    if problem is not None:
                        return End(problem, "it cannot be created", None), None
                case Step.START:
                    yield from self._start()
                case Step.WATCH:
                    return (yield from self._watch())
                case Step.REPORT:
                    if self._seen is Seen.EXITED:
                        return (yield from self._watch())
                    reason = self._stop.reason if self._stop is not None else EndReason.CANCELLED_BY_USER
                    return steps.never_started(reason), None

    def _create(self) -> Program:
        """Pull and create; a stop interrupts it."""
        behaviour = self.agent.world.behaviour_of(self.ref)
        left_ms, pulled_ms = behaviour.pull_ms, 0
        while left_ms > 0 and self._stop is None:
            part_ms = min(left_ms, LOOK_MS)
            yield part_ms
            left_ms, pulled_ms = left_ms - part_ms, pulled_ms + part_ms
            if pulled_ms == SLOW_PULL_MS:
                self.agent.say(Progress(self.ref, AssignmentState.PULLING))
        if self._stop is not None:
            return None
        if behaviour.problem is not None:
            return behaviour.problem
        self.container = self.machine.create(self.ref, self.terms, behaviour)
        self._seen = Seen.CREATED
        yield 1
        return None

    def _start(self) -> Program:
        assert self.container is not None
        yield 5
        if self._stop is not None:
            return
        self.machine.start(self.container)
        self._seen = self.container.seen
        yield 5
        self._started_ms = self._wall_ms()
        self.agent.say(Started(self.ref, self._started_ms))

    def _watch(self) -> Program:
        container = self.container
        assert container is not None
        if self.adopted and container.started_ms is not None and self._seen is Seen.RUNNING:
            self.agent.say(Started(self.ref, container.started_ms + self.machine.clock_offset_ms))
        self._running = self._seen is Seen.RUNNING
        if self._running:
            self.agent.life.run(self._time_out())
            if self._stop is not None:
                self.stop(self._stop)
        exit_: Exit = yield container
        self._running = False
        memory = self.terms.need.memory_bytes
        by_itself = exit_.finished_at is not None and exit_.finished_at + self.machine.clock_offset_ms < self._cause_ms
        cause = None if by_itself else self._cause
        return steps.end_of(exit_, cause, memory_bytes=memory, timeout_ms=self.terms.timeout_ms), exit_

    def _time_out(self) -> Program:
        container = self.container
        if self.terms.timeout_ms is None or container is None or container.started_ms is None:
            return
        yield max(0, container.started_ms + self.terms.timeout_ms - self.agent.timeline.now_ms)
        if self._running and self._cause is None:
            self.stop(StopJob(self.ref, reason=EndReason.TIMEOUT))

    def _bring_down(self, *, kill: bool) -> Program:
        assert self.container is not None
        while self._running:
            self.machine.stop(self.container, kill=kill)
            yield KILL_AGAIN_MS + (0 if kill else self.terms.grace_ms)
            kill = True
