"""Where a job's time went, from the rows: the reasons of its line over time, and what its worker measured."""

import json

import asyncpg
import pytest

from swarmsync.model.ledger import Phase
from swarmsync.model.lifecycle import WaitReason
from swarmsync.protocol.messages import LineWaits
from swarmsync.store import details, jobs, ledgers
from swarmsync.store.queries import sql

pytestmark = pytest.mark.integration


async def past_of(desk, job_id):
    await desk.register()

    async def work(connection: asyncpg.Connection):
        detail = await details.read(connection, job_id, reasons=True)
        return detail.job, await ledgers.read(connection, detail)

    return await desk.api.run(work, **desk.me.settings)


async def reasons_of(desk, line):
    rows = await desk.owner.fetch("SELECT reason FROM line_reasons WHERE line = $1 ORDER BY since", line)
    return [row["reason"] for row in rows]


def told(line, reason):
    return LineWaits(line, reason, "desk: why", 1)


async def test_each_change_of_a_lines_reason_leaves_a_row_and_a_repeat_none(desk):
    line = 7_001
    for reason in (WaitReason.RESOURCES, WaitReason.RESOURCES, WaitReason.USER_QUOTA, None, None, WaitReason.RESOURCES):
        await jobs.save_line_waits(desk.engine, [told(line, reason)])
    assert await reasons_of(desk, line) == ["Resources", "UserQuota", "", "Resources"]


async def test_the_history_of_lines_is_dropped_by_age_but_for_what_still_holds(desk):
    for line in (7_101, 7_102):
        await jobs.save_line_waits(desk.engine, [told(line, WaitReason.RESOURCES)])
        await jobs.save_line_waits(desk.engine, [told(line, WaitReason.USER_QUOTA)])
    await jobs.save_line_waits(desk.engine, [LineWaits(7_102, None, "")])
    query = "UPDATE line_reasons SET since = since - interval '40 days' WHERE line = ANY ($1::bigint[])"
    await desk.owner.execute(query, [7_101, 7_102])
    await desk.engine.execute(sql("line_forget"), 30)
    assert (await reasons_of(desk, 7_101), await reasons_of(desk, 7_102)) == (["UserQuota"], [])


def _in_vain(step):
    below = sum(_in_vain(other) for other in step.get("Plans", ()))
    return step.get("Rows Removed by Filter", 0) * step["Actual Loops"] + below


async def test_the_reasons_of_other_lines_are_not_looked_at(desk):
    """With few lines and a long past the newest reasons of all lines were walked through: 100 ms for 400,000."""
    await desk.register()
    (job_id,) = await desk.submit(resources={"cpus": 3})  # its line never waited
    line = (await desk.row(job_id))["line"]
    others = [line + step for step in range(-10, 11) if step]
    query = """
    INSERT INTO line_reasons (line, since, reason)
    SELECT l, now() - n * interval '1 s' - interval '1 hour', 'desk' FROM unnest($1::bigint[]) l, generate_series(1, 5000) n
    ORDER BY 2
    """
    await desk.owner.execute(query, others)
    await desk.owner.execute("ANALYZE line_reasons")
    try:
        explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {details._READ}"
        text = await desk.api.fetchval(explain, job_id, True, **desk.me.settings)
        assert _in_vain(json.loads(text)[0]["Plan"]) < 100
    finally:
        await desk.owner.execute("DELETE FROM line_reasons WHERE line = ANY ($1::bigint[])", others)


async def test_a_queued_stretch_is_cut_where_its_lines_reason_changed(desk):
    (job_id,) = await desk.submit()
    line = (await desk.row(job_id))["line"]
    await jobs.save_line_waits(desk.engine, [told(line, WaitReason.RESOURCES)])
    await jobs.save_line_waits(desk.engine, [told(line, WaitReason.USER_QUOTA)])
    query = "UPDATE jobs SET submitted_at = submitted_at - interval '10 s' WHERE id = $1"
    await desk.owner.execute(query, job_id)
    query = "UPDATE line_reasons SET since = since - $2 * interval '1 s' WHERE line = $1 AND reason = $3"
    await desk.owner.execute(query, line, 8, "Resources")
    await desk.owner.execute(query, line, 3, "UserQuota")
    _, past = await past_of(desk, job_id)
    found = {(part.phase, part.reason): part.micros / 1e6 for part in past.parts}
    assert found[Phase.EVALUATING, "Evaluating"] == pytest.approx(2, abs=0.5)
    assert found[Phase.RESOURCES, "Resources"] == pytest.approx(5, abs=0.5)
    assert found[Phase.LIMITS, "UserQuota"] == pytest.approx(3, abs=0.5)


async def test_a_job_that_runs_shows_what_its_worker_measured_before(desk):
    ref = await desk.running()
    query = "UPDATE jobs SET prepared = $2, started_at = clock_timestamp() + interval '1 day' WHERE id = $1"
    await desk.owner.execute(query, ref.job_id, '{"pull_ms": 1}')
    _, past = await past_of(desk, ref.job_id)
    assert {part.phase: part.micros for part in past.parts}[Phase.PULL] == 1_000


async def test_started_keeps_what_the_worker_measured(desk):
    ref = await desk.placed()
    await jobs.started(desk.engine, [(ref, 0)], {ref: {"pull_ms": 1_234}})
    assert json.loads((await desk.row(ref.job_id))["prepared"]) == {"pull_ms": 1_234}


async def test_the_parts_of_a_settled_job_add_up_to_its_time(desk, verdict):
    ref = await desk.running()
    result = {"ran_ms": 1, "spent": {"pull_ms": 2, "create_ms": 1, "start_ms": 1, "stop_ms": 0, "collect_ms": 1}}
    await jobs.settle(desk.engine, [verdict(ref, ran_ms=1, result=result)])
    job, past = await past_of(desk, ref.job_id)
    wall = ledgers.micros(job["finished_at"]) - ledgers.micros(job["submitted_at"])
    assert sum(part.micros for part in past.parts) == wall
    assert Phase.RUN in {part.phase for part in past.parts}


async def test_what_was_said_at_the_stop_is_kept_for_the_obituary(desk, verdict):
    ref = await desk.running()
    await desk.cancel(ref.job_id)
    await jobs.settle(desk.engine, [verdict(ref, "cancelled", reason="CancelledByUser")])
    _, past = await past_of(desk, ref.job_id)
    assert past.stopped == "cancelled by someone"
