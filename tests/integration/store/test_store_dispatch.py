"""From the queue to a worker: the guards of dispatch, resend, started and progress."""

import asyncio

import pytest

from swarmsync.model.job import JobRef
from swarmsync.model.lifecycle import AssignmentState
from swarmsync.model.resources import Need
from swarmsync.protocol.messages import Progress
from swarmsync.store import jobs
from swarmsync.store.queries import sql

pytestmark = pytest.mark.integration


async def test_a_queued_job_becomes_an_assignment_with_what_its_order_says(desk):
    (job_id,) = await desk.submit(
        name="report", resources={"cpus": 2, "memory": "256MiB", "gpus": 1, "disk": "1GiB"}, stop={"grace": "3s"}
    )
    (sent,) = await jobs.dispatch(desk.engine, [(job_id, 77, 5)], epoch=4)
    row = await desk.row(job_id)
    assert (sent.ref, sent.worker_id, sent.orders_seq) == (JobRef(job_id, 1), 77, 5)
    assert (sent.name, sent.need, sent.grace_ms) == ("report", Need(2_000, 256 << 20, 1, 1 << 30), 3_000)
    assert (row["state"], row["fence"], row["worker_id"]) == ("starting", 1, 77)
    assert (row["assignment_state"], row["orders_epoch"], row["orders_seq"]) == ("offered", 4, 5)
    assert await desk.events(job_id) == [("queued", 0), ("starting", 1)]
    assert b"alpine" in (await jobs.specs(desk.engine, [sent.spec_id]))[sent.spec_id]


async def test_few_jobs_bring_their_specs_along_and_many_do_not(desk):
    job_ids = await desk.submit(jobs.DOCUMENTS_MAX + 2)
    (alone,) = await jobs.dispatch(desk.engine, [(job_ids[0], 1, 1)], 1)
    assert alone.document == (await jobs.specs(desk.engine, [alone.spec_id]))[alone.spec_id]
    many = await jobs.dispatch(desk.engine, [(job_id, 1, 1) for job_id in job_ids[1:]], 1)
    assert {entry.document for entry in many} == {None}
    assert len(many) == jobs.DOCUMENTS_MAX + 1


async def test_a_member_of_an_array_is_dispatched_with_its_place(desk):
    _, *members = await desk.submit(array={"range": "5-6"})
    sent = await jobs.dispatch(desk.engine, [(job_id, 1, 1) for job_id in members], 1)
    assert [(entry.array_index, entry.array_size) for entry in sent] == [(5, 2), (6, 2)]


async def test_what_is_not_queued_any_more_is_left_out_and_unchanged(desk):
    good, cancelled, ended, running = await desk.submit(4)
    await desk.cancel(cancelled)
    await desk.dispatch(ended, running)
    await desk.cancel(running)
    (scheduled,) = await desk.submit(delay="1h")
    sent = await desk.dispatch(good, cancelled, ended, running, scheduled, 5, worker_id=9)
    assert sent == [JobRef(good, 1)]
    assert [await desk.state(job_id) for job_id in (cancelled, ended, running, scheduled)] == [
        "cancelled", "starting", "stopping", "scheduled",
    ]  # fmt: skip
    assert (await desk.row(ended))["worker_id"] == 1


async def test_the_fence_rises_by_one_with_each_attempt(desk, verdict):
    (job_id,) = await desk.submit()
    for fence in (1, 2, 3):
        assert await desk.dispatch(job_id) == [JobRef(job_id, fence)]
        await jobs.settle(desk.engine, [verdict(JobRef(job_id, fence), "queued")])


async def test_of_two_dispatchers_one_wins_each_job(desk):
    job_ids = await desk.submit(40)
    backwards = list(reversed(job_ids))
    one, other = await asyncio.gather(desk.dispatch(*job_ids, worker_id=1), desk.dispatch(*backwards, worker_id=2))
    assert sorted([*one, *other]) == [JobRef(job_id, 1) for job_id in job_ids]
    rows = await desk.owner.fetch("SELECT id, fence, worker_id FROM jobs WHERE id = ANY ($1)", job_ids)
    assert {row["fence"] for row in rows} == {1}
    assert {row["id"] for row in rows if row["worker_id"] == 1} == {ref.job_id for ref in one}


# ------------------------------------------------ sending again


async def test_an_order_that_waits_to_be_accepted_may_go_out_again_under_the_same_fence(desk):
    ref = await desk.placed()
    (again,) = await jobs.resend(desk.engine, [(ref, 8)], epoch=3)
    row = await desk.row(ref.job_id)
    assert (again.ref, again.orders_seq, row["orders_epoch"], row["orders_seq"], row["fence"]) == (ref, 8, 3, 8, 1)


async def test_an_order_of_a_job_that_is_to_stop_goes_out_again_too(desk):
    """The worker must get it, or say that it never will: only then may the job end."""
    ref = await desk.placed()
    await desk.cancel(ref.job_id)
    assert [entry.ref for entry in await jobs.resend(desk.engine, [(ref, 8)], 1)] == [ref]


async def test_what_was_accepted_or_is_another_attempt_is_not_sent_again(desk, verdict):
    accepted, running, ended, stale = [await desk.placed() for _ in range(4)]
    await jobs.progress(desk.engine, [Progress(accepted, AssignmentState.ACCEPTED)])
    await jobs.started(desk.engine, [(running, 0)])
    await jobs.settle(desk.engine, [verdict(ended)])
    orders = [(accepted, 9), (running, 9), (ended, 9), (JobRef(stale.job_id, 2), 9)]
    assert await jobs.resend(desk.engine, orders, epoch=9) == []
    assert (await desk.row(stale.job_id))["orders_epoch"] == 1


async def test_a_successor_finds_the_orders_that_may_never_have_gone_out(desk):
    offered, accepted, stopping = [await desk.placed() for _ in range(3)]
    await jobs.progress(desk.engine, [Progress(accepted, AssignmentState.ACCEPTED)])
    await desk.cancel(stopping.job_id)
    found = {JobRef(row["id"], row["fence"]) for row in await desk.engine.fetch(sql("offered"))}
    assert {offered, stopping} <= found
    assert accepted not in found


async def test_the_epoch_of_orders_only_grows(desk):
    epochs = await asyncio.gather(*(jobs.next_epoch(desk.engine) for _ in range(4)))
    assert sorted(epochs) == list(range(min(epochs), min(epochs) + 4))


# ------------------------------------------------ started, progress


async def test_a_container_that_runs_makes_the_job_run_since_then(desk):
    ref = await desk.placed()
    assert await jobs.started(desk.engine, [(ref, 90_000)]) == [ref.job_id]
    row = await desk.row(ref.job_id)
    ago = await desk.owner.fetchval("SELECT extract(epoch FROM clock_timestamp() - $1::timestamptz)", row["started_at"])
    assert (row["state"], row["assignment_state"]) == ("running", "running")
    assert 90 <= ago < 100
    assert await desk.events(ref.job_id) == [("queued", 0), ("starting", 1), ("running", 1)]


async def test_a_start_is_noted_once_and_only_for_its_own_attempt(desk, verdict):
    ref, ended = await desk.placed(), await desk.placed()
    assert await jobs.started(desk.engine, [(JobRef(ref.job_id, 2), 0)]) == []
    await jobs.started(desk.engine, [(ref, 50_000)])
    before = (await desk.row(ref.job_id))["started_at"]
    assert await jobs.started(desk.engine, [(ref, 0)]) == []
    assert (await desk.row(ref.job_id))["started_at"] == before
    await jobs.settle(desk.engine, [verdict(ended)])
    assert await jobs.started(desk.engine, [(ended, 0)]) == []


async def test_a_job_that_is_to_stop_stays_so_when_its_container_starts(desk):
    ref = await desk.placed()
    await desk.cancel(ref.job_id)
    assert await jobs.started(desk.engine, [(ref, 0)]) == [ref.job_id]
    row = await desk.row(ref.job_id)
    assert (row["state"], row["assignment_state"], row["reason"]) == ("stopping", "stopping", "CancelledByUser")
    assert row["started_at"] is not None


async def test_an_array_runs_from_its_first_member_on(desk):
    array_id, first, second = await desk.submit(array={"range": "0-1"})
    refs = await desk.dispatch(first, second)
    assert await desk.state(array_id) == "queued"
    assert set(await jobs.started(desk.engine, [(refs[0], 0)])) == {first, array_id}
    assert await jobs.started(desk.engine, [(refs[1], 0)]) == [second]
    assert await desk.state(array_id) == "running"
    assert (await desk.events(array_id)).count(("running", 0)) == 1


async def test_an_assignment_only_moves_to_the_right(desk):
    ref = await desk.placed()
    seen = []
    for state in ("pulling", "accepted", "creating", "pulling", "collecting", "running"):
        await jobs.progress(desk.engine, [Progress(ref, AssignmentState(state))])
        seen.append((await desk.row(ref.job_id))["assignment_state"])
    assert seen == ["pulling", "pulling", "creating", "creating", "collecting", "collecting"]
    await jobs.progress(desk.engine, [Progress(JobRef(ref.job_id, 2), AssignmentState.COLLECTING)])
    assert await desk.state(ref.job_id) == "starting"
