"""What one can tell of a ring by looking at its counters again and again: pace, and age of what waits. Pure."""

from collections import deque
from typing import Final

from msgspec import Struct

#: Looks that are kept: the newest, and the one that saw the oldest record first while that waits for longer.
LOOKS_MAX: Final = 300
RATE_OVER_MS: Final = 2_000


class Look(Struct, frozen=True):
    """Counters of one ring at one moment; records given up by the reader count as taken."""

    at_ms: int
    put: int
    taken: int


class RingGauge:
    """One ring, looked at a few times a second."""

    def __init__(self) -> None:
        self._looks: deque[Look] = deque(maxlen=LOOKS_MAX)

    def look(self, now_ms: int, *, put: int, taken: int) -> None:
        if len(self._looks) == LOOKS_MAX and self._looks[0].put > taken:
            del self._looks[1]
        self._looks.append(Look(now_ms, put, taken))

    def taken_per_s(self) -> float:
        """Return the reader's pace over the last looks."""
        if not self._looks:
            return 0.0
        last = self._looks[-1]
        first = last
        for look in reversed(self._looks):
            first = look
            if last.at_ms - look.at_ms >= RATE_OVER_MS:
                break
        passed_ms = last.at_ms - first.at_ms
        return max(last.taken - first.taken, 0) * 1000 / passed_ms if passed_ms else 0.0

    def oldest_ms(self) -> int:
        """Return how long the oldest record has waited at least: since the first look at which it was there."""
        if not self._looks:
            return 0
        last = self._looks[-1]
        since = last
        for look in reversed(self._looks):
            if look.put <= last.taken:
                break
            since = look
        return last.at_ms - since.at_ms if last.put > last.taken else 0
