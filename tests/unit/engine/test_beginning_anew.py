"""A Scheduler that begins anew: what is under way, what it reads in which order, and how soon again."""

import pytest
from rigs import NAMES, A, B, Rig, worker_row

from engine.dispatcher import service as dispatching
from engine.dispatcher.inflight import InFlight
from engine.dispatcher.service import DispatcherService, counting
from engine.scheduler import service as scheduling
from engine.scheduler.service import SchedulerService, resync_at_ms
from swarmsync.errors import Unavailable
from swarmsync.ids import IdSource
from swarmsync.protocol.messages import Answer, Place, PlanVoid, Revoke
from swarmsync.seal import Sealer


async def test_the_scheduler_reads_the_rows_when_nothing_of_its_plan_is_under_way(monkeypatch):
    """A Dispatcher that stood still had placements before it that were read as waiting, and were placed once more."""
    monkeypatch.setattr(scheduling, "VOID_PATIENCE_MS", 20)
    rig = Rig(lambda store, **common: SchedulerService(store, places_max=10, backlog_jobs_max=10, **common))
    placements, fetch, pending = rig.ends["placements"], rig.store.fetch, []
    placements.words, placements.records_put = [Place(A.job_id, 1)], 1
    rig.service._unsent = [Place(B.job_id, 1), Revoke(B.job_id)]
    looked, busy = [], True

    def fill():
        looked.append(list(placements.words))
        if not busy:
            placements.words = []  # the Dispatcher takes it all
        return float(bool(placements.words))

    async def read(query, *values):
        pending.append(list(placements.words))
        return await fetch(query, *values)

    placements.fill, rig.store.fetch = fill, read
    with pytest.raises(Unavailable):  # whatever it is at could be committed behind what is read now
        await rig.service.on_start()
    assert pending == []
    busy = False
    await rig.service.on_start()
    assert looked[0] == looked[-1] == [Place(A.job_id, 1), Revoke(B.job_id), PlanVoid()]
    assert pending[0] == []


@pytest.mark.interpreted
async def test_nothing_is_placed_by_a_plan_that_is_void(monkeypatch):
    """What was placed behind the word would be taken for the new plan's."""
    monkeypatch.setattr(scheduling, "VOID_PATIENCE_MS", 20)
    rig = Rig(lambda store, **common: SchedulerService(store, places_max=10, backlog_jobs_max=10, **common))
    placements, rooms = rig.ends["placements"], []
    placements.words, placements.records_put = [], 0
    await rig.service.on_start()
    handle = rig.service._core.handle
    monkeypatch.setattr(
        rig.service._core,
        "handle",
        lambda events, *, now_ms, places_max: (
            rooms.append(places_max) or handle(events, now_ms=now_ms, places_max=places_max)
        ),
    )
    await rig.service.duty()
    placements.records_put, placements.fill = 1, lambda: 1.0
    rig.service._core.wants_resync = True
    with pytest.raises(Unavailable):
        await rig.service.duty()
    with pytest.raises(Unavailable):
        await rig.service.duty()
    assert rooms == [10, 10, 0]


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


async def test_placements_before_a_void_plan_are_left_alone_and_all_else_is_done():
    words = [Place(1, 1), Revoke(5), PlanVoid(), Place(2, 1), Answer("r", b""), PlanVoid(), Place(3, 1)]
    assert counting(words) == [Revoke(5), Answer("r", b""), Place(3, 1)]
    assert counting([Place(1, 1)]) == [Place(1, 1)]


async def test_a_plan_is_void_also_for_a_dispatcher_that_waits_for_postgresql():
    """It tried the old plan again for as long as PostgreSQL was away, and did so when a new one had been made."""
    limits = {"receipt_ms": 3_000, "resends_max": 3, "orders_max": 200, "sealer": Sealer([bytes(32)])}
    rig = Rig(lambda store, **common: DispatcherService(store, "nats://", **limits, **common))
    rig.service._inflight = InFlight(1, receipt_ms=3_000, resends_max=3)
    fetch, dispatched = rig.store.fetch, []

    async def noting(query, *values):
        if NAMES.get(query) == "dispatch":
            dispatched.append(values[0])
        return await fetch(query, *values)

    rig.store.fetch = rig.store.change = noting
    rig.store.answers["dispatch"] = [Unavailable("gone"), []]
    rig.ends["placements"].words = [Place(A.job_id, 1)]
    with pytest.raises(Unavailable):
        await rig.service.duty()
    rig.ends["placements"].words = [PlanVoid(), Place(B.job_id, 1)]
    await rig.service.duty()
    assert (dispatched[0], set(dispatched[1:])) == ((A.job_id,), {(B.job_id,)})


async def test_words_that_cannot_be_done_are_taken_until_they_are_too_many(monkeypatch):
    monkeypatch.setattr(dispatching, "WORDS_MAX", 2)
    limits = {"receipt_ms": 3_000, "resends_max": 3, "orders_max": 200, "sealer": Sealer([bytes(32)])}
    rig = Rig(lambda store, **common: DispatcherService(store, "nats://", **limits, **common))
    rig.service._inflight = InFlight(1, receipt_ms=3_000, resends_max=3)
    rig.store.answers["dispatch"] = [Unavailable("gone")]
    for left in ([], [], [Place(3, 1)]):
        rig.ends["placements"].words = [Place(len(rig.service._words) + 1, 1)]
        with pytest.raises(Unavailable):
            await rig.service.duty()
        assert rig.ends["placements"].words == left


async def test_a_restart_forgets_nobodys_wait():
    """All that waited counted as new: whoever had waited for days went behind the short ones again."""
    rig = Rig(lambda store, **common: SchedulerService(store, places_max=10, backlog_jobs_max=10, **common))
    wall_ms, hour_ms = rig.service.clock.wall_ms(), 3_600_000
    old, young = IdSource(1, lambda: wall_ms - hour_ms).next(), IdSource(1, lambda: wall_ms).next()
    need = {"cpus_milli": 8_000, "memory_bytes": 1 << 30, "gpus": 0, "disk_bytes": 0}
    terms = {"user_id": 7, "queue": "default", "rules": None, "array_id": None}
    rows = [{"id": job_id, "shape": 5, "line": 5, "priority": 50, **terms, **need} for job_id in (old, young)]
    rig.store.answers["load_queued"] = [rows]
    await rig.service.on_start()
    backlog = rig.service._core.backlog
    assert backlog.since(young) - backlog.since(old) == hour_ms
