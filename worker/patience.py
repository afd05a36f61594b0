"""How long an answer of Core is waited for, before what was said is said again.

Who would have answered may have been killed meanwhile, and then no answer ever comes: the shorter the wait, the sooner
its successor hears. But a Core with much to do must not be told everything twice, so the wait follows the last answer.
"""

import time
from typing import Final

from swarmsync.bus import Bus
from swarmsync.errors import Unavailable

MIN_S: Final = 0.5
FIRST_S: Final = 1.0
MAX_S: Final = 5.0
FACTOR: Final = 5


class Patience:
    """Of one kind of message. With `MAX_S` as the least it waits always as long."""

    def __init__(self, min_s: float = MIN_S) -> None:
        self._min_s = min_s
        self.seconds = max(FIRST_S, min_s)

    async def ask(self, bus: Bus, subject: str, payload: bytes) -> bytes:
        """Make one request. Raises Unavailable without an answer in time, or at once when nobody listens."""
        began_s = time.monotonic()
        try:
            answer = await bus.request(subject, payload, self.seconds)
        except Unavailable:
            if time.monotonic() - began_s >= self.seconds:
                self.seconds = min(MAX_S, 2 * self.seconds)  # it may be late
            raise
        self.seconds = min(MAX_S, max(self._min_s, FACTOR * (time.monotonic() - began_s)))
        return answer
