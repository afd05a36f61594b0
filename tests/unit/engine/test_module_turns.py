"""Turns of the real module shells around lost answers, dead neighbours and contradictions; the simulation found each."""

from types import SimpleNamespace

import msgspec
import pytest
from rigs import CAPACITY, LIMITS, NEED, A, B, Rig, worker_row

from engine.dispatcher.inflight import InFlight
from engine.dispatcher.service import DispatcherService
from engine.harvester.hints import EVERY_MS as HINTS_EVERY_MS
from engine.harvester.registry import Known
from engine.harvester.service import REFUSED_MS, HarvesterService
from engine.pulse_system.pulses import Beat
from engine.scheduler.service import SchedulerService
from swarmsync.errors import Unavailable
from swarmsync.model.job import Waiting
from swarmsync.model.lifecycle import AssignmentState, Eligibility, EndReason, JobState, Liveness
from swarmsync.model.worker import WorkerOffer, WorkerView
from swarmsync.protocol import codec
from swarmsync.protocol.messages import (
    Answer,
    Ask,
    AssignmentEnded,
    By,
    Changed,
    Ended,
    Holding,
    JobsSubmitted,
    Join,
    Offered,
    Place,
    PlacementVoid,
    Pulse,
    Refused,
    Reports,
    Resync,
    StopWanted,
    WorkerChanged,
    WorkerJoined,
)
from swarmsync.seal import Sealer
from swarmsync.store.dependencies import Released
from swarmsync.store.jobs import Cursor, FeedEntry


def view(liveness=Liveness.READY, worker_id=1):
    return WorkerView(worker_id, f"w{worker_id}", CAPACITY, {}, liveness, Eligibility.OPEN)


def offered(ref, seq=1):
    return Offered(ref, 1, NEED, 10_000, 1, seq)


@pytest.fixture
def harvester():
    limits = {"limits": LIMITS, "pulse_ms": 1_000, "crash_limit": 5, "join_token": "t"}
    rig = Rig(lambda store, **common: HarvesterService(store, "nats://", **limits, **common))
    service = rig.service
    service._registry.joined(view(), "s", (), service.clock.monotonic_ms())
    service._ids = SimpleNamespace(next=lambda: 1)
    service._cursor = SimpleNamespace(xid="1", seq=-1)
    service._due.clear()
    service._look_at_feed, service._feed_at_ms = False, service.clock.monotonic_ms() + 3_600_000
    return rig


def hears(rig, word, kind="reports"):
    rig.service._arrived.append((SimpleNamespace(subject=f"w.w1.up.{kind}", reply="r", data=b""), word))


# ------------------------------------------------ the Harvester


async def test_a_join_tells_the_scheduler_what_core_knows_and_not_what_the_worker_claims(harvester, monkeypatch):
    """What a worker brings of assignments that are over would be taken for placed, and never end."""
    monkeypatch.setattr("engine.harvester.service.subjects.worker_of", lambda _subject: "w1")
    harvester.service._registry.offered(offered(A))
    harvester.store.answers["join_worker"] = [[{"id": 1, "eligibility": "open", "labels": "{}"}]]
    holds = tuple(Holding(ref, AssignmentState.RUNNING, NEED) for ref in (A, B))
    hears(harvester, Join("s2", WorkerOffer("w1", CAPACITY), holds, "t"), "join")
    await harvester.service.duty()
    (joined,) = harvester.told("inbox", WorkerJoined)
    assert joined.holds == ((A.job_id, NEED),)


async def test_a_verdict_whose_answer_was_lost_is_looked_up_before_anything_else(harvester):
    """It passed and queued the job again, which the Scheduler still takes for placed: it must read PostgreSQL again."""
    harvester.service._registry.offered(offered(A))
    harvester.store.answers["settle_succeeded"] = [Unavailable("gone")]
    hears(harvester, Reports("s", 1, (Ended(A, EndReason.COMPLETED, "", 0, 0),)))
    with pytest.raises(Unavailable):
        await harvester.service.duty()
    row = {"id": A.job_id, "fence": 1, "state": "queued", "orders_epoch": 1, "orders_seq": 1}
    harvester.store.answers["refresh"] = [[row]]
    await harvester.service.duty()
    assert harvester.told("inbox", AssignmentEnded) == [AssignmentEnded(A.job_id, 1)]
    assert harvester.told("inbox", Resync) == [Resync()]
    assert harvester.service._registry.live == {}


async def test_a_change_of_liveness_is_saved_first_and_told_then_and_not_forgotten(harvester, monkeypatch):
    monkeypatch.setattr("engine.harvester.service.subjects.worker_of", lambda _subject: "w1")
    harvester.service._registry.workers["w1"].view.liveness = Liveness.LOST
    harvester.store.answers["save_liveness"] = [Unavailable("gone"), []]
    hears(harvester, Pulse("s", 1, 0, 0, ()), "pulse")
    with pytest.raises(Unavailable):
        await harvester.service.duty()
    assert harvester.told("inbox", WorkerChanged) == []
    await harvester.service.duty()
    assert harvester.told("inbox", WorkerChanged) == [WorkerChanged(1, Liveness.READY, Eligibility.OPEN)]
    await harvester.service.duty()
    assert harvester.store.calls.count("save_liveness") == 2
    told = [call for call in harvester.store.calls if call in ("save_pulses", "save_liveness")]
    assert told == ["save_pulses", "save_liveness"] * 2, "who reads `lost` finds the last pulse there"


async def test_a_worker_that_is_in_the_rows_only_comes_to_be_watched(harvester):
    """Its join was committed and never answered: the Scheduler reads the row and gives it jobs."""
    harvester.service._due.add(Beat.SLOW)
    harvester.store.answers["load_workers"] = [[worker_row(), worker_row(worker_id=2, session="other")]]
    await harvester.service.duty()
    known = harvester.service._registry.workers["w2"]
    assert isinstance(known, Known)
    assert known.session == "other"


@pytest.mark.interpreted
async def test_a_refusal_tells_the_scheduler_the_room_and_makes_the_job_wait(harvester):
    harvester.service._registry.offered(offered(A))
    harvester.service._registry.offered(offered(B))
    harvester.ends["bounces"].words = [Refused(A, 1, 1, 1, "it has no room: cpus")]
    row = {"id": A.job_id, "fence": 1, "tries": 0, "crashes": 0, "stop_reason": None, "document": '{"image": "i"}'}
    harvester.store.answers["ends"] = [[row]]
    settled = []
    harvester.service._ends.settle = lambda batch: settled.extend(batch) or _nothing()
    await harvester.service.duty()
    (told,) = harvester.told("inbox", WorkerJoined)
    assert told.holds == ((A.job_id, NEED), (B.job_id, NEED))
    (entry,) = settled
    assert (entry.state, entry.delay_ms, entry.crashes) == ("scheduled", REFUSED_MS, 0)


async def _nothing():
    return None


@pytest.mark.parametrize(("state", "resyncs"), [("queued", 1), ("cancelled", 0), ("held", 0)])
async def test_a_void_placement_of_a_job_that_is_queued_again_is_made_good(harvester, state, resyncs):
    """Released while the Scheduler took it for placed: it overheard that, and would wait for ever."""
    harvester.ends["bounces"].words = [PlacementVoid(A.job_id, 1)]
    harvester.store.answers["refresh"] = [[{"id": A.job_id, "state": state}]]
    await harvester.service.duty()
    assert harvester.told("inbox", PlacementVoid) == [PlacementVoid(A.job_id, 1)]
    assert len(harvester.told("inbox", Resync)) == resyncs


# ------------------------------------------------ the Dispatcher


async def test_of_two_placements_of_a_job_the_one_that_loses_is_void():
    """The Scheduler began anew while its older plan was under way: the room it holds for the loser must come back."""
    limits = {"receipt_ms": 3_000, "resends_max": 3, "orders_max": 200, "sealer": Sealer([bytes(32)])}
    rig = Rig(lambda store, **common: DispatcherService(store, "nats://", **limits, **common))
    rig.service._inflight = InFlight(1, receipt_ms=3_000, resends_max=3)
    rig.service._due.clear()
    rig.ends["placements"].words = [Place(A.job_id, 1), Place(A.job_id, 2)]
    numbers = {"id": A.job_id, "fence": 1, "worker_id": 1, "orders_seq": 1, "name": "", "spec_id": 5, "grace_ms": 0}
    numbers["user_id"] = 7
    need = {"cpus_milli": 1_000, "memory_bytes": 1 << 30, "gpus": 0, "disk_bytes": 0}
    rig.store.answers["dispatch"] = [[{**numbers, **need, "array_index": None, "array_size": None, "image": None}]]
    rig.store.answers["load_workers"] = [[worker_row(), worker_row(worker_id=2)]]
    rig.store.answers["SELECT"] = [[{"id": 5, "document": '{"image": "i"}'}]]
    await rig.service.duty()
    assert rig.told("bounces", PlacementVoid) == [PlacementVoid(A.job_id, 2)]
    assert [said.ref for said in rig.told("bounces", Offered)] == [A]


async def test_an_order_that_nobody_heard_is_sent_again_soon():
    limits = {"receipt_ms": 60_000, "resends_max": 3, "orders_max": 200, "sealer": Sealer([bytes(32)])}
    rig = Rig(lambda store, **common: DispatcherService(store, "nats://", **limits, **common))
    rig.service._inflight = InFlight(9, receipt_ms=60_000, resends_max=3)
    rig.service._due.clear()
    now_ms = rig.service.clock.monotonic_ms()
    for worker_id, ref in ((1, A), (2, B)):
        rig.service._inflight.sent(worker_id, 4, [ref], now_ms)
    for worker_id, headers in ((1, {"Status": "503"}), (2, None)):
        await rig.service._on_unheard(SimpleNamespace(subject=f"_INBOX.orders.9.{worker_id}.4", headers=headers))
    await rig.service.duty()
    assert rig.service._inflight.overdue(now_ms + 30_000) == {1: [A]}


# ------------------------------------------------ the Scheduler


async def test_the_scheduler_begins_anew_when_its_reader_was_replaced():
    """A Dispatcher that dies takes with it what it had taken from the ring: those jobs would stay placed for ever."""
    rig = Rig(lambda store, **common: SchedulerService(store, places_max=10, backlog_jobs_max=10, **common))
    await rig.service.duty()
    assert rig.store.calls == []
    rig.ends["placements"].reader_epoch = 2
    await rig.service.duty()
    limits = ["load_queue_limits", "load_user_limits"]
    assert rig.store.calls == [*limits, "load_queued", "load_workers", "load_placed", "load_rate_starts"]
    await rig.service.duty()
    assert len(rig.store.calls) == 6


def test_words_survive_the_codec():
    """The rings of these tests carry objects: make sure that what they assert on can be said."""
    words = [WorkerJoined(view(), ((1, NEED),)), AssignmentEnded(1, 2), Resync()]
    assert codec.decode_to_scheduler(codec.encode(words)) == words


@pytest.mark.parametrize("by", By)
async def test_only_what_the_api_changed_is_news_for_the_harvester(harvester, by):
    await harvester.service._on_changed(SimpleNamespace(data=codec.encode(Changed((1,), by))))
    await harvester.service.duty()
    assert ("feed" in harvester.store.calls) is (by in (By.API, By.SUBMISSION))


NEW = Waiting(1, 1, NEED, 50, 1)


def hint(xid):
    return SimpleNamespace(data=codec.encode(Changed((1,), By.SUBMISSION, fresh=(NEW,), xid=xid)))


async def test_a_new_job_that_its_hint_describes_is_told_before_postgresql_is_asked(harvester):
    service = harvester.service
    await service.duty()
    harvester.store.calls.clear()
    await service._on_changed(hint(xid=5))
    await service.duty()
    assert harvester.told("inbox", JobsSubmitted) == [JobsSubmitted((NEW,))]
    assert "feed" not in harvester.store.calls


async def test_a_hint_heard_while_the_feed_is_read_does_not_undo_what_the_feed_tells(harvester, monkeypatch):
    """The job was cancelled, and the feed is past that: told as new behind it, it would wait for ever."""
    service = harvester.service
    cancelled = FeedEntry(1, JobState.CANCELLED, None, None, None, False)

    async def feed(_store, _cursor, _limit, _known):
        await service._on_changed(hint(xid=5))
        return Cursor("6", -1), [cancelled]

    monkeypatch.setattr("engine.harvester.service.jobs.feed", feed)
    service._look_at_feed = True
    await service.duty()
    await service.duty()
    assert harvester.told("inbox", StopWanted) == [StopWanted((1,))]
    assert harvester.told("inbox", JobsSubmitted) == []


async def test_what_follows_from_an_end_follows_at_the_next_fast_pulse(harvester):
    """Not when the feed is looked at for hints that were lost: an array that gives up must not begin ten more."""
    service = harvester.service
    await service.duty()
    service._due.clear()
    service._ends.arrays.add(5)
    harvester.store.calls.clear()
    await service.duty()
    assert "arrays_overrun" not in harvester.store.calls
    assert service.restless()
    service._on_fast()
    await service.duty()
    assert "arrays_overrun" in harvester.store.calls


async def test_jobs_that_waited_for_an_end_go_on_in_the_same_turn(harvester, monkeypatch):
    service, released = harvester.service, []

    async def release(_store, parents):
        released.extend(parents)
        await service._on_changed(hint(xid=5))  # whoever says something meanwhile is heard
        return Released([8], [])

    monkeypatch.setattr("engine.harvester.ends.dependencies.release", release)
    await service.duty()
    service._due.clear()
    service._ends.over.add(5)
    await service.duty()
    assert (released, service._ends.over, harvester.store.calls[-1]) == ([5], set(), "feed")
    assert hints(harvester) == [Changed((8,), By.HARVESTER)]


async def test_who_waits_for_an_end_hears_of_it_before_the_feed_is_read(harvester):
    harvester.service._registry.offered(offered(A))
    row = {"id": A.job_id, "fence": A.fence, "worker_id": 1, "state": "succeeded", "array_id": None, "waited_for": True}
    harvester.store.answers["settle_succeeded"] = [[row]]
    harvester.store.answers["feed"] = [Unavailable("gone")]
    harvester.service._look_at_feed = True
    hears(harvester, Reports("s", 1, (Ended(A, EndReason.COMPLETED, "", 0, 0),)))
    with pytest.raises(Unavailable):
        await harvester.service.duty()
    assert hints(harvester) == [Changed((A.job_id,), By.HARVESTER)]


def hints(rig):
    """What was said to those who wait, on a subject that only those hear whom it concerns."""
    said = [(subject, codec.decoder_of(Changed)(payload)) for subject, payload in rig.bus.said if "core." in subject]
    assert all(subject == ("core.changed" if word.job_ids else "core.begun") for subject, word in said)
    return [word for _, word in said]


async def test_who_begins_is_told_of_at_once_after_a_quiet_time_and_else_with_others(harvester, monkeypatch):
    now = [10_000]
    monkeypatch.setattr(harvester.service.clock, "monotonic_ms", lambda: now[0])
    for ref in (A, B):
        harvester.ends["bounces"].words = [offered(ref)]
        await harvester.service.duty()
        now[0] += HINTS_EVERY_MS // 2
    assert hints(harvester) == [Changed((), By.HARVESTER, (A.job_id,))]
    now[0] += HINTS_EVERY_MS
    await harvester.service.duty()
    assert hints(harvester)[1:] == [Changed((), By.HARVESTER, (B.job_id,))]


@pytest.mark.parametrize("waited_for", [True, False])
async def test_dependants_are_looked_for_only_where_the_verdict_saw_some(harvester, monkeypatch, waited_for):
    looked = []

    async def release(_store, parent_ids):
        looked.extend(parent_ids)
        return Released([], [])

    monkeypatch.setattr("engine.harvester.ends.dependencies.release", release)
    harvester.service._registry.offered(offered(A))
    row = {"id": A.job_id, "fence": A.fence, "worker_id": 1, "state": "succeeded", "array_id": None}
    harvester.store.answers["settle_succeeded"] = [[row | {"waited_for": waited_for}]]
    harvester.service._look_at_feed = True
    hears(harvester, Reports("s", 1, (Ended(A, EndReason.COMPLETED, "", 0, 0),)))
    await harvester.service.duty()
    assert looked == [A.job_id] * waited_for


async def test_what_was_read_beside_a_blocked_job_is_read_again_when_a_look_at_its_parents_fails(
    harvester, monkeypatch
):
    """The cursor went on before, and a job that was queued in the same moment waited for ever."""
    there = [
        FeedEntry(A.job_id, JobState.QUEUED, Waiting(A.job_id, 7, NEED, 50, 1), None, None, stop_kill=False),
        FeedEntry(B.job_id, JobState.BLOCKED, None, None, None, stop_kill=False),
    ]

    async def feed(_store, cursor, _limit, _known):
        return Cursor("2", 0), there if cursor.xid == "1" else []

    monkeypatch.setattr("engine.harvester.service.jobs.feed", feed)
    harvester.store.answers["dependencies_overlooked"] = [Unavailable("away"), []]
    harvester.service._look_at_feed = True
    with pytest.raises(Unavailable):
        await harvester.service.duty()
    harvester.service._feed_at_ms = 0
    await harvester.service.duty()
    assert [word.jobs[0].job_id for word in harvester.told("inbox", JobsSubmitted)] == [A.job_id]


async def test_a_question_goes_on_to_the_scheduler_with_the_subject_of_its_answer(harvester):
    ask = Ask("", "why", Waiting(1, 7, NEED, 50, 12))
    await harvester.service._questions._on_ask(SimpleNamespace(data=codec.encode(ask), reply="_INBOX.1"))
    await harvester.service._questions._on_ask(SimpleNamespace(data=b"noise", reply="_INBOX.2"))
    await harvester.service.duty()
    assert harvester.told("inbox", Ask) == [msgspec.structs.replace(ask, reply="_INBOX.1")]


async def test_an_answer_goes_to_who_asked_even_while_postgresql_is_away():
    limits = {"receipt_ms": 3_000, "resends_max": 3, "orders_max": 200, "sealer": Sealer([bytes(32)])}
    rig = Rig(lambda store, **common: DispatcherService(store, "nats://", **limits, **common))
    rig.service._inflight = InFlight(1, receipt_ms=3_000, resends_max=3)
    rig.service._due.clear()
    rig.ends["placements"].words = [Place(A.job_id, 1), Answer("_INBOX.1", b"{}")]
    rig.store.answers["dispatch"] = [Unavailable("gone")]
    with pytest.raises(Unavailable):
        await rig.service.duty()
    assert rig.bus.said == [("_INBOX.1", b"{}")]


async def test_a_drain_that_is_too_late_is_looked_at_each_medium_pulse(harvester):
    """The beat is told once a turn; two duties of one turn need it."""
    harvester.service._registry.changed(1, Eligibility.DRAINING)
    harvester.service._registry.offered(offered(A))
    for _ in range(2):
        harvester.store.calls.clear()
        harvester.service._due.add(Beat.MEDIUM)
        await harvester.service.duty()
        assert "drain_late" in harvester.store.calls


async def test_the_feed_is_looked_at_each_half_second_and_more_often_without_nats(harvester, monkeypatch):
    now = [10_000]
    monkeypatch.setattr(harvester.service.clock, "monotonic_ms", lambda: now[0])
    harvester.service._feed_at_ms = 0
    for connected, later_ms, looks in ((True, 0, 1), (True, 400, 1), (False, 100, 2), (False, 100, 3), (True, 100, 4)):
        harvester.bus.connected = connected
        now[0] += later_ms
        assert harvester.service.restless() is (harvester.store.calls.count("feed") < looks)
        await harvester.service.duty()
        assert harvester.store.calls.count("feed") == looks
