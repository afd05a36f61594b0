"""Programs without an event loop: generators that yield where the real ones await.

A program yields a number (sleep so many milliseconds) or a `Wish` (a bell, a request, a statement) and is resumed with
the answer. `Life` is one incarnation of a program: killed, all its generators end at once wherever they are; paused
(SIGSTOP), they stand still while time goes on, and go on with what is then long past.
"""

from collections.abc import Callable, Generator
from typing import Any, Protocol, TypeAlias

from timeline import Timeline


class Wish(Protocol):
    """Something to wait for: `grant` is given what to call with (value, error) when it has come."""

    def grant(self, resume: Callable[[Any, BaseException | None], None]) -> None: ...


Program: TypeAlias = Generator[Any, Any, Any]


class Life:
    def __init__(self, timeline: Timeline, name: str) -> None:
        self.name = name
        self.alive = True
        self.paused = False
        self._timeline = timeline
        self._parked: list[Callable[[], None]] = []

    def run(self, program: Program) -> None:
        """Begin a program; its first step runs as an event of its own."""
        self._timeline.after(0, self._resume, program, None, None)

    def call(self, handler: Callable[..., None], *values: Any) -> None:
        """Something reached the program from outside: now, or once it goes on."""
        if self.paused:
            self._parked.append(lambda: self.call(handler, *values))
        elif self.alive:
            handler(*values)

    def kill(self) -> None:
        self.alive = False
        self._parked.clear()

    def pause(self) -> None:
        self.paused = True

    def unpause(self) -> None:
        self.paused = False
        parked, self._parked = self._parked, []
        for go_on in parked:
            self._timeline.after(0, go_on)

    def _resume(self, program: Program, value: Any, error: BaseException | None) -> None:
        if not self.alive:
            program.close()
            return
        if self.paused:
            self._parked.append(lambda: self._resume(program, value, error))
            return
        try:
            wish = program.send(value) if error is None else program.throw(error)
        except StopIteration:
            return
        if isinstance(wish, int | float):
            self._timeline.after(wish, self._resume, program, None, None)
        else:
            wish.grant(lambda value, error: self._resume(program, value, error))


class Bell:
    """Wakes a program that waits for work. Rung while nobody waits, it is remembered."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._rung = False
        self._resume: Callable[[Any, BaseException | None], None] | None = None
        self._limit: list[Any] | None = None
        self._limit_ms: int | None = None

    def ring(self) -> None:
        if self._resume is None:
            self._rung = True
        else:
            self._timeline.after(0, self._wake, self._resume)
            self._over()

    def clear(self) -> None:
        self._rung = False

    def wait(self, limit_ms: int | None = None) -> "Bell":
        self._limit_ms = limit_ms
        return self

    def grant(self, resume: Callable[[Any, BaseException | None], None]) -> None:
        if self._rung:
            self._rung = False
            self._timeline.after(0, resume, None, None)
            return
        self._resume = resume
        if self._limit_ms is not None:
            self._limit = self._timeline.after(self._limit_ms, self._late)

    def _late(self) -> None:
        resume = self._resume
        self._over()
        if resume is not None:
            resume(None, None)

    def _over(self) -> None:
        if self._limit is not None:
            Timeline.cancel(self._limit)
        self._resume = self._limit = None

    @staticmethod
    def _wake(resume: Callable[[Any, BaseException | None], None]) -> None:
        resume(None, None)


class Every:
    """`engine.service.Every` on virtual time."""

    def __init__(self, timeline: Timeline, period_ms: int) -> None:
        self._timeline = timeline
        self._period_ms = period_ms
        self._due_ms = 0

    def __call__(self) -> bool:
        if self._timeline.now_ms < self._due_ms:
            return False
        self._due_ms = max(self._due_ms + self._period_ms, self._timeline.now_ms)
        return True
