"""What time does to rows: jobs that are due, jobs that waited too long, and how long the Hibernator may sleep."""

import pytest

from swarmsync.model.lifecycle import WaitReason
from swarmsync.protocol.messages import LineWaits
from swarmsync.store import jobs, timetable

pytestmark = pytest.mark.integration


async def make_due(desk, *job_ids, seconds_ago=1):
    query = "UPDATE jobs SET run_at = clock_timestamp() - $2 * interval '1 s' WHERE id = ANY ($1::bigint[])"
    await desk.owner.execute(query, job_ids, seconds_ago)


async def make_late(desk, *job_ids):
    query = "UPDATE jobs SET expires_at = clock_timestamp() - interval '1 s' WHERE id = ANY ($1::bigint[])"
    await desk.owner.execute(query, job_ids)


async def test_a_job_whose_time_has_come_is_queued_and_to_be_placed(desk):
    (due,) = await desk.submit(delay="1h", priority=70)
    (later,) = await desk.submit(delay="1h")
    await make_due(desk, due)
    waiting = {entry.job_id: entry for entry in await jobs.due(desk.engine, 100)}
    assert waiting[due].priority == 70
    assert later not in waiting
    row = await desk.row(due)
    assert (row["state"], row["reason"], await desk.state(later)) == ("queued", "", "scheduled")
    assert await desk.events(due) == [("scheduled", 0), ("queued", 0)]
    assert due not in {entry.job_id for entry in await jobs.due(desk.engine, 100)}


async def test_the_longest_overdue_come_first_and_the_rest_next_time(desk):
    made = await desk.submit(3, delay="1h")
    for age, job_id in enumerate(made):
        await make_due(desk, job_id, seconds_ago=10_000 + age)
    found = [[entry.job_id for entry in await jobs.due(desk.engine, 1)] for _ in made]
    assert found == [[job_id] for job_id in reversed(made)]


async def test_an_arrays_own_row_is_queued_but_never_to_be_placed(desk):
    array_id, *members = await desk.submit(array={"range": "0-1"}, delay="1h")
    await make_due(desk, array_id, *members)
    assert {entry.job_id for entry in await jobs.due(desk.engine, 100)} == set(members)
    assert await desk.state(array_id) == "queued"


async def test_a_retry_comes_due_with_its_fence_kept(desk, verdict):
    ref = await desk.running()
    await jobs.settle(desk.engine, [verdict(ref, "scheduled", delay_ms=1)])
    await make_due(desk, ref.job_id)
    assert ref.job_id in {entry.job_id for entry in await jobs.due(desk.engine, 100)}
    assert (await desk.events(ref.job_id))[-1] == ("queued", 1)


async def test_a_held_or_cancelled_job_never_comes_due(desk):
    held, cancelled = await desk.submit(2, delay="1h")
    await desk.owner.execute("UPDATE jobs SET state = 'held' WHERE id = $1", held)
    await desk.cancel(cancelled)
    await make_due(desk, held, cancelled)
    await jobs.due(desk.engine, 100)
    assert (await desk.state(held), await desk.state(cancelled)) == ("held", "cancelled")


async def test_how_long_until_the_next_one(desk):
    (job_id,) = await desk.submit(delay="1h")
    await make_due(desk, job_id, seconds_ago=-30)
    assert (await timetable.look(desk.engine)).until_ms <= 30_000
    await make_due(desk, job_id, seconds_ago=30)
    table = await timetable.look(desk.engine)
    assert (table.until_ms <= -30_000, table.due) == (True, True)
    await jobs.due(desk.engine, 1_000)


@pytest.mark.parametrize("what", ["expires_at", "deadline_at", "waiting fire"])
async def test_the_timetable_presses_once_something_may_be_late(desk, what):
    """The Hibernator makes its three closer looks only then, so what one of them would find has to show here."""
    ref = await desk.running() if what == "deadline_at" else None
    (waiting,) = await desk.submit(queue_timeout="1h")
    before = await timetable.look(desk.engine)
    if what == "waiting fire":
        await desk.owner.execute(
            "WITH s AS (INSERT INTO schedules (id, user_id, name, document, spec_id, next_fire_at)"
            " SELECT 1, user_id, 'nightly', '{}', spec_id, NULL FROM jobs WHERE id = $1 RETURNING id, user_id)"
            " INSERT INTO schedule_fires (schedule_id, user_id, due_at, outcome) SELECT *, now(), 'waiting' FROM s",
            waiting,
        )
    else:
        job_id = ref.job_id if ref else waiting
        await desk.owner.execute(f"UPDATE jobs SET {what} = now() - interval '1 s' WHERE id = $1", job_id)
    try:
        assert (before.pressing, (await timetable.look(desk.engine)).pressing) == (False, True)
        if ref:
            assert await jobs.stop_late(desk.engine, 100) == [ref.job_id]
    finally:  # the next tests' Hibernator would find it
        await desk.owner.execute("DELETE FROM schedule_fires WHERE schedule_id = 1")
        await desk.owner.execute("DELETE FROM schedules WHERE id = 1")


# ------------------------------------------------ queue time-outs


@pytest.mark.parametrize("state", ["held", "scheduled", "blocked", "queued"])
async def test_a_job_that_waited_too_long_expires_wherever_it_waits(desk, state):
    late, other = await desk.submit(2, queue_timeout="1h")
    await desk.owner.execute("UPDATE jobs SET state = $2, run_at = now() WHERE id = $1", late, state)
    await make_late(desk, late)
    assert late in await jobs.expire(desk.engine, 100)
    row = await desk.row(late)
    assert (row["state"], row["reason"], row["finished_at"] is not None) == ("expired", "QueueTimeout", True)
    assert row["message"].startswith("was not started within its queue_timeout (by ")
    assert (await desk.events(late))[-1] == ("expired", 0)
    assert (await desk.state(other), await jobs.expire(desk.engine, 100)) == ("queued", [])


async def test_what_was_started_once_does_not_expire(desk, verdict):
    placed, retried = await desk.placed(queue_timeout="1h"), await desk.running(queue_timeout="1h")
    await jobs.settle(desk.engine, [verdict(retried, "queued")])
    await make_late(desk, placed.job_id, retried.job_id)
    assert await jobs.expire(desk.engine, 100) == []
    assert (await desk.state(placed.job_id), await desk.state(retried.job_id)) == ("starting", "queued")


async def test_an_array_expires_only_when_none_of_its_members_was_given_to_a_worker(desk):
    array_id, first, second = await desk.submit(array={"range": "0-1"}, queue_timeout="1h")
    await desk.dispatch(first)
    await make_late(desk, array_id, first, second)
    assert await jobs.expire(desk.engine, 100) == [second]
    assert (await desk.state(array_id), await desk.state(first)) == ("queued", "starting")


async def test_an_array_of_which_nothing_started_expires_as_a_whole(desk):
    made = await desk.submit(array={"range": "0-1"}, queue_timeout="1h")
    await make_late(desk, *made)
    assert set(await jobs.expire(desk.engine, 100)) == set(made)
    assert {await desk.state(job_id) for job_id in made} == {"expired"}


async def test_only_so_many_expire_at_once(desk):
    made = await desk.submit(3, queue_timeout="1h")
    await make_late(desk, *made)
    counts = [len(await jobs.expire(desk.engine, 2)) for _ in range(3)]
    assert counts == [2, 1, 0]


# ------------------------------------------------ why shapes wait


def told(line, reason=WaitReason.RESOURCES, message="desk: busy", count=3):
    return LineWaits(line, reason, message, count)


async def read(desk, *lines):
    query = "SELECT line, reason, message, jobs, since FROM waiting_lines WHERE line = ANY ($1::bigint[]) ORDER BY line"
    return await desk.owner.fetch(query, list(lines))


async def test_why_a_line_waits_is_written_and_taken_back(desk):
    await jobs.save_line_waits(desk.engine, [told(91), told(92)])
    assert [(row["line"], row["reason"], row["jobs"]) for row in await read(desk, 91, 92)] == [
        (91, "Resources", 3), (92, "Resources", 3),
    ]  # fmt: skip
    await jobs.save_line_waits(desk.engine, [LineWaits(91, None, ""), LineWaits(99, None, "")])
    assert [row["line"] for row in await read(desk, 91, 92)] == [92]


async def test_the_last_word_on_a_line_counts(desk):
    await jobs.save_line_waits(desk.engine, [told(93), LineWaits(93, None, ""), told(94), told(94, count=9)])
    assert [(row["line"], row["jobs"]) for row in await read(desk, 93, 94)] == [(94, 9)]


async def test_since_is_when_the_reason_began_not_when_it_was_last_said(desk):
    await jobs.save_line_waits(desk.engine, [told(95)])
    (first,) = await read(desk, 95)
    await jobs.save_line_waits(desk.engine, [told(95, message="desk: busier")])
    (same,) = await read(desk, 95)
    assert (same["since"], same["message"]) == (first["since"], "desk: busier")
    await jobs.save_line_waits(desk.engine, [told(95, WaitReason.NO_WORKERS)])
    (other,) = await read(desk, 95)
    assert other["since"] > first["since"]
