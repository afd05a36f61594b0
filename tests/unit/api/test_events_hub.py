"""Who is woken by which hint."""

import itertools
from datetime import UTC, datetime
from types import SimpleNamespace

import msgspec
import pytest

from api.events_hub import DESCRIBED_MAX, EventsHub
from swarmsync.model.resources import Need
from swarmsync.model.rules import Rules
from swarmsync.protocol import codec
from swarmsync.protocol.codec import convert_spec
from swarmsync.protocol.messages import By, Changed
from swarmsync.store import submit
from swarmsync.store.users import Caller


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
    async with hub.watch_job(7, ends_only=ends_only) as watch, hub.watch_job(8) as other, hub.watch_all() as everything:
        await hears(hub, 7, by=by)
        assert watch._bell.is_set() is rings
        assert not other._bell.is_set()
        assert everything._bell.is_set()


@pytest.mark.parametrize("ends_only", [True, False])
async def test_of_what_only_began_it_is_told_in_the_same_breath(ends_only):
    hub = EventsHub("nats://nowhere")
    async with hub.watch_job(7, ends_only=ends_only) as began, hub.watch_job(8, ends_only=True) as ended:
        await hub._on_changed(SimpleNamespace(data=codec.encode(Changed((8,), By.HARVESTER, (7,)))))
        assert (began._bell.is_set(), ended._bell.is_set()) == (not ends_only, True)
        await hub._on_changed(SimpleNamespace(data=codec.encode(Changed((), By.HARVESTER, (9,)))))
        assert began._bell.is_set() is not ends_only


async def test_a_hint_that_names_nobody_wakes_all():
    hub = EventsHub("nats://nowhere")
    async with hub.watch_job(7, ends_only=True) as watch:
        await hears(hub, by=By.HARVESTER)
        assert watch._bell.is_set()


class Bus:
    connected = True

    def __init__(self):
        self.words = []

    async def publish(self, _subject, payload):
        self.words.append(codec.decoder_of(Changed)(payload))


def wanted(count=1, xid=0, **fields):
    drafts = [submit.draft(convert_spec({"image": "a", **fields}))] * count
    numbers = itertools.count(100)
    submission = submit.plan(drafts, datetime.now(UTC), lambda: next(numbers))
    submission.xid = xid
    return submit.Wanted(Caller(7, "someone", "user"), submission)


async def told_of(*made):
    hub = EventsHub("nats://nowhere")
    hub._bus = Bus()
    await hub.tell_submitted(made)
    (word,) = hub._bus.words
    return word


async def test_new_jobs_are_described_as_the_scheduler_reads_them_from_their_rows():
    entry = wanted(2, xid=4_711, queue="default", priority=70, timeout="1h", resources={"cpus": 2, "memory": "64MiB"})
    word = await told_of(entry)
    (line,) = set(submit.lines_of(entry.submission, 7))
    assert (word.by, word.job_ids, word.xid) == (By.SUBMISSION, tuple(entry.submission.ids), 4_711)
    assert [job.job_id for job in word.fresh] == entry.submission.ids
    (draft,) = {id(made): made for made, _ in entry.submission.specs.values()}.values()
    alike = (draft.shape, Need(2_000, 64 << 20), 70, 7, "default", line, Rules(timeout_ms=3_600_000), None)
    assert {msgspec.structs.astuple(job)[1:] for job in word.fresh} == {alike}


@pytest.mark.parametrize(
    "made",
    [
        [wanted(DESCRIBED_MAX + 1)],
        [wanted(500, labels={"a": "b"}, constraints=["labels.zone == " + "z" * 200] * 8)],
        [wanted(), wanted(delay="1h")],
        [wanted(array={"range": "0-2"})],
        [wanted(concurrency={"key": "k", "limit": 1, "on_limit": "cancel_oldest"})],
    ],
    ids=["many", "too long for a hint", "one is due later", "an array", "one that may have cancelled others"],
)
async def test_of_others_the_hint_names_the_jobs_and_says_no_more(made):
    word = await told_of(*made)
    assert word.fresh == ()
    assert set(word.job_ids) == {job.job_id for entry in made for job in entry.submission.jobs}
