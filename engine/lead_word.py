"""What all processes of a Core know about its lead: the term, and until when it is sure. Two words of shared memory.

Only the lead's keeper writes. A module looks before each turn: one that stood still for too long finds its time over
before it does anything, whoever leads by then.
"""

import mmap
from typing import Final

ALWAYS_MS: Final = (1 << 63) - 1


class LeadWord:
    """Made before the first fork, so every child has it. Times are those of the monotonic clock."""

    def __init__(self) -> None:
        self._words = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("Q")

    def lead(self, term: int, until_ms: int) -> None:
        """Lead (on) until that instant."""
        self._words[1] = until_ms
        self._words[0] = term

    def leave(self) -> None:
        self._words[1] = 0
        self._words[0] = 0

    def term(self, now_ms: int) -> int:
        """Return the term in which this Core leads now; 0: it does not."""
        term = self._words[0]
        return term if now_ms < self._words[1] and term == self._words[0] else 0
