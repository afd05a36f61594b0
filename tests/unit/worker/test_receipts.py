"""Receipts wait for one another, unless somebody else is to have the order."""

import asyncio

from swarmsync.errors import Unavailable
from swarmsync.model.job import JobRef
from swarmsync.protocol import codec
from swarmsync.protocol.messages import Receipt
from worker.ending import cancelled
from worker.receipts import TOLD_MAX, Receipts, Taken, may_wait

PATIENCE_S = 10
REFUSED = Receipt(1, 4, ((JobRef(1, 1), "it has no room: cpus"),))
STALE = Receipt(1, 4, stale=True)


class Ear:
    """A bus that hears receipts; the first ones it is told to lose."""

    def __init__(self, lost=0):
        self.lost = lost
        self.lost_all = asyncio.Event()
        self.heard: asyncio.Queue[Receipt] = asyncio.Queue()

    async def publish(self, subject, payload):
        assert subject == "w.w1.up.receipt"
        if self.lost:
            self.lost -= 1
            if not self.lost:
                self.lost_all.set()
            raise Unavailable("NATS is away")
        self.heard.put_nowait(codec.decode_receipt(payload))

    async def next(self):
        async with asyncio.timeout(PATIENCE_S):
            return await self.heard.get()


def test_one_receipt_tells_of_all_that_wait():
    taken = Taken()
    assert [taken.add(Receipt(1, seq)) for seq in (4, 5, 7)] == [True, False, False]
    assert taken.take() == Receipt(1, 7, also=(4, 5))
    assert taken.take() is None
    assert taken.add(Receipt(1, 8))
    assert taken.take() == Receipt(1, 8)


def test_a_dispatcher_that_was_replaced_is_told_nothing():
    taken = Taken()
    taken.add(Receipt(1, 4))
    assert taken.add(Receipt(2, 1))
    assert taken.take() == Receipt(2, 1)


def test_no_message_tells_of_more_than_its_limit():
    taken = Taken()
    for seq in range(TOLD_MAX + 1):
        taken.add(Receipt(1, seq))
    told = taken.take()
    assert (told.seq, len(told.also)) == (TOLD_MAX - 1, TOLD_MAX - 1)
    assert taken.take() == Receipt(1, TOLD_MAX)


def test_what_somebody_else_is_to_have_does_not_wait():
    assert [may_wait(receipt) for receipt in (Receipt(1, 4), REFUSED, STALE)] == [True, False, False]


async def test_what_waits_goes_in_one_message_and_what_may_not_goes_before():
    ear = Ear()
    receipts = Receipts(ear, "w.w1.up.receipt")
    running = asyncio.create_task(receipts.run())
    try:
        for receipt in (Receipt(1, 2), Receipt(1, 3), REFUSED, STALE):
            await receipts.give(receipt)
        assert [await ear.next() for _ in range(3)] == [REFUSED, STALE, Receipt(1, 3, also=(2,))]
        await receipts.give(Receipt(1, 5))
        assert await ear.next() == Receipt(1, 5)
    finally:
        await cancelled([running])


async def test_it_goes_on_where_a_receipt_is_lost():
    ear = Ear(lost=2)
    receipts = Receipts(ear, "w.w1.up.receipt")
    running = asyncio.create_task(receipts.run())
    try:
        await receipts.give(REFUSED)
        await receipts.give(Receipt(1, 5))
        async with asyncio.timeout(PATIENCE_S):
            await ear.lost_all.wait()
        await receipts.give(Receipt(1, 6))
        assert await ear.next() == Receipt(1, 6)
    finally:
        await cancelled([running])
