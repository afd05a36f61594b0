"""Wakes whoever sends reports: at once, or when the first beginning that waits is due."""

import asyncio
from collections.abc import Callable


class Alarm:
    """One timer, however many wait: a timer for each costs more than what it is for."""

    def __init__(self, next_due_ms: Callable[[], int | None]) -> None:
        """`next_due_ms` tells in how many milliseconds the next is due, after those that are due now."""
        self._next_due_ms = next_due_ms
        self._rung = asyncio.Event()
        self._set = False

    def ring(self) -> None:
        self._rung.set()

    def ring_in(self, due_ms: int) -> None:
        """Ring then. All wait equally long, so whoever asked before is due before."""
        if not self._set:
            # A loop's clock may be coarser than ours: rung a moment early, it would have to be set once more.
            asyncio.get_running_loop().call_later((due_ms + 2) / 1000, self._on_time)
            self._set = True

    def _on_time(self) -> None:
        self._set = False
        self._rung.set()
        due_ms = self._next_due_ms()
        if due_ms is not None:
            self.ring_in(due_ms)

    async def wait(self) -> None:
        """Return when it rings after this call."""
        self._rung.clear()
        await self._rung.wait()
