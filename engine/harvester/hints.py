"""Who is told of changes, and when: an end is told at once, and what only began with it or after a moment. Pure."""

from collections.abc import Sequence
from typing import Final

from swarmsync.protocol.messages import By, Changed

JOBS_MAX: Final = 5_000
#: What began is told of at most so often, unless something ended.
EVERY_MS: Final = 100


class Hints:
    def __init__(self) -> None:
        self.begun: list[int] = []
        self._said_ms = -EVERY_MS

    def take(self, changed: Sequence[int], now_ms: int) -> list[Changed]:
        """Return what is to be said now; `changed` is said in any case, and once."""
        if not changed and (not self.begun or now_ms - self._said_ms < EVERY_MS):
            return []
        begun, self.begun, self._said_ms = self.begun, [], now_ms
        return [
            Changed(tuple(changed[start : start + JOBS_MAX]), By.HARVESTER, tuple(begun[start : start + JOBS_MAX]))
            for start in range(0, max(len(changed), len(begun)), JOBS_MAX)
        ]
