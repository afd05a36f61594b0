"""Who is woken by which hint."""

from types import SimpleNamespace

import pytest

from api.events_hub import EventsHub
from swarmsync.protocol import codec
from swarmsync.protocol.messages import By, Changed


async def hears(hub, *job_ids, by):
    await hub._on_changed(SimpleNamespace(data=codec.encode(Changed(job_ids, by))))


@pytest.mark.parametrize(
    ("by", "ends_only", "rings"),
    [
        (By.SUBMISSION, False, True),
        (By.SUBMISSION, True, False),
        (By.HARVESTER, True, True),
        (By.API, True, True),  # a job that waits is cancelled by the API itself
    ],
)
async def test_who_waits_for_an_end_sleeps_through_a_beginning(by, ends_only, rings):
    hub = EventsHub("nats://nowhere")
    with hub.watch_job(7, ends_only=ends_only) as watch, hub.watch_job(8) as other, hub.watch_all() as everything:
        await hears(hub, 7, by=by)
        assert watch._bell.is_set() is rings
        assert not other._bell.is_set()
        assert everything._bell.is_set()


@pytest.mark.parametrize("ends_only", [True, False])
async def test_of_what_only_began_it_is_told_in_the_same_breath(ends_only):
    hub = EventsHub("nats://nowhere")
    with hub.watch_job(7, ends_only=ends_only) as began, hub.watch_job(8, ends_only=True) as ended:
        await hub._on_changed(SimpleNamespace(data=codec.encode(Changed((8,), By.HARVESTER, (7,)))))
        assert (began._bell.is_set(), ended._bell.is_set()) == (not ends_only, True)
        await hub._on_changed(SimpleNamespace(data=codec.encode(Changed((), By.HARVESTER, (9,)))))
        assert began._bell.is_set() is not ends_only


async def test_a_hint_that_names_nobody_wakes_all():
    hub = EventsHub("nats://nowhere")
    with hub.watch_job(7, ends_only=True) as watch:
        await hears(hub, by=By.HARVESTER)
        assert watch._bell.is_set()
