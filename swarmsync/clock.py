"""Where time comes from. Pure cores never see a clock; they are handed `now_ms`."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    def monotonic_ms(self) -> int:
        """Milliseconds for durations and deadlines inside one process; never goes back."""
        ...

    def wall_ms(self) -> int:
        """Milliseconds since 1970 UTC: stored, shown to people, used by cron."""
        ...


class SystemClock:
    """The machine's clocks."""

    def monotonic_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000


def rfc3339(moment: datetime | None) -> str | None:
    """Return `moment` as RFC 3339 UTC with microseconds, the form of every time in the API."""
    if moment is None:
        return None
    at_utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return at_utc.isoformat(timespec="microseconds")[:26] + "Z"  # a third of what strftime takes
