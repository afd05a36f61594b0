"""NATS says of an order that nobody listened, and the Dispatcher understands it."""

import asyncio

import pytest

from engine.dispatcher.service import NOBODY
from swarmsync.bus import Bus
from swarmsync.protocol import subjects

pytestmark = pytest.mark.integration


async def test_an_order_to_a_worker_that_is_away_comes_back(servers):
    bus = await Bus.connect(servers.nats_url, "test")
    told = asyncio.Queue()
    try:
        await bus.subscribe(subjects.unheard(7, "*", "*"), told.put)
        await bus.publish(subjects.orders("nobody"), b"order", subjects.unheard(7, 12, 3))
        message = await asyncio.wait_for(told.get(), 60)
        assert message.subject == subjects.unheard(7, 12, 3)
        assert message.headers["Status"] == NOBODY
    finally:
        await bus.close()
