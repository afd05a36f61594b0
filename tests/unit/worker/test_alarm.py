"""Who sends reports is woken at once, or when the next beginning that waits is due; one timer serves them all."""

import asyncio

from worker.alarm import Alarm

PATIENCE_S = 10


async def rings(alarm):
    async with asyncio.timeout(PATIENCE_S):
        await alarm.wait()


async def test_it_rings_at_once():
    alarm = Alarm(lambda: None)
    asyncio.get_running_loop().call_soon(alarm.ring)
    await rings(alarm)


async def test_it_rings_for_the_first_that_is_due_and_then_for_the_next():
    later = [1]
    alarm = Alarm(lambda: later.pop() if later else None)
    for _ in range(3):
        alarm.ring_in(1)
    await rings(alarm)
    assert later == []
    await rings(alarm)


async def test_many_that_wait_take_one_timer(monkeypatch):
    timers = []
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "call_later", lambda *timer: timers.append(timer), raising=False)
    alarm = Alarm(lambda: None)
    for _ in range(100):
        alarm.ring_in(250)
    ((delay_s, _),) = timers
    assert 0.25 <= delay_s < 0.3
