"""The questions that must always be answered with 0: each finds its own break, and a job's whole life breaks none."""

import pytest

from swarmsync.model.lifecycle import JobState
from swarmsync.store import invariants, jobs

pytestmark = pytest.mark.integration

ONCE = "INSERT INTO assignments (job_id, fence, user_id, worker_id, state) SELECT id, fence, user_id, 1, 'ended' FROM jobs WHERE id = $1"
TOLD = "INSERT INTO job_events (job_id, user_id, state, fence) SELECT id, user_id, $2, $3 FROM jobs WHERE id = $1"
#: What breaks each invariant, done to a job that runs (first) or has ended (second).
PLACED = {
    "worker_overbooked": "UPDATE jobs SET cpus_milli = 2000000000, worker_id = (SELECT id FROM workers WHERE name = 'desk-full') WHERE id = $1",
    "attempt_open_after_its_end": ONCE,
    "attempt_without_end": "UPDATE jobs SET fence = fence + 1 WHERE id = $1",
    "ran_before_its_parents": (
        "INSERT INTO job_dependencies (user_id, job_id, parent_id, condition)"
        " SELECT user_id, id, 1, 'succeeded' FROM jobs WHERE id = $1"
    ),
}
OVER = {
    "attempts_miscounted": "UPDATE jobs SET fence = fence + 1 WHERE id = $1",
    "verdict_not_told_once": "DELETE FROM job_events WHERE job_id = $1 AND state = 'succeeded'",
    "verdict_changed": "UPDATE job_events SET state = 'failed' WHERE job_id = $1 AND state = 'succeeded'",
    "fence_went_back": "INSERT INTO job_events (job_id, user_id, state, fence) SELECT id, user_id, 'starting', 0 FROM jobs WHERE id = $1",
}


async def broken(desk, statement, job_id):
    """Return which invariants have one break more after this statement; it is undone again."""
    change = desk.owner.transaction()
    await change.start()
    try:
        before = await invariants.breaks(desk.owner)
        await desk.owner.execute(statement, job_id)
        after = await invariants.breaks(desk.owner)
    finally:
        await change.rollback()
    return {name for name in before if after[name] > before[name]}


@pytest.mark.parametrize("name", PLACED)
async def test_a_break_of_what_is_placed_is_found(desk, name):
    ref = await desk.running()
    await desk.owner.execute(
        "INSERT INTO workers (id, name, cpus_milli, memory_bytes, gpus, disk_bytes, runtime, version, liveness)"
        " VALUES ($1, 'desk-full', 1000, 1000000000000, 0, 0, 'x', 'x', 'ready')",
        ref.job_id,
    )
    assert await broken(desk, PLACED[name], ref.job_id) == {name}


@pytest.mark.parametrize("name", OVER)
async def test_a_break_of_what_is_over_is_found(desk, verdict, name):
    ref = await desk.running()
    await jobs.settle(desk.engine, [verdict(ref)])
    assert name in await broken(desk, OVER[name], ref.job_id)


async def test_an_array_that_is_over_too_soon_is_found(desk):
    array_id, *_members = await desk.submit(array={"range": "0-2"})
    early = "UPDATE jobs SET state = 'cancelled', finished_at = clock_timestamp() WHERE id = $1"
    assert await broken(desk, early, array_id) == {"array_over_before_its_members"}


def test_each_question_has_its_break():
    assert {*PLACED, *OVER, "array_over_before_its_members"} == invariants.QUESTIONS.keys()


async def test_a_life_with_a_second_attempt_breaks_nothing(desk, verdict):
    before = await invariants.breaks(desk.owner)
    ref = await desk.running()
    again = {"delay_ms": 0, "tries": 1, "outcome": "failed", "exit_code": 3}
    await jobs.settle(desk.engine, [verdict(ref, "queued", reason="", **again)])
    (second,) = await desk.dispatch(ref.job_id)
    await jobs.started(desk.engine, [(second, 0)])
    after = await invariants.breaks(
        desk.owner
    )  # what other tests broke is looked at for five minutes, and then no more
    assert {name for name in before if after[name] > before[name]} == set()
    (entry,) = await jobs.settle(desk.engine, [verdict(second)])
    assert entry.state is JobState.SUCCEEDED
    assert await invariants.breaks(desk.owner) == before
