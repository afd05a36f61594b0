"""Receipts of order messages, most of which wait for one another.

A receipt only keeps the Dispatcher from sending an order again, seconds later, and being told wakes it: so it is told
of all messages of a fifth of a second at once. What was refused, or stale, does not wait: somebody else is to have it.
"""

import asyncio
import contextlib
from typing import Final

from swarmsync.bus import Bus
from swarmsync.errors import Unavailable
from swarmsync.protocol import codec
from swarmsync.protocol.messages import Receipt

WAIT_MS: Final = 200
#: No message tells of more at once.
TOLD_MAX: Final = 200


class Taken:
    """Receipts of messages of which every order was taken, in the order in which they came. Pure."""

    def __init__(self) -> None:
        self._epoch = 0
        self._seqs: list[int] = []

    def add(self, receipt: Receipt) -> bool:
        """Keep it; say whether it is the first that waits. Those of a Dispatcher that was replaced are forgotten."""
        if receipt.epoch != self._epoch:
            self._epoch, self._seqs = receipt.epoch, []
        self._seqs.append(receipt.seq)
        return len(self._seqs) == 1

    def take(self) -> Receipt | None:
        """Return one receipt for those that have waited longest; None: none waits."""
        told, self._seqs = self._seqs[:TOLD_MAX], self._seqs[TOLD_MAX:]
        return Receipt(self._epoch, told[-1], also=tuple(told[:-1])) if told else None


def may_wait(receipt: Receipt) -> bool:
    return not (receipt.refused or receipt.stale)


class Receipts:
    """Sends them. `run` goes on for as long as the worker does."""

    def __init__(self, bus: Bus, subject: str) -> None:
        self._bus, self._subject = bus, subject
        self._taken = Taken()
        self._waits = asyncio.Event()

    async def give(self, receipt: Receipt) -> None:
        """Send it, now or soon. It may get lost: then the orders come again."""
        if not may_wait(receipt):
            await self._send(receipt)
        elif self._taken.add(receipt):
            self._waits.set()

    async def run(self) -> None:
        while True:
            await self._waits.wait()
            await asyncio.sleep(WAIT_MS / 1000)
            self._waits.clear()
            while (receipt := self._taken.take()) is not None:
                await self._send(receipt)

    async def _send(self, receipt: Receipt) -> None:
        with contextlib.suppress(Unavailable):
            await self._bus.publish(self._subject, codec.encode(receipt))
