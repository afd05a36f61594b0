"""How long the steps of one assignment took, by this machine's monotonic clock."""

import time
from collections.abc import Callable
from typing import Final, Literal

from swarmsync.protocol.messages import Spent

Lap = Literal["pull_ms", "create_ms", "start_ms", "stop_ms", "collect_ms"]
_MS: Final = 1_000_000
_NOTHING: Final = Spent()


class Stopwatch:
    """One lap at a time: beginning one ends the one before. What took less than half a millisecond counts nothing."""

    __slots__ = ("_began_ns", "_lap", "_now_ns", "_spent")

    def __init__(self, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._now_ns = now_ns
        self._lap: Lap | None = None
        self._began_ns = 0
        self._spent: dict[Lap, int] | None = None  # milliseconds; most assignments of a flood have none to tell

    def begin(self, lap: Lap) -> None:
        now_ns = self._now_ns()
        if self._lap is not None:
            self._add(self._lap, now_ns)
        self._lap, self._began_ns = lap, now_ns

    def end(self) -> None:
        """Add what has passed since the lap was begun to what earlier laps of its name took."""
        if self._lap is not None:
            self._add(self._lap, self._now_ns())
            self._lap = None

    def _add(self, lap: Lap, now_ns: int) -> None:
        spent_ms = (now_ns - self._began_ns + _MS // 2) // _MS
        if spent_ms:
            self._spent = self._spent or {}
            self._spent[lap] = self._spent.get(lap, 0) + spent_ms

    def read(self) -> Spent:
        return _NOTHING if self._spent is None else Spent(**self._spent)
