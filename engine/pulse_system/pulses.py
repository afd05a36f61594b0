"""The beats of a module: fast, medium and slow, at a fixed rate.

Beat n is due at start + n x period, whatever the beats before it took, so nothing drifts. What is still busy when its
next beat is due misses that beat: beats never pile up, and nothing runs beside itself. One slow call delays no other.
Who has nothing to do may leave beats out: being woken for one costs more than what is done there.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Protocol

from conf.settings import PulseSettings


class Beat(Enum):
    FAST = "fast"
    MEDIUM = "medium"
    SLOW = "slow"


class Timeline(Protocol):
    """Where the beats get their time from; tests bring their own."""

    def monotonic_ns(self) -> int: ...

    async def sleep_ns(self, duration_ns: int) -> None:
        """Return after about `duration_ns`; a turn of the loop at least."""
        ...


class LoopTimeline:
    """The running event loop's time."""

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    async def sleep_ns(self, duration_ns: int) -> None:
        await asyncio.sleep(duration_ns / 1e9)


class _Call:
    """One registered function and its count of missed beats."""

    def __init__(self, beat: Beat, call: Callable[[], Awaitable[None]], skips: Callable[[], int]) -> None:
        self.beat = beat
        self.call = call
        self.skips = skips
        self.missed_beats = 0


class Pulses:
    """Register with `every` and `wake_every`, then `run` for as long as the module lives."""

    def __init__(
        self,
        settings: PulseSettings,
        timeline: Timeline | None = None,
        tell_lag: Callable[[Beat, int], None] = lambda _beat, _lag_ns: None,
    ) -> None:
        """`tell_lag` hears at each beat by how many nanoseconds it came late."""
        self._period_ns = {
            Beat.FAST: settings.fast_ms * 1_000_000,
            Beat.MEDIUM: settings.medium_ms * 1_000_000,
            Beat.SLOW: settings.slow_ms * 1_000_000,
        }
        self._timeline = timeline or LoopTimeline()
        self._tell_lag = tell_lag
        self._calls: list[_Call] = []

    def every(self, beat: Beat, call: Callable[[], Awaitable[None]], skips: Callable[[], int] = lambda: 0) -> None:
        """Await `call` at each such beat, the first one period after `run` begins. Register before `run`.

        `skips` says after each of them how many of the next ones are left out; they do not count as missed.
        """
        self._calls.append(_Call(beat, call, skips))

    def wake_every(self, beat: Beat, wake: Callable[[], object], skips: Callable[[], int] = lambda: 0) -> None:
        """Call a plain function at each such beat: an event's `set`, a doorbell's `ring`. Register before `run`."""

        async def call() -> None:
            wake()

        self.every(beat, call, skips)

    async def run(self) -> None:
        """Beat until cancelled. A call that raises ends all beats: the ExceptionGroup is the module's own failure."""
        start_ns = self._timeline.monotonic_ns()
        async with asyncio.TaskGroup() as group:
            for call in self._calls:
                group.create_task(self._beat(call, start_ns))

    @property
    def missed_beats(self) -> int:
        """Beats that found their call still busy, or the whole loop late by a period or more."""
        return sum(call.missed_beats for call in self._calls)

    async def _beat(self, call: _Call, start_ns: int) -> None:
        period_ns = self._period_ns[call.beat]
        due_ns = start_ns + period_ns
        while True:
            await self._timeline.sleep_ns(max(due_ns - self._timeline.monotonic_ns(), 0))
            self._tell_lag(call.beat, max(self._timeline.monotonic_ns() - due_ns, 0))
            await call.call()
            # A timer may fire a little early: then nothing was missed, and the next beat is still due on the grid.
            missed = max(self._timeline.monotonic_ns() - due_ns, 0) // period_ns
            call.missed_beats += missed
            due_ns += (missed + 1 + call.skips()) * period_ns
