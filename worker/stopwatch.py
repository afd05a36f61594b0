"""How long the steps of one assignment took, by this machine's monotonic clock."""

import time
from collections.abc import Callable
from typing import Literal

from swarmsync.protocol.messages import Spent

Lap = Literal["pull_ms", "create_ms", "start_ms", "stop_ms", "collect_ms"]


def _monotonic_ms() -> float:
    return time.monotonic_ns() / 1_000_000


class Stopwatch:
    """Laps that are begun and ended by name; one that was never begun, or has not ended, counts nothing."""

    def __init__(self, now_ms: Callable[[], float] = _monotonic_ms) -> None:
        self._now_ms = now_ms
        self._begun: dict[Lap, float] = {}
        self._spent: dict[Lap, float] = {}

    def begin(self, lap: Lap) -> None:
        self._begun[lap] = self._now_ms()

    def end(self, lap: Lap) -> None:
        """Add what has passed since the lap was begun; a step may be taken again after a crash."""
        begun_ms = self._begun.pop(lap, None)
        if begun_ms is not None:
            self._spent[lap] = self._spent.get(lap, 0.0) + self._now_ms() - begun_ms

    def measure(self, lap: Lap) -> "_Measured":
        """Count the body of a `with` block as part of the lap, also when it raises."""
        return _Measured(self, lap)

    def read(self) -> Spent:
        return Spent(**{lap: round(spent_ms) for lap, spent_ms in self._spent.items()})


class _Measured:
    """A class and no generator: it is entered three times a job."""

    __slots__ = ("_lap", "_watch")

    def __init__(self, watch: Stopwatch, lap: Lap) -> None:
        self._watch = watch
        self._lap = lap

    def __enter__(self) -> None:
        self._watch.begin(self._lap)

    def __exit__(self, *_problem: object) -> None:
        self._watch.end(self._lap)
