"""The hub on a real NATS: who waits for what hears of it, and of nothing else."""

import pytest

from api.events_hub import EventsHub
from swarmsync.protocol import codec, subjects
from swarmsync.protocol.messages import By, Changed

pytestmark = pytest.mark.integration
JOB = 4_711


@pytest.fixture
async def hub(servers):
    hub = EventsHub(servers.nats_url)
    await hub.start(30)
    yield hub
    await hub.close()


ENDED = (subjects.CHANGED, Changed((JOB,), By.HARVESTER))
NEW = (subjects.SUBMITTED, Changed((JOB,), By.SUBMISSION))
BEGUN = (subjects.BEGUN, Changed((), By.HARVESTER, (JOB,)))


async def said(engine, words):
    for subject, word in words:
        await engine.bus.publish(subject, codec.encode(word))
    await engine.bus.flush()


@pytest.mark.parametrize("word", [ENDED, NEW, BEGUN])
async def test_who_looks_at_everything_hears_everything(hub, engine, word):
    async with hub.watch_all() as everything, hub.watch_job(JOB) as job:
        await said(engine, [word])
        assert await everything.wait(30)
        assert await job.wait(30)


def overheard(ear, also):
    """Note what this ear hears before it is handled."""
    heard = []

    async def handler(message):
        heard.append(message.subject)
        await also(message)

    ear._handler = handler
    return heard


async def test_who_waits_for_an_end_is_woken_by_the_end_alone(hub, engine):
    heard = overheard(hub._ends, hub._on_changed)
    async with hub.watch_job(JOB, ends_only=True) as watch:
        await said(engine, [NEW, BEGUN, ENDED])
        assert await watch.wait(30)
    assert heard == [subjects.CHANGED]


async def test_an_api_in_which_nobody_waits_any_more_is_not_woken(hub, engine):
    hub._ends._linger_s = 0.0
    heard = overheard(hub._ends, hub._on_changed)
    async with hub.watch_job(JOB, ends_only=True):
        pass
    while hub._ends._ending is None:
        await hub.ping()
    await hub._ends._ending
    await said(engine, [NEW, BEGUN, ENDED])
    await hub.ping()
    assert heard == []
