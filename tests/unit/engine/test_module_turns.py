"""Turns of the real module shells around lost answers, dead neighbours and contradictions; the simulation found each."""

from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from conf.settings import PulseSettings
from engine.dispatcher.inflight import InFlight
from engine.dispatcher.service import DispatcherService
from engine.harvester.registry import Known, Limits
from engine.harvester.service import REFUSED_MS, HarvesterService
from engine.pulse_system.pulses import Beat
from engine.scheduler.service import SchedulerService, resync_at_ms
from engine.service_channels import CHANNELS, Role
from swarmsync.errors import Unavailable
from swarmsync.model.job import JobRef, Waiting
from swarmsync.model.lifecycle import AssignmentState, Eligibility, EndReason, Liveness
from swarmsync.model.resources import Need
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
    Join,
    Offered,
    Place,
    PlacementVoid,
    Pulse,
    Refused,
    Reports,
    Resync,
    WorkerChanged,
    WorkerJoined,
)
from swarmsync.seal import Sealer
from swarmsync.store import queries

NEED = Need(1_000, 1 << 30)
CAPACITY = Need(8_000, 8 << 30)
LIMITS = Limits(15_000, 35_000, 30_000, 5_000)
A, B = JobRef(11, 1), JobRef(12, 1)
NAMES = {file.read_text(): file.stem for file in Path(queries.__file__).parent.glob("*.sql")}


class Store:
    """Answers per statement, used up in order and then the last one for ever; an exception is raised. No answer: none."""

    def __init__(self):
        self.answers, self.calls = {}, []

    async def fetch(self, query, *values):
        name = NAMES.get(query, query.split()[0])
        self.calls.append(name)
        answers = self.answers.get(name, [[]])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    execute = fetchval = fetch

    async def stream(self, query, *values):
        for row in await self.fetch(query, *values):
            yield row

    change = fetch

    async def run(self, work):
        return await work(self)


class End:
    """Both ends of a ring, as lists."""

    def __init__(self):
        self.words, self.damaged, self.room, self.ring = [], 0, 1 << 20, self
        self.reader_epoch = 1

    def room_bytes(self):
        return self.room

    def offer(self, words):
        self.words += words
        return len(words)

    def offer_or_drop(self, words):
        return self.offer(words) == len(words)

    async def put(self, words):
        self.words += words

    def take(self, _frames_max=16):
        taken, self.words = self.words, []
        return taken


class Bus:
    def __init__(self):
        self.said = []

    async def publish(self, subject, payload, reply=""):
        self.said.append((subject, payload))


class Rig:
    def __init__(self, make):
        self.ends = {channel.name: End() for channel in CHANNELS}
        self.store, self.bus = Store(), Bus()
        wiring = SimpleNamespace(
            readers=lambda role: {c.name: self.ends[c.name] for c in CHANNELS if c.reader is role},
            writer=self.ends.__getitem__,
            bells=dict.fromkeys(Role, SimpleNamespace(ring=lambda: None)),
        )
        self.service = make(self.store, wiring=wiring, pulse=PulseSettings(), beat=lambda: None)
        self.service._bus = self.bus

    def told(self, ring, kind):
        return [word for word in self.ends[ring].words if isinstance(word, kind)]


def view(liveness=Liveness.READY, worker_id=1):
    return WorkerView(worker_id, f"w{worker_id}", CAPACITY, {}, liveness, Eligibility.OPEN)


def worker_row(liveness="ready", worker_id=1, session="s"):
    need = {"cpus_milli": 8_000, "memory_bytes": 8 << 30, "gpus": 0, "disk_bytes": 0}
    standing = {
        "labels": "{}",
        "liveness": liveness,
        "eligibility": "open",
        "session": session,
        "runtime": "docker",
        "images": [],
    }
    return {"id": worker_id, "name": f"w{worker_id}", **need, **standing}


def offered(ref, seq=1):
    return Offered(ref, 1, NEED, 10_000, 1, seq)


@pytest.fixture
def harvester():
    limits = {"limits": LIMITS, "pulse_ms": 1_000, "crash_limit": 5, "join_token": "t"}
    rig = Rig(lambda store, **common: HarvesterService(store, "nats://", **limits, **common))
    service = rig.service
    service._registry.joined(view(), "s", (), service.clock.monotonic_ms())
    service._ids = SimpleNamespace(next=lambda: 1)
    service._cursor = SimpleNamespace(xid="1", seq=0)
    service._due.clear()
    service._look_at_feed = False
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
    harvester.store.answers["settle"] = [Unavailable("gone")]
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


async def test_a_worker_that_is_in_the_rows_only_comes_to_be_watched(harvester):
    """Its join was committed and never answered: the Scheduler reads the row and gives it jobs."""
    harvester.service._due.add(Beat.SLOW)
    harvester.store.answers["load_workers"] = [[worker_row(), worker_row(worker_id=2, session="other")]]
    await harvester.service.duty()
    known = harvester.service._registry.workers["w2"]
    assert isinstance(known, Known)
    assert known.session == "other"


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


@pytest.mark.parametrize(("took_ms", "pause_ms"), [(0, 100), (5, 100), (40, 400), (100, 1_000), (9_000, 1_000)])
def test_rows_are_read_again_the_sooner_the_less_it_costs(took_ms, pause_ms):
    assert resync_at_ms(7, 7 + took_ms) == 7 + took_ms + pause_ms


async def test_a_job_that_is_dispatched_while_the_scheduler_reads_counts_as_placed():
    """Read the other way round it was neither waiting nor placed, and its room was given to another job as well."""
    rig = Rig(lambda store, **common: SchedulerService(store, places_max=10, backlog_jobs_max=10, **common))
    need = {"cpus_milli": 8_000, "memory_bytes": 1 << 30, "gpus": 0, "disk_bytes": 0}
    terms = {"user_id": 7, "queue": "default", "rules": None, "array_id": None}
    row = {"id": A.job_id, "shape": 5, "line": 5, "priority": 50, **terms, **need}
    dispatched, fetch = [], rig.store.fetch

    async def meanwhile(query, *values):
        rig.store.answers["load_placed"] = [[{**row, "worker_id": 1, "age_ms": 0}] if dispatched else []]
        rig.store.answers["load_queued"] = [[] if dispatched else [row]]
        rig.store.answers["load_workers"] = [[worker_row()]]
        found = await fetch(query, *values)
        if NAMES.get(query) in ("load_placed", "load_queued"):
            dispatched.append(A)  # by the Dispatcher, right after the first of the two was read
        return found

    rig.store.fetch = meanwhile
    await rig.service.on_start()
    assert rig.service._core.cluster.placed == {A.job_id: 1}
    assert len(rig.service._core.backlog) == 0


def test_words_survive_the_codec():
    """The rings of these tests carry objects: make sure that what they assert on can be said."""
    words = [WorkerJoined(view(), ((1, NEED),)), AssignmentEnded(1, 2), Resync()]
    assert codec.decode_to_scheduler(codec.encode(words)) == words


@pytest.mark.parametrize("by", By)
async def test_only_what_the_api_changed_is_news_for_the_harvester(harvester, by):
    await harvester.service._on_changed(SimpleNamespace(data=codec.encode(Changed((1,), by))))
    await harvester.service.duty()
    assert ("feed" in harvester.store.calls) is (by in (By.API, By.SUBMISSION))


async def test_who_waits_for_an_end_hears_of_it_before_the_feed_is_read(harvester):
    harvester.service._registry.offered(offered(A))
    row = {"id": A.job_id, "fence": A.fence, "worker_id": 1, "state": "succeeded", "array_id": None}
    harvester.store.answers["settle"] = [[row]]
    harvester.store.answers["feed"] = [Unavailable("gone")]
    harvester.service._look_at_feed = True
    hears(harvester, Reports("s", 1, (Ended(A, EndReason.COMPLETED, "", 0, 0),)))
    with pytest.raises(Unavailable):
        await harvester.service.duty()
    assert codec.decoder_of(Changed)(dict(harvester.bus.said)["core.changed"]) == Changed((A.job_id,), By.HARVESTER)


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
