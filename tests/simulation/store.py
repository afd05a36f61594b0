"""PostgreSQL as programs meet it: each call takes time, may find nobody, and may commit without being able to say so."""

from collections.abc import Callable
from typing import Any

from fates import DONE, LOST, REFUSED, SILENT
from programs import Life, Program
from statements import Tables
from timeline import Timeline

from swarmsync.errors import Unavailable

#: How long a statement hangs before its caller gives it up.
HANGS_MS = 5_000


class Store:
    """`call` is a program; what it does to the tables happens at one instant in the middle of it."""

    def __init__(self, timeline: Timeline, *, slow_ms: int = 4) -> None:
        self.timeline = timeline
        self.tables = Tables(lambda: timeline.now_ms)
        self.away = False
        self.refuse = 0.0  # chance that a call finds nobody
        self.silence = 0.0  # chance that a call is committed, and its answer lost
        self.slow_ms = slow_ms
        self.fates: dict[str, list[str]] = {}  # planned ones, per statement, used up in order
        self.between: Callable[[str], None] = lambda _name: None  # what others do just before this statement
        self.calls: dict[str, int] = {}

    def call(self, who: Life, name: str, *values: Any) -> Program:
        """Run one statement. Raises Unavailable, after which the caller cannot know whether it was committed."""
        yield self._delay()
        fate = self._fate(name)
        if fate == LOST:
            yield HANGS_MS
            raise Unavailable("PostgreSQL did not answer in time")
        if self.away or fate == REFUSED:
            raise Unavailable("PostgreSQL does not answer")
        self.between(name)
        self.calls[name] = self.calls.get(name, 0) + 1
        result = getattr(self.tables, name)(*values)
        self.timeline.note(who.name, name, _size(result), fate)
        yield self._delay()
        if self.away or fate == SILENT:
            raise Unavailable("PostgreSQL went away before it answered")
        return result

    def _delay(self) -> int:
        return round(self.timeline.chance.random() ** 2 * self.slow_ms)

    def _fate(self, name: str) -> str:
        planned = self.fates.get(name)
        if planned:
            return planned.pop(0)
        if self.refuse or self.silence:
            roll = self.timeline.chance.random()
            if roll < self.refuse:
                return REFUSED
            if roll < self.refuse + self.silence:
                return SILENT
        return DONE


def _size(result: Any) -> Any:
    return len(result) if isinstance(result, list | dict) else type(result).__name__
