"""Faults of every kind side by side: nobody waits for another, nor for what was broken to be back."""

import threading
import time
from collections.abc import Callable, Iterable

from msgspec import Struct

from bench.faults import BACK_S, Breaker, Fault


class Strike(Struct, frozen=True):
    at_s: float
    name: str


class Storm:
    """Breaks one Core by as many threads as there are streams of faults, from `begin` to `end`."""

    def __init__(self, breaker: Breaker, guarded: Callable[[Callable[[], None]], None]) -> None:
        """`guarded` runs something and keeps what it raises."""
        self._breaker, self._guarded = breaker, guarded
        self.strikes: list[Strike] = []
        self._calm = threading.Event()
        self._strikers: list[threading.Thread] = []

    def begin(self, streams: Iterable[Iterable[Fault]], began: float, lasts_s: float = float("inf")) -> None:
        """`began` is the moment, on the monotonic clock, from which `at_s` and `lasts_s` count.

        After that time nothing more is struck, also where `end` comes late: whoever calls it may wait for a new job.
        """
        for stream in streams:
            work = self._striker(stream, began, lasts_s)
            self._strikers.append(threading.Thread(target=self._guarded, args=(work,), name="striker", daemon=True))
        for striker in self._strikers:
            striker.start()

    def end(self) -> None:
        """Strike no more; returns when the last blow has fallen. Raises TimeoutError."""
        self._calm.set()
        for striker in self._strikers:
            striker.join(3 * BACK_S)
            if striker.is_alive():
                raise TimeoutError("a fault does not end")

    def _striker(self, stream: Iterable[Fault], began: float, lasts_s: float) -> Callable[[], None]:
        def strike() -> None:
            for fault in stream:
                if self._calm.wait(fault.after_s):
                    return
                at_s = round(time.monotonic() - began, 2)
                if at_s >= lasts_s:
                    return
                self._breaker.strike(fault)
                self.strikes.append(Strike(at_s, fault.name))

        return strike
