"""Subjects are listened to while somebody waits, and a while after."""

import asyncio

import pytest

from api import listening
from api.listening import Ear
from swarmsync.errors import Unavailable


class Bus:
    """Keeps what is asked of it in order; `silent` never answers a flush, and `away` refuses it."""

    def __init__(self, *, silent=False, away=False):
        self.asked = []
        self.ended = asyncio.Event()
        self.silent, self.away = silent, away

    async def subscribe(self, subject, _handler):
        self.asked.append(subject)
        return self

    async def flush(self):
        self.asked.append("flush")
        if self.away:
            raise Unavailable("away")
        if self.silent:
            await asyncio.Event().wait()

    async def unsubscribe(self):
        self.asked.append("ended")
        self.ended.set()


async def handler(_message):
    raise AssertionError("nothing is said in these tests")


def ear_of(bus, linger_s=3_600.0):
    ear = Ear(("a", "b"), handler, linger_s)
    if bus is not None:
        ear.attach(bus, lambda: None)
    return ear


async def test_however_many_listen_it_is_asked_for_once_and_has_arrived_before_anybody_looks():
    bus = Bus()
    ear = ear_of(bus)
    assert bus.asked == []
    async with ear.listening():
        assert bus.asked == ["a", "b", "flush"]
        async with ear.listening():
            pass
    async with ear.listening():  # who comes back soon
        assert bus.asked == ["a", "b", "flush"]
    ear.close()


async def test_when_nobody_has_listened_for_a_while_it_ends_and_the_next_one_begins_anew():
    bus = Bus()
    ear = ear_of(bus, linger_s=0.0)
    async with ear.listening(), ear.listening():
        pass
    await bus.ended.wait()
    bus.asked.clear()
    async with ear.listening():
        assert [word for word in bus.asked if word != "ended"] == ["a", "b", "flush"]
        assert ear._closing is None
    ear.close()


async def test_who_listened_before_nats_was_there_hears_from_then_on():
    bus, ear, heard = Bus(), ear_of(None), asyncio.Event()
    async with ear.listening():
        ear.attach(bus, heard.set)  # then whoever waits looks once more
        await heard.wait()
        assert bus.asked == ["a", "b", "flush"]
    ear.close()


@pytest.mark.parametrize("how", [{"silent": True}, {"away": True}])
async def test_nobody_waits_long_for_a_nats_that_does_not_answer(monkeypatch, how):
    monkeypatch.setattr(listening, "PATIENCE_S", 0.001)
    ear = ear_of(Bus(**how))
    async with asyncio.timeout(30), ear.listening():
        pass
    ear.close()
