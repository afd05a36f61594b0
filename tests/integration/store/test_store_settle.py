"""The verdict: exactly once, only for the attempt that is meant, and written in one statement with all that belongs to it."""

import asyncio
import json

import pytest

from swarmsync.model.job import JobRef
from swarmsync.model.lifecycle import JobState
from swarmsync.store import jobs

pytestmark = pytest.mark.integration


async def settled(desk, *batch):
    return {entry.ref: entry.state for entry in await jobs.settle(desk.engine, list(batch))}


async def test_a_verdict_writes_the_job_its_assignment_and_its_event(desk, verdict):
    ref = await desk.running()
    assert await settled(desk, verdict(ref, exit_code=0)) == {ref: JobState.SUCCEEDED}
    row, (kept,) = await desk.row(ref.job_id), await desk.assignments(ref.job_id)
    assert (row["state"], row["reason"], row["message"], row["exit_code"]) == ("succeeded", "Completed", "it ended", 0)
    assert row["finished_at"] is not None
    assert (row["assignment_state"], json.loads(row["result"])) == (None, {"cpu_ms": 7})
    assert (kept["fence"], kept["state"], kept["outcome"], kept["reason"]) == (1, "ended", "succeeded", "Completed")
    assert (kept["message"], kept["exit_code"], kept["superseded"], kept["worker_id"]) == ("it ended", 0, 0, 1)
    assert (kept["user_id"], kept["ended_at"], kept["result"]) == (desk.me.user_id, row["finished_at"], row["result"])
    assert (await desk.events(ref.job_id))[-1] == ("succeeded", 1)


async def test_an_attempt_with_which_its_job_succeeded_is_told_once_whichever_version_wrote_it(desk, verdict):
    ref = await desk.running()
    await settled(desk, verdict(ref))
    stored = "SELECT count(*) FROM assignments WHERE job_id = $1"
    assert await desk.owner.fetchval(stored, ref.job_id) == 0  # the job's row says it all
    await desk.owner.execute(  # what versions before this one kept beside it
        "INSERT INTO assignments (job_id, fence, user_id, worker_id, state, outcome)"
        " SELECT id, fence, user_id, worker_id, 'ended', 'succeeded' FROM jobs WHERE id = $1",
        ref.job_id,
    )
    assert [kept["fence"] for kept in await desk.assignments(ref.job_id)] == [1]


async def test_ends_of_many_kinds_in_one_batch_keep_each_its_own(desk, verdict):
    refs = [await desk.running() for _ in range(4)]
    own = [
        {"exit_code": 0, "ran_ms": 10},
        {"exit_code": 3, "state": "failed", "message": "it failed", "ran_ms": 20},
        {"exit_code": 0, "ran_ms": 30},
        {"exit_code": 3, "state": "failed", "message": "it failed again", "ran_ms": 40},
    ]
    await settled(desk, *(verdict(ref, **more) for ref, more in zip(refs, own, strict=True)))
    for ref, more in zip(refs, own, strict=True):
        row = await desk.row(ref.job_id)
        message, state = more.get("message", "it ended"), more.get("state", "succeeded")
        assert (row["state"], row["message"], row["exit_code"]) == (state, message, more["exit_code"])


async def test_a_success_is_written_alike_whatever_else_is_in_its_batch(desk, verdict):
    """A batch of nothing but successes has a statement of its own."""
    alone, beside, failed = [await desk.running() for _ in range(3)]
    placed, beside_placed = await desk.placed(), await desk.placed()  # whose beginning was not told before their end
    of_success = {"ran_ms": 30, "message": "exit code 0"}
    answers = await jobs.settle(desk.engine, [verdict(alone, **of_success), verdict(placed, **of_success)])
    mixed = [verdict(beside, **of_success), verdict(beside_placed, **of_success), verdict(failed, "failed")]
    answers += [each for each in await jobs.settle(desk.engine, mixed) if each.ref != failed]
    assert len({(each.worker_id, each.state, each.array_id, each.waited_for) for each in answers}) == 1
    own = {"id", "since", "submitted_at", "offered_at", "started_at", "finished_at", "spec_id", "orders_seq"}
    for one, other in ((alone, beside), (placed, beside_placed)):
        rows = [dict(await desk.row(ref.job_id)) for ref in (one, other)]
        assert all(row["started_at"] is not None and row["started_at"] <= row["finished_at"] for row in rows)
        first, second = ({key: row[key] for key in row if key not in own} for row in rows)
        assert first == second
        assert await desk.events(one.job_id) == await desk.events(other.job_id)


async def test_job_and_assignment_keep_reasons_of_their_own(desk, verdict):
    ref = await desk.running()
    own = {"outcome": "failed", "assignment_reason": "ExitCode", "assignment_message": "exit code 3"}
    await settled(desk, verdict(ref, "failed", reason="AttemptsExhausted", message="all 2 failed", exit_code=3, **own))
    row, (kept,) = await desk.row(ref.job_id), await desk.assignments(ref.job_id)
    assert (row["reason"], kept["reason"], kept["message"]) == ("AttemptsExhausted", "ExitCode", "exit code 3")


@pytest.mark.parametrize("again", ["failed", "succeeded"])
async def test_the_same_verdict_again_changes_nothing(desk, verdict, again):
    ref = await desk.running()
    await settled(desk, verdict(ref))
    before = await desk.row(ref.job_id)
    assert await settled(desk, verdict(ref, again, exit_code=9)) == {}
    assert await desk.row(ref.job_id) == before
    assert len(await desk.assignments(ref.job_id)) == 1
    assert [state for state, _ in await desk.events(ref.job_id)].count("succeeded") == 1


async def test_two_harvesters_give_one_verdict(desk, verdict):
    refs = [await desk.running() for _ in range(5)]
    one = [verdict(ref) for ref in refs]
    other = [verdict(ref, "failed", exit_code=1) for ref in reversed(refs)]
    answers = await asyncio.gather(settled(desk, *one), settled(desk, *other))
    assert sorted(ref for answer in answers for ref in answer) == sorted(refs)
    assert {len(await desk.assignments(ref.job_id)) for ref in refs} == {1}


@pytest.mark.parametrize("state", ["failed", "succeeded"])
@pytest.mark.parametrize("fence", [0, 2, 99])
async def test_a_verdict_of_another_attempt_changes_nothing(desk, verdict, fence, state):
    ref = await desk.running()
    assert await settled(desk, verdict(JobRef(ref.job_id, fence), state)) == {}
    assert await desk.state(ref.job_id) == "running"
    assert await desk.assignments(ref.job_id) == []


@pytest.mark.parametrize("state", ["failed", "succeeded"])
async def test_a_verdict_of_a_job_that_waits_changes_nothing(desk, verdict, state):
    (queued,) = await desk.submit()
    (scheduled,) = await desk.submit(delay="1h")
    assert await settled(desk, verdict(JobRef(queued, 0), state), verdict(JobRef(scheduled, 0), state)) == {}
    assert (await desk.state(queued), await desk.state(scheduled)) == ("queued", "scheduled")


async def test_of_a_batch_those_that_pass_are_written_and_the_others_are_not(desk, verdict):
    good, stale = await desk.running(), await desk.running()
    stale = JobRef(stale.job_id, 5)
    assert await settled(desk, verdict(stale), verdict(good, "cancelled")) == {good: JobState.CANCELLED}


# ------------------------------------------------ orders: what rests on a message that was sent again


@pytest.mark.parametrize(
    ("orders", "passes"), [((1, 1), False), ((1, 3), False), ((1, 2), True), ((0, 2), False), (None, True)]
)
async def test_an_end_that_rests_on_an_order_passes_only_if_it_was_not_sent_again_since(desk, verdict, orders, passes):
    ref = await desk.placed()
    await jobs.resend(desk.engine, [(ref, 2)], epoch=1)
    lost = verdict(ref, "queued", assignment_state="lost", outcome="lost", orders=orders)
    assert (await settled(desk, lost) == {ref: JobState.QUEUED}) == passes
    assert await desk.state(ref.job_id) == ("queued" if passes else "starting")


# ------------------------------------------------ another attempt


async def test_a_job_to_be_tried_again_waits_for_its_time_and_counts_its_tries(desk, verdict):
    ref = await desk.running()
    again = verdict(ref, "scheduled", reason="RetryBackoff", message="in 60 s", exit_code=1, delay_ms=60_000, tries=1)
    await settled(desk, again)
    row = await desk.row(ref.job_id)
    ahead = await desk.owner.fetchval("SELECT extract(epoch FROM $1::timestamptz - clock_timestamp())", row["run_at"])
    assert (row["state"], row["reason"], row["tries"], row["crashes"], row["finished_at"]) == (
        "scheduled",
        "RetryBackoff",
        1,
        0,
        None,
    )
    assert 50 < ahead <= 60
    assert (row["fence"], row["assignment_state"]) == (1, None)


async def test_tries_and_crashes_add_up_over_attempts_and_each_leaves_its_record(desk, verdict):
    (job_id,) = await desk.submit()
    for adds in ({"tries": 1}, {"crashes": 1}, {"crashes": 1}):
        (ref,) = await desk.dispatch(job_id)
        await settled(desk, verdict(ref, "queued", **adds))
    row = await desk.row(job_id)
    assert (row["tries"], row["crashes"], row["state"]) == (1, 2, "queued")
    assert [kept["fence"] for kept in await desk.assignments(job_id)] == [1, 2, 3]


async def test_the_next_attempt_starts_with_times_of_its_own(desk, verdict):
    ref = await desk.running()
    await settled(desk, verdict(ref, "queued"))
    (newer,) = await desk.dispatch(ref.job_id)
    assert (await desk.row(ref.job_id))["started_at"] is None
    assert await jobs.started(desk.engine, [(newer, 0)]) == [ref.job_id]


@pytest.mark.parametrize("state", ["queued", "scheduled"])
async def test_a_cancel_that_came_after_the_verdict_was_made_is_not_lost(desk, verdict, state):
    """The Harvester read the row, somebody cancelled, the Harvester writes: the job must not be queued again."""
    ref = await desk.running()
    await desk.cancel(ref.job_id)
    assert await settled(desk, verdict(ref, state, crashes=1)) == {}
    row = await desk.row(ref.job_id)
    assert (row["state"], row["stop_reason"]) == ("stopping", "CancelledByUser")
    assert await settled(desk, verdict(ref, "cancelled", reason="CancelledByUser")) == {ref: JobState.CANCELLED}


@pytest.mark.parametrize(("ran_ms", "has_start"), [(None, False), (2_000, True)])
async def test_a_start_that_was_never_told_is_known_from_how_long_it_ran(desk, verdict, ran_ms, has_start):
    ref = await desk.placed()
    await settled(desk, verdict(ref, "failed", ran_ms=ran_ms))
    row, (kept,) = await desk.row(ref.job_id), await desk.assignments(ref.job_id)
    assert (row["started_at"] is not None) == (kept["started_at"] is not None) == has_start
    if has_start:
        assert (row["finished_at"] - row["started_at"]).total_seconds() == pytest.approx(2, abs=0.5)


# ------------------------------------------------ late news, final states


async def test_late_news_is_counted_on_the_attempt_that_was_lost_and_changes_nothing_else(desk, verdict):
    lost, ended = await desk.running(), await desk.running()
    await settled(desk, verdict(lost, "queued", assignment_state="lost", outcome="lost"), verdict(ended, "failed"))
    before = await desk.row(lost.job_id)
    for _ in range(2):
        await jobs.supersede(desk.engine, [lost, ended, JobRef(lost.job_id, 9)])
    (first,), (second,) = await desk.assignments(lost.job_id), await desk.assignments(ended.job_id)
    assert (first["superseded"], second["superseded"]) == (2, 0)
    assert await desk.row(lost.job_id) == before


@pytest.mark.parametrize("state", ["succeeded", "failed", "timed_out", "cancelled"])
async def test_a_final_state_never_changes_whoever_tries(desk, verdict, state):
    ref = await desk.running()
    await settled(desk, verdict(ref, state))
    before, events = await desk.row(ref.job_id), await desk.events(ref.job_id)
    await desk.dispatch(ref.job_id)
    await jobs.resend(desk.engine, [(ref, 9)], 9)
    await jobs.started(desk.engine, [(ref, 0)])
    await desk.cancel(ref.job_id, kill=True)
    for target in ("queued", "failed", "succeeded", "cancelled"):
        assert await settled(desk, verdict(ref, target)) == {}
    assert await jobs.finish_arrays(desk.engine, [ref.job_id]) == []
    assert (await desk.row(ref.job_id), await desk.events(ref.job_id)) == (before, events)


async def test_what_verdicts_must_know_is_read_for_live_attempts_only(desk, verdict):
    live, stopping, stale, ended = [await desk.running(retry={"attempts": 3}) for _ in range(4)]
    await desk.cancel(stopping.job_id)
    await settled(desk, verdict(ended))
    rows = await jobs.ends(desk.engine, [live, stopping, JobRef(stale.job_id, 2), ended])
    assert rows.keys() == {live, stopping}
    assert (rows[live]["tries"], rows[live]["crashes"], rows[live]["stop_reason"]) == (0, 0, None)
    assert rows[stopping]["stop_reason"] == "CancelledByUser"
    assert '"attempts":3' in rows[live]["document"]
