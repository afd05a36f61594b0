"""Five services, one anatomy. A module is a process: one uvloop, one `duty` in a loop, a pulse after each turn.

The pulse is written by the loop itself, so a loop that is stuck stops beating. Between turns the module sleeps until a
ring it reads gets a frame, somebody pokes it (a NATS message arrived), or the medium pulse is over; and until the next
fast pulse where it has something to look after. One that has nothing beats less often (decision 56).
"""

import asyncio
import contextlib
import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Final

from conf.settings import PulseSettings
from engine.pulse_system.pulses import Beat, Pulses
from engine.service_channels import ChannelReader, ChannelWriter, Role, Wiring
from engine.shared_resource.doorbell import wait_any
from engine.shared_resource.ring_words import RingCorrupt
from swarmsync import collector
from swarmsync.clock import SystemClock
from swarmsync.errors import StaleEpoch, Unavailable
from swarmsync.protocol.messages import JournalLine

#: Of the fast beats a module without work leaves out so many in a row.
SKIPS_MAX: Final = 2


class Service(ABC):
    """What every module is. `url_*` and settings come from its handle; the ends of its rings from the wiring."""

    role: ClassVar[Role]

    def __init__(
        self,
        wiring: Wiring,
        *,
        pulse: PulseSettings,
        beat: Callable[[], None],
        tell_lag: Callable[[Beat, int], None] = lambda _beat, _lag_ns: None,
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        self.clock = SystemClock()
        self.wiring = wiring
        self.readers: dict[str, ChannelReader] = wiring.readers(self.role)
        self._journal: ChannelWriter | None = None
        if self.role is not Role.LOGGER:
            self._journal = wiring.writer(f"journal.{self.role}")
        self._bell = wiring.bells[self.role]
        self._fast_s, self._medium_s = pulse.fast_ms / 1000, pulse.medium_ms / 1000
        self._calm_skips = min(SKIPS_MAX, max(0, pulse.late_ms // 4 // pulse.fast_ms - 1))  # never late by it
        self.calm_ms = pulse.fast_ms * (1 + self._calm_skips)  # from a pulse at which it is not restless to the next
        self._skips = 0
        self._fast_at_s = 0.0  # when a fast pulse was last due
        self._beat = beat
        self._leads = leads
        self._pulses = Pulses(pulse, tell_lag=tell_lag)
        self._due: set[Beat] = set(Beat)
        for each in (Beat.MEDIUM, Beat.SLOW):
            self._pulses.wake_every(each, partial(self._on_beat, each))
        self._pulses.wake_every(Beat.SLOW, wiring.let_go)
        self._pulses.wake_every(Beat.SLOW, collector.tidy)
        self._poked = False
        self._sleeping = False
        self.stopping = False
        self.last_error = ""

    async def on_start(self) -> None:  # noqa: B027 a module may have nothing to prepare
        """Connect and load; may raise Unavailable, then it is called again."""

    @abstractmethod
    async def duty(self) -> int:
        """One bounded turn: drain, decide, act. Returns the work done; 0 lets the module sleep."""

    async def on_stop(self) -> None:  # noqa: B027 a module may hold nothing
        """Hand back what is held."""

    # ------------------------------------------------ for the modules

    def poke(self) -> None:
        """Wake the loop, from within it: something arrived that no ring tells of."""
        self._poked = True
        if self._sleeping:
            self._bell.wake()

    def due(self, beat: Beat) -> bool:
        """True once per beat: what a duty does at the fast, medium and slow pulse."""
        if beat not in self._due:
            return False
        self._due.discard(beat)
        return True

    def restless(self) -> bool:
        """Whether it must take a turn at this fast pulse though nobody woke it."""
        return True

    def _on_fast(self) -> None:
        """Beat, and wake the loop where there is a reason; without one the next beats may be left out."""
        self._beat()
        self._fast_is_due()
        self._skips = 0
        if self._sleeping:
            if self._frames_wait() or not self._leads() or self.restless():
                self._bell.wake()
            else:
                self._skips = self._calm_skips

    def _fast_is_due(self) -> None:
        self._due.add(Beat.FAST)
        self._fast_at_s = time.monotonic()

    def _frames_wait(self) -> bool:
        """Whether a ring has frames although nobody rang: see `doorbell.py`."""
        return any(reader.end.ring.has_frames() for reader in self.readers.values())

    def _on_beat(self, beat: Beat) -> None:
        self._due.add(beat)
        self.poke()

    def journal(self, level: str, message: str, *, job_id: int | None = None, **fields: Any) -> None:
        """Write a line into the system log, by way of the Logger; dropped and counted when its ring is full."""
        texts = {key: str(value)[:512] for key, value in fields.items()}
        line = JournalLine(self.clock.wall_ms(), self.role.value, level, message[:2048], job_id, texts)
        if level == "error":
            self.last_error = message
        self.write_journal([line])

    def write_journal(self, lines: list[JournalLine]) -> None:
        if self._journal is not None:
            self._journal.offer_or_drop(lines)

    # ------------------------------------------------ the loop

    async def run(self) -> None:
        """Live: start, turn until told to stop, stop. Runs in the module's own process."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        # A turn that waits for PostgreSQL is not stuck.
        self._pulses.wake_every(Beat.FAST, self._on_fast, lambda: self._skips)
        beating = asyncio.create_task(self._pulses.run())
        try:
            await self._start()
            while not self.stopping:
                await self._turn()
        finally:
            beating.cancel()
            with contextlib.suppress(Unavailable, TimeoutError):
                await asyncio.wait_for(self.on_stop(), 5)

    def _end(self) -> None:
        self.stopping = True
        self.poke()

    async def _start(self) -> None:
        said = ""
        while not self.stopping:
            try:
                await self.on_start()
            except Unavailable as problem:
                if said != (said := str(problem)):
                    self.journal("warning", f"cannot start yet: {problem}")
                await asyncio.sleep(0.2)
            except StaleEpoch:
                self.stopping = True
            else:
                self.journal("info", "started", pid=os.getpid())
                return

    async def _turn(self) -> None:
        self._beat()
        self._poked = False
        if not self._leads():
            self.stopping = True  # we stood still, or were cut off: somebody else may lead by now
            return
        try:
            done = await self.duty()
        except StaleEpoch:
            self.stopping = True
            return
        except RingCorrupt as problem:
            self.journal("error", f"{problem}; beginning anew")
            raise
        except Unavailable as problem:
            if str(problem) != self.last_error:
                self.journal("error", str(problem))
            await asyncio.sleep(0.1)
            return
        if done == 0 and not self.stopping:
            await self._sleep()

    async def _sleep(self) -> None:
        """Until a ring has frames, a beat is due or somebody pokes."""
        self._sleeping = True
        # Where fast beats are left out just now, the first one that there is a reason for is made good here.
        sooner = self._skips > 0 and self.restless()
        span_s = max(0.0, self._fast_at_s + self._fast_s - time.monotonic()) if sooner else self._medium_s
        try:
            if not self._poked:
                ends = [reader.end for reader in self.readers.values()]
                await wait_any(ends, span_s, span_s, also={self._bell})
        finally:
            self._sleeping = False
        if sooner and time.monotonic() >= self._fast_at_s + self._fast_s:  # also where it was woken all the time
            self._fast_is_due()


class Every:
    """True at most once per period; for what is rarer than the slow pulse, or has a pace of its own."""

    def __init__(self, period_ms: int) -> None:
        self._period_s = period_ms / 1000
        self._due = 0.0

    def __call__(self) -> bool:
        now = time.monotonic()
        if now < self._due:
            return False
        self._due = max(self._due + self._period_s, now)
        return True
