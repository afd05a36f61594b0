"""Workers as rows: names are identities, sessions come and go, and what people decided stays."""

import asyncio

import asyncpg
import pytest

from swarmsync.model.lifecycle import Eligibility, Liveness
from swarmsync.model.resources import Need
from swarmsync.model.worker import WorkerOffer
from swarmsync.store import workers

pytestmark = pytest.mark.integration

SMALL, LARGE = Need(1_000, 1 << 30), Need(8_000, 16 << 30, 2, 1 << 40)


def offer(name="desk-one", capacity=SMALL, **more):
    return WorkerOffer(name, capacity, **more)


async def stored(desk, name="desk-one"):
    return await desk.owner.fetchrow("SELECT * FROM workers WHERE name = $1", name)


async def test_a_new_worker_is_registered_as_it_offers_itself(desk):
    view = await workers.join(
        desk.engine, 901, offer(capacity=LARGE, labels={"zone": "eu"}, runtime="docker"), "desk-a"
    )
    assert (view.worker_id, view.name, view.capacity, view.labels) == (901, "desk-one", LARGE, {"zone": "eu"})
    assert view.assignable
    assert (view, "desk-a") in await workers.load(desk.engine)


async def test_a_worker_that_comes_back_keeps_its_id_and_brings_its_new_offer(desk):
    await workers.join(desk.engine, 901, offer(), "desk-a")
    view = await workers.join(desk.engine, 902, offer(capacity=LARGE, labels={"a": "b"}, version="2"), "desk-b")
    row = await stored(desk)
    assert (view.worker_id, row["cpus_milli"], row["session"], row["version"]) == (901, 8_000, "desk-b", "2")


@pytest.mark.parametrize("eligibility", ["open", "cordoned", "quarantined"])
async def test_what_people_decided_survives_a_new_session(desk, eligibility):
    await workers.join(desk.engine, 901, offer(), "desk-a")
    await desk.owner.execute("UPDATE workers SET eligibility = $1, liveness = 'lost' WHERE id = 901", eligibility)
    view = await workers.join(desk.engine, 902, offer(), "desk-b")
    assert (view.eligibility, view.liveness) == (Eligibility(eligibility), Liveness.READY)
    assert view.assignable == (eligibility == "open")
    row = await stored(desk)
    assert (row["eligibility"], row["liveness"]) == (eligibility, "ready")


async def test_a_new_session_ends_the_one_before_and_a_repeated_join_ends_none(desk):
    for session in ("desk-a", "desk-b", "desk-b"):
        await workers.join(desk.engine, 901, offer(), session)
    rows = await desk.owner.fetch(
        "SELECT session, ended_at FROM worker_sessions WHERE worker_id = 901 ORDER BY started_at"
    )
    assert [(row["session"], row["ended_at"] is None) for row in rows] == [("desk-a", False), ("desk-b", True)]


async def test_liveness_and_the_age_of_pulses_are_noted_for_several_at_once(desk):
    for number in (901, 902):
        await workers.join(desk.engine, number, offer(f"desk-{number}"), "desk-a")
    await workers.save_liveness(desk.engine, {902: Liveness.LOST, 901: Liveness.SUSPECT, 999: Liveness.READY})
    await workers.save_pulses(desk.engine, [(902, 60_000), (901, 0)])
    one, two = await stored(desk, "desk-901"), await stored(desk, "desk-902")
    assert (one["liveness"], two["liveness"]) == ("suspect", "lost")
    assert 59 < (one["last_pulse_at"] - two["last_pulse_at"]).total_seconds() < 61


async def test_the_last_pulse_of_a_silent_worker_is_told_once(desk):
    """By it is told when a container that nobody reaches is gone; that moment must not wander."""
    await workers.join(desk.engine, 901, offer("desk-901"), "desk-a")
    await workers.save_pulses(desk.engine, [(901, 60_000)])
    first = (await stored(desk, "desk-901"))["last_pulse_at"]
    await workers.save_pulses(desk.engine, [(901, 60_003)])
    assert (await stored(desk, "desk-901"))["last_pulse_at"] == first
    moved = []
    for ago_ms in (58_000, 120_000):  # a newer pulse; a clock that was set
        await workers.save_pulses(desk.engine, [(901, ago_ms)])
        moved.append(((await stored(desk, "desk-901"))["last_pulse_at"] - first).total_seconds())
    assert moved[0] > 1
    assert moved[1] < -30


async def test_only_a_draining_worker_becomes_drained(desk):
    """A person may have thought better of it in the meantime."""
    for number, eligibility in ((901, "draining"), (902, "open"), (903, "cordoned")):
        await workers.join(desk.engine, number, offer(f"desk-{number}"), "desk-a")
        await desk.owner.execute("UPDATE workers SET eligibility = $2 WHERE id = $1", number, eligibility)
    await workers.save_drained(desk.engine, [903, 902, 901])
    found = [(await stored(desk, f"desk-{number}"))["eligibility"] for number in (901, 902, 903)]
    assert found == ["drained", "open", "cordoned"]


async def test_a_worker_that_joins_in_a_deadlock_joins_after_it(desk):
    """PostgreSQL ends whoever has waited for a second when the circle closes: where that took longer, it is us."""
    await workers.join(desk.engine, 901, offer(), "desk-a")
    async with asyncio.timeout(60):
        while (session := await _deadlocked(desk)) is None:
            await workers.join(desk.engine, 901, offer(), "desk-a")
    assert (await stored(desk))["session"] == session


async def _deadlocked(desk):
    """Let a worker join in a deadlock; return its session, or None where not the join was made to give way."""
    joins = None
    try:
        async with desk.owner.transaction():
            await desk.owner.execute("SELECT FROM worker_sessions WHERE session = 'desk-a' FOR UPDATE")
            joins = asyncio.create_task(workers.join(desk.engine, 902, offer(capacity=LARGE), "desk-b"))
            while not await desk.owner.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"):
                await desk.owner.execute("SELECT pg_stat_clear_snapshot()")
            await desk.owner.execute("SELECT FROM workers WHERE id = 901 FOR UPDATE")  # the join is in the way
    except asyncpg.DeadlockDetectedError:
        await joins
        return None
    assert (await joins).worker_id == 901
    return "desk-b"
