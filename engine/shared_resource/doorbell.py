"""How a sleeping reader is woken: an eventfd that is made before fork and inherited.

A bell carries no data and may ring for nothing; whoever wakes looks at the ring. One process listens (its event loop
watches the descriptor), any process rings. A module has one bell for all the rings it reads, and may ring it itself.

The writer rings only when the reader has said that it sleeps, and once for each sleep. Both sides store one word and
then load the other's: the writer TAIL then SLEEPING, the reader SLEEPING then TAIL. That is the one order that x86-64
does not keep: a store may be a fraction of a microsecond late. So the reader looks at TAIL when it has made everything
ready for its sleep, which takes longer than that. A writer can also be killed between its two steps. Therefore a
sleeping reader looks from time to time all the same.
"""

import asyncio
import contextlib
import os
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Final, Self

from engine.shared_resource.ring import Ring

#: The longest delay of a missed ring, for who does not say it otherwise; a module looks whenever it beats.
BACKSTOP_S: Final = 0.1


class Doorbell:
    """Rings are never lost, only merged: one that comes while nobody waits makes the next wait return at once."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: set[asyncio.Future[bool]] = set()
        self._rung = False

    @classmethod
    def create(cls) -> Self:
        """Make the bell in the supervisor, before fork. Programs that are exec'ed do not inherit it."""
        return cls(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC))

    def ring(self) -> None:
        """Wake the listener, from any process. Never blocks; without a living listener it is one cheap system call."""
        with contextlib.suppress(BlockingIOError):  # 2**64 - 2 unheard rings: the listener will wake anyway
            os.eventfd_write(self._fd, 1)

    def wake(self) -> None:
        """Ring, from the listener's own event loop: without a system call, and without another turn of the loop."""
        self._rung = not self._waiting
        for wake in self._waiting:
            _resolve(wake, rung=True)
        self._waiting.clear()

    def fileno(self) -> int:
        """Return the descriptor, for a listener without an event loop."""
        return self._fd

    def arm(self, wake: asyncio.Future[bool]) -> None:
        """Set `wake` to True at the next ring, or now if it rang since the last wait. Undo with `disarm`.

        The first call of a loop registers the descriptor there, and it stays registered: that is one system call a
        process instead of two a wait.
        """
        loop = wake.get_loop()
        if loop is not self._loop:
            self._loop = loop
            loop.add_reader(self._fd, self._on_ring)
        if self._rung:
            self._rung = False
            _resolve(wake, rung=True)
        else:
            self._waiting.add(wake)

    def disarm(self, wake: asyncio.Future[bool]) -> None:
        self._waiting.discard(wake)

    def close(self) -> None:
        """Stop listening and close the descriptor of this process; the bell goes on in the others."""
        if self._fd < 0:
            return
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._fd)
        os.close(self._fd)
        self._fd = -1

    def _on_ring(self) -> None:
        with contextlib.suppress(BlockingIOError):  # already heard
            os.eventfd_read(self._fd)
        self.wake()


class RingWriter:
    """The writing end of a ring, with the bell of its reader: `put` and `put_frame` wake who sleeps."""

    def __init__(self, ring: Ring, doorbell: Doorbell) -> None:
        self.ring = ring
        ring.bell = doorbell.ring
        self.put: Final = ring.put
        self.put_frame: Final = ring.put_frame


class RingReader:
    """The reading end of a ring, with the bell that its writer rings. Made in the process that reads."""

    def __init__(self, ring: Ring, doorbell: Doorbell) -> None:
        self.ring = ring
        self.doorbell = doorbell
        ring.set_reader_sleeps(False)  # a predecessor may have been killed in its sleep

    def take(self, records_max: int = 4096) -> list[bytes]:
        return self.ring.take(records_max)

    def take_frames(self, limit: int) -> list[bytes]:
        return self.ring.take_frames(limit)

    def abandon(self) -> int:
        return self.ring.abandon()

    async def wait(self, timeout_s: float) -> bool:
        """Return True when there may be something to take, False after `timeout_s` without."""
        return await wait_any((self,), timeout_s)


async def wait_any(
    readers: Sequence[RingReader],
    timeout_s: float,
    backstop_s: float = BACKSTOP_S,
    *,
    also: AbstractSet[Doorbell] = frozenset(),
) -> bool:
    """Sleep until one of the rings has frames, a bell rings (`also` those) or `timeout_s` has passed (then False).

    Always gives the other coroutines one turn of the loop, so "take, act, wait" starves nobody; under load the writer
    fills the ring meanwhile, and neither side sleeps or rings. True promises nothing: a bell may ring for nothing.
    """
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + timeout_s
    await asyncio.sleep(0)
    if _any_frames(readers):
        return True
    for reader in readers:
        reader.ring.set_reader_sleeps(True)
    try:
        while True:
            left_s = deadline_s - loop.time()
            if left_s <= 0:
                return _any_frames(readers)
            if await _listen(loop, readers, also, min(left_s, backstop_s)):
                break
    finally:
        for reader in readers:
            reader.ring.set_reader_sleeps(False)
    return True


async def _listen(
    loop: asyncio.AbstractEventLoop, readers: Sequence[RingReader], also: AbstractSet[Doorbell], timeout_s: float
) -> bool:
    doorbells = {reader.doorbell for reader in readers} | also
    wake: asyncio.Future[bool] = loop.create_future()
    timer = loop.call_later(timeout_s, lambda: _resolve(wake, rung=False))
    try:
        for doorbell in doorbells:
            doorbell.arm(wake)
        return _any_frames(readers) or await wake
    finally:
        timer.cancel()
        for doorbell in doorbells:
            doorbell.disarm(wake)


def _any_frames(readers: Sequence[RingReader]) -> bool:
    return any(reader.ring.has_frames() for reader in readers)


def _resolve(wake: asyncio.Future[bool], *, rung: bool) -> None:
    if not wake.done():
        wake.set_result(rung)
