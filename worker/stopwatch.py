"""How long the steps of one assignment took, by this machine's monotonic clock."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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

    @contextmanager
    def measure(self, lap: Lap) -> Iterator[None]:
        """Count the body as part of the lap, also when it raises."""
        self.begin(lap)
        try:
            yield
        finally:
            self.end(lap)

    def read(self) -> Spent:
        return Spent(**{lap: round(spent_ms) for lap, spent_ms in self._spent.items()})
