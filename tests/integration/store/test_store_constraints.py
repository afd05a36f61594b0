"""The schema's own invariants: what no statement, however wrong, can write."""

import asyncpg
import pytest

from swarmsync.model.lifecycle import FINAL, PLACED, WAITING, AssignmentState, Eligibility, JobState, Liveness

pytestmark = pytest.mark.integration


async def write(desk, **columns):
    """Insert one job row with these columns; the rest makes it a plain queued job."""
    whole = {
        "id": desk.me.user_id, "user_id": desk.me.user_id, "queue": "default", "name": "", "state": "queued", "priority": 50,
        "spec_id": 1, "shape": 1, "cpus_milli": 1, "memory_bytes": 1, **columns,
    }  # fmt: skip
    places = ", ".join(f"${number}" for number in range(1, len(whole) + 1))
    await desk.engine.execute(f"INSERT INTO jobs ({', '.join(whole)}) VALUES ({places})", *whole.values())


NOW = {"finished_at": "now"}
PLACE = {"assignment_state": "running", "worker_id": 1}


@pytest.fixture
def moment():
    from datetime import UTC, datetime

    return datetime.now(UTC)


def timed(columns, moment):
    return {name: moment if value == "now" else value for name, value in columns.items()}


@pytest.mark.parametrize("state", JobState)
async def test_every_state_of_the_code_is_one_of_the_schema(desk, moment, state):
    columns = {"state": state.value, "run_at": "now"}
    if state in PLACED:
        columns |= PLACE | {"stop_reason": "CancelledByUser"}
    if state in FINAL:
        columns |= NOW
    await write(desk, **timed(columns, moment))


@pytest.mark.parametrize(
    ("columns", "constraint"),
    [
        ({"state": "paused"}, "jobs_state_check"),
        ({"state": "running"}, "placed_has_worker"),
        ({"state": "starting", "assignment_state": "offered"}, "placed_has_worker"),
        ({"state": "queued", "assignment_state": "offered", "worker_id": 1}, "placed_has_worker"),
        ({"state": "failed", "finished_at": "now", "assignment_state": "running", "worker_id": 1}, "placed_has_worker"),
        ({"state": "succeeded"}, "final_has_end"),
        ({"state": "queued", "finished_at": "now"}, "final_has_end"),
        ({"state": "scheduled"}, "scheduled_has_time"),
        ({"array_id": 5}, "member_has_index"),
        ({"array_index": 5}, "member_has_index"),
        ({"array_id": 5, "array_index": 0}, "member_has_index"),
        ({"state": "stopping", **PLACE}, "stopping_has_cause"),
        ({"state": "running", "assignment_state": "ended", "worker_id": 1}, "assignment_state_check"),
        ({"priority": 101}, "priority_check"),
        ({"priority": -1}, "priority_check"),
        ({"cpus_milli": 0}, "cpus_milli_check"),
        ({"memory_bytes": 0}, "memory_bytes_check"),
        ({"gpus": -1}, "gpus_check"),
        ({"disk_bytes": -1}, "disk_bytes_check"),
    ],
)
async def test_a_row_that_contradicts_itself_is_refused(desk, moment, columns, constraint):
    with pytest.raises(asyncpg.CheckViolationError, match=constraint):
        await write(desk, **timed(columns, moment))


async def test_an_arrays_own_row_runs_without_a_worker(desk):
    await write(desk, state="running", array_size=3)


@pytest.mark.parametrize("state", FINAL)
@pytest.mark.parametrize("target", ["queued", "running", *(state.value for state in FINAL)])
async def test_no_statement_leads_out_of_a_final_state(desk, moment, state, target):
    """Also where the row that it leaves would be one that may be."""
    await write(desk, state=state.value, finished_at=moment)
    begins_anew = {
        "queued": ", finished_at = NULL",
        "running": ", finished_at = NULL, assignment_state = 'running', worker_id = 1",
    }
    statement = f"UPDATE jobs SET state = '{target}'{begins_anew.get(target, '')} WHERE user_id = {desk.me.user_id}"
    if target == state.value:
        assert await desk.engine.execute(statement) == "UPDATE 1"
    else:
        with pytest.raises(asyncpg.CheckViolationError, match=f"is {state.value} and stays so"):
            await desk.engine.execute(statement)


@pytest.mark.parametrize("state", WAITING)
async def test_a_waiting_job_may_still_change(desk, moment, state):
    await write(desk, state=state.value, run_at=moment)
    assert await desk.engine.execute(f"UPDATE jobs SET state = 'held' WHERE user_id = {desk.me.user_id}") == "UPDATE 1"


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO workers (id, name, cpus_milli, memory_bytes, liveness) VALUES (1, 'desk-x', -1, 1, 'ready')",
        "INSERT INTO workers (id, name, cpus_milli, memory_bytes, liveness) VALUES (1, 'desk-x', 1, 1, 'happy')",
        "INSERT INTO workers (id, name, cpus_milli, memory_bytes, liveness, eligibility) VALUES (1, 'desk-x', 1, 1, 'ready', 'shut')",
        "INSERT INTO engine_epoch (epoch) VALUES (1)",
        "INSERT INTO queues (name) VALUES ('a b')",
        "INSERT INTO users (id, username) VALUES (1, 'Upper')",
        "INSERT INTO users (id, username, role) VALUES (1, 'desk', 'god')",
        "INSERT INTO tokens (id, user_id, name, sha256, expires_at) VALUES (1, 1, 'x', 'short', now())",
        "INSERT INTO output_chunks (job_id, user_id, fence, stream, start, at, data) VALUES (1, 1, 1, 3, 0, now(), 'x')",
        "INSERT INTO output_chunks (job_id, user_id, fence, stream, start, at, data) VALUES (1, 1, 1, 1, -1, now(), 'x')",
        "INSERT INTO log_records (source, level, message) VALUES ('x', 'loud', 'x')",
        "INSERT INTO assignments (job_id, fence, user_id, worker_id, state) VALUES (1, 1, 1, 1, 'running')",
    ],
)
async def test_other_tables_refuse_nonsense_too(desk, statement):
    with pytest.raises((asyncpg.CheckViolationError, asyncpg.UniqueViolationError)):
        await desk.engine.execute(statement)


@pytest.mark.parametrize(("column", "kind"), [("liveness", Liveness), ("eligibility", Eligibility)])
async def test_every_standing_of_a_worker_can_be_written(desk, column, kind):
    await desk.engine.execute(
        "INSERT INTO workers (id, name, cpus_milli, memory_bytes, liveness) VALUES ($1, 'desk-x', 1, 1, 'ready')",
        desk.me.user_id,
    )
    for value in kind:
        await desk.engine.execute(f"UPDATE workers SET {column} = $1 WHERE name = 'desk-x'", value.value)


async def test_every_state_of_a_live_assignment_can_be_written(desk):
    await write(desk, state="running", **PLACE)
    for state in AssignmentState:
        if state not in (AssignmentState.ENDED, AssignmentState.LOST):
            statement = "UPDATE jobs SET assignment_state = $1 WHERE user_id = $2"
            await desk.engine.execute(statement, state.value, desk.me.user_id)
