"""What the Dispatcher makes of receipts, and whether it has to look again."""

from types import SimpleNamespace

import pytest
from rigs import A, B, Rig

from engine.dispatcher.inflight import InFlight
from engine.dispatcher.service import DispatcherService
from swarmsync.model.job import JobRef
from swarmsync.protocol import codec
from swarmsync.protocol.messages import Receipt, Refused
from swarmsync.seal import Sealer

C = JobRef(3, 1)


@pytest.fixture
def rig():
    limits = {"receipt_ms": 3_000, "resends_max": 3, "orders_max": 200, "sealer": Sealer([bytes(32)])}
    made = Rig(lambda store, **common: DispatcherService(store, "nats://", **limits, **common))
    made.service._inflight = InFlight(9, receipt_ms=3_000, resends_max=3)
    made.service._ids["w1"] = 1
    made.service._due.clear()
    return made


async def take(rig, receipt):
    await rig.service._on_receipt(SimpleNamespace(subject="w.w1.up.receipt", data=codec.encode(receipt)))
    await rig.service.duty()


def sent(rig, now_ms=0):
    for seq, ref in enumerate((A, B, C), start=1):
        rig.service._inflight.sent(1, seq, [ref], now_ms)


def still_open(rig):
    return [ref for ref in (A, B, C) if rig.service._inflight.knows(1, ref)]


async def test_a_receipt_tells_of_several_messages(rig):
    sent(rig, rig.service.clock.monotonic_ms())
    await take(rig, Receipt(9, 3, also=(1,)))
    assert still_open(rig) == [B]


async def test_what_is_told_beside_a_refusal_was_taken(rig):
    sent(rig, rig.service.clock.monotonic_ms())
    await take(rig, Receipt(9, 3, ((C, "it has no room: cpus"),), also=(1, 2)))
    assert still_open(rig) == []
    assert rig.told("bounces", Refused) == [Refused(C, 1, 9, 3, "it has no room: cpus")]


async def test_a_receipt_of_another_epoch_closes_nothing(rig):
    sent(rig, rig.service.clock.monotonic_ms())
    await take(rig, Receipt(8, 3, also=(1, 2)))
    assert still_open(rig) == [A, B, C]


@pytest.mark.parametrize(("in_ms", "restless"), [(60_300, False), (150, True), (-1, True)])
async def test_it_leaves_pulses_out_until_an_order_may_have_to_be_sent_again(rig, in_ms, restless):
    sent(rig, rig.service.clock.monotonic_ms() - 3_000 + in_ms)
    assert rig.service.restless() is restless


async def test_an_order_that_nobody_heard_is_looked_at_at_once(rig):
    """Its clock runs faster from then on; in a quiet Core that was noticed a second later."""
    sent(rig, rig.service.clock.monotonic_ms())
    assert not rig.service.restless()
    message = SimpleNamespace(subject="_INBOX.orders.9.1.2", headers={"Status": "503"})
    await rig.service._on_unheard(message)
    assert rig.service._poked
    await rig.service.duty()
    assert rig.service.restless()
