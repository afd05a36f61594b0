"""Virtual time: a heap of events, one source of chance, and the trace that two runs of a seed must share."""

import random
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Any
from zlib import crc32

TRACE_KEPT = 400
BEGIN_MS = 1_000_000  # not zero: nothing may rest on time beginning at nought


class Timeline:
    """Events run in order of their time, and of their birth where times are equal. `chance` decides all else."""

    def __init__(self, seed: int) -> None:
        self.now_ms = BEGIN_MS
        self.chance = random.Random(seed)
        self.events = 0
        self.trace: deque[tuple[Any, ...]] = deque(maxlen=TRACE_KEPT)
        self.hash = 0
        self._heap: list[list[Any]] = []
        self._births = count()

    def after(self, delay_ms: float, call: Callable[..., None], *values: Any) -> list[Any]:
        """Have `call(*values)` run in `delay_ms`; the answer is what `cancel` takes."""
        entry = [self.now_ms + max(0, round(delay_ms)), next(self._births), call, values]
        heappush(self._heap, entry)
        return entry

    @staticmethod
    def cancel(entry: list[Any]) -> None:
        entry[2] = None

    def step(self) -> bool:
        """Run the next event; False when there is none."""
        while self._heap:
            due_ms, _, call, values = heappop(self._heap)
            if call is None:
                continue
            self.now_ms = due_ms
            self.events += 1
            call(*values)
            return True
        return False

    def note(self, *words: Any) -> None:
        """Write a line of the trace; it goes into the hash."""
        line = (self.now_ms, *words)
        self.trace.append(line)
        self.hash = crc32(repr(line).encode(), self.hash)

    def tail(self, lines: int = 60, about: int | None = None) -> str:
        """The last lines of the trace, for people; `about` one job only."""
        kept = [line for line in self.trace if about is None or about in line]
        return "\n".join(" ".join(str(word) for word in line) for line in kept[-lines:])
