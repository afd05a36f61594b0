"""How many requests a token may make: a bucket for each, in this process. Pure; the caller knows the time."""

from typing import Final

TRACKED_MAX: Final = 10_000


class Rates:
    """`per_s` requests a second on average, `burst` of them at once."""

    def __init__(self, per_s: float, burst: int) -> None:
        self._interval_ms = 1_000 / per_s
        self._burst = burst
        self._full_at_ms: dict[bytes, float] = {}

    def take(self, who: bytes, now_ms: int) -> int:
        """Count one request; returns 0, or the milliseconds after which there is room again."""
        full_at_ms = max(self._full_at_ms.get(who, 0.0), float(now_ms))
        wait_ms = full_at_ms - (self._burst - 1) * self._interval_ms - now_ms
        if wait_ms > 0:
            return max(1, round(wait_ms))
        if who not in self._full_at_ms and len(self._full_at_ms) >= TRACKED_MAX:
            self._full_at_ms = {name: at for name, at in self._full_at_ms.items() if at > now_ms}
            if len(self._full_at_ms) >= TRACKED_MAX:
                return max(1, round(self._interval_ms))
        self._full_at_ms[who] = full_at_ms + self._interval_ms
        return 0
