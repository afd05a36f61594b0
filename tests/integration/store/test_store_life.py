"""What ends or changes a job beside its container: an array's failures, a deadline, and memory that was too little."""

from datetime import UTC, datetime, timedelta

import pytest

from swarmsync.model.job import Grown
from swarmsync.model.lifecycle import EndReason
from swarmsync.store import holders, jobs

pytestmark = pytest.mark.integration


async def test_an_array_over_its_failures_ends_what_is_left_of_it(desk, verdict):
    array, *members = await desk.submit(array={"range": "0-5", "max_failures": 1})
    failing = await desk.dispatch(*members[:2])
    running = await desk.dispatch(members[2])
    await jobs.started(desk.engine, [(running[0], 0)])
    await jobs.settle(desk.engine, [verdict(failing[0], "failed", exit_code=1)])
    assert await jobs.stop_overrun(desk.engine, [array]) == []
    await jobs.settle(desk.engine, [verdict(failing[1], "failed", exit_code=1)])
    assert sorted(await jobs.stop_overrun(desk.engine, [array])) == members[2:]
    assert [await desk.state(member) for member in members[2:]] == ["stopping", *["cancelled"] * 3]
    row = await desk.row(members[3])
    assert (row["reason"], row["message"]) == (
        EndReason.CANCELLED_BY_POLICY, "2 of its array failed, more than max_failures: 1",
    )  # fmt: skip
    await jobs.settle(desk.engine, [verdict(running[0], "cancelled", reason="CancelledByPolicy")])
    assert await jobs.finish_arrays(desk.engine, [array]) == [array]
    row = await desk.row(array)
    assert (row["state"], row["message"]) == ("failed", "0 of 6 succeeded, 2 failed, 4 cancelled")


async def test_an_array_without_a_limit_goes_on(desk, verdict):
    array, *members = await desk.submit(array={"range": "0-2"})
    for ref in await desk.dispatch(*members[:2]):
        await jobs.settle(desk.engine, [verdict(ref, "failed", exit_code=1)])
    assert await jobs.stop_overrun(desk.engine, [array]) == []


#: More than PostgreSQL's int; such numbers were stored before specs were checked for them, and stopped a module each.
HUGE = 3_000_000_000


async def test_a_stored_number_that_is_too_large_stops_nothing(desk, verdict):
    array, *members = await desk.submit(array={"range": "0-1", "max_failures": HUGE, "max_parallel": HUGE})
    (keyed,) = await desk.submit(concurrency={"key": "huge", "limit": HUGE})
    limited = [*members, keyed]
    won = await jobs.dispatch(desk.engine, [(job_id, 1, 1) for job_id in limited], 1, limited)
    assert [entry.ref.job_id for entry in won] == limited
    for kind, name in (("key", "huge"), ("array", array)):
        assert (await holders.standing(desk.api, desk.me, kind, name)).most == HUGE
    for entry in won[:2]:
        await jobs.settle(desk.engine, [verdict(entry.ref, "failed", exit_code=1)])
    assert await jobs.stop_overrun(desk.engine, [array]) == []


async def passed(desk, job_id):
    gone = datetime.now(UTC) - timedelta(seconds=1)
    await desk.owner.execute("UPDATE jobs SET deadline_at = $2, expires_at = $2 WHERE id = $1", job_id, gone)


async def test_a_job_that_waits_at_its_deadline_expires(desk):
    (job,) = await desk.submit(deadline=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    assert job not in await jobs.expire(desk.engine, 100)
    await passed(desk, job)
    assert job in await jobs.expire(desk.engine, 100)
    row = await desk.row(job)
    assert (row["state"], row["reason"]) == ("expired", "DeadlinePassed")


async def test_a_job_that_runs_at_its_deadline_is_to_be_stopped_once(desk):
    ref = await desk.running(deadline=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    assert ref.job_id not in await jobs.stop_late(desk.engine, 100)
    await passed(desk, ref.job_id)
    assert ref.job_id in await jobs.stop_late(desk.engine, 100)
    assert ref.job_id not in await jobs.stop_late(desk.engine, 100)
    row = await desk.row(ref.job_id)
    assert (row["state"], row["stop_reason"]) == ("stopping", "DeadlinePassed")


async def test_a_deadline_before_the_queue_timeout_counts(desk):
    soon = datetime.now(UTC) + timedelta(minutes=1)
    (job,) = await desk.submit(deadline=soon.isoformat(), queue_timeout="1h")
    assert (await desk.row(job))["expires_at"] == soon


async def test_what_an_attempt_needed_more_the_next_one_gets(desk, verdict):
    ref = await desk.running(resources={"memory": "64MiB"})
    grown = Grown(96 << 20, 4711, 4712)
    await jobs.settle(desk.engine, [verdict(ref, "queued", reason="", tries=1, grown=grown)])
    row = await desk.row(ref.job_id)
    assert (row["memory_bytes"], row["shape"], row["line"]) == (96 << 20, 4711, 4712)
    (again,) = await desk.dispatch(ref.job_id)
    await jobs.settle(desk.engine, [verdict(again)])
    assert (await desk.row(ref.job_id))["memory_bytes"] == 96 << 20
