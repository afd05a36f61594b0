"""Pages of jobs: labels are rows that follow their job, and no filter walks a long past."""

import json

import asyncpg
import pytest

from bench import past
from swarmsync.model.lifecycle import FINAL, JobState
from swarmsync.store.job_pages import PLANS, JobFilter, page, statement
from swarmsync.store.users import Caller

pytestmark = pytest.mark.integration

JOBS = 20_000
MANY = 990_000
#: What may be looked at and passed over for a page: the last tenth of these jobs are members of arrays, no more.
PASSED_OVER_MAX = JOBS // 8


async def labels_of(desk, job_id):
    rows = await desk.owner.fetch("SELECT key, value, user_id FROM job_labels WHERE job_id = $1", job_id)
    return {(row["key"], row["value"], row["user_id"]) for row in rows}


async def test_labels_follow_their_job(desk):
    (job,) = await desk.submit(labels={"team": "ml", "size": "x"})
    me = desk.me.user_id
    assert await labels_of(desk, job) == {("team", "ml", me), ("size", "x", me)}
    await desk.dispatch(job)
    assert await labels_of(desk, job) == {("team", "ml", me), ("size", "x", me)}
    await desk.owner.execute("""UPDATE jobs SET labels = '{"team": "web", "new": ""}' WHERE id = $1""", job)
    assert await labels_of(desk, job) == {("team", "web", me), ("new", "", me)}
    await desk.owner.execute("DELETE FROM jobs WHERE id = $1", job)
    assert await labels_of(desk, job) == set()


async def test_members_have_the_labels_of_their_array_and_no_rows(desk):
    await desk.register()
    array, *members = await desk.submit(array={"range": "1-3"}, labels={"team": "ml"})
    rows = await desk.owner.fetch("SELECT job_id FROM job_labels WHERE job_id = ANY ($1)", [array, *members])
    assert [row["job_id"] for row in rows] == [array]
    found = await page(desk.api, desk.me, JobFilter(10, array_id=array, labels={"team": "ml"}))
    assert sorted(row["id"] for row in found) == members
    assert await page(desk.api, desk.me, JobFilter(10, array_id=array, labels={"team": "web"})) == []


async def test_nobody_sees_or_writes_the_labels_of_others(desk):
    (job,) = await desk.submit(labels={"team": "secret"})
    other = desk.user()
    async with desk.api.transaction(**other.settings) as connection:
        assert await connection.fetch("SELECT * FROM job_labels WHERE job_id = $1", job) == []
    for query in ("INSERT INTO job_labels VALUES ('a', 'b', 1, $1)", "DELETE FROM job_labels WHERE user_id = $1"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with desk.api.transaction(**desk.me.settings) as connection:
                await connection.execute(query, desk.me.user_id)


async def test_a_job_that_waits_again_is_on_no_worker(desk):
    await desk.register()
    name = f"desk-{desk.me.user_id}"
    await desk.owner.execute(
        "INSERT INTO workers (id, name, cpus_milli, memory_bytes, liveness) VALUES ($1, $2, 1, 1, 'ready')",
        desk.me.user_id,
        name,
    )
    first, second = await desk.submit(2)
    await desk.dispatch(first, second, worker_id=desk.me.user_id)
    await desk.owner.execute("UPDATE jobs SET state = 'queued', assignment_state = NULL WHERE id = $1", first)
    assert [row["id"] for row in await page(desk.api, desk.me, JobFilter(10, worker=name))] == [second]


@pytest.fixture
async def long_past(desk):
    """20,000 finished jobs, in a transaction that is not kept."""
    transaction = desk.owner.transaction()
    await transaction.start()
    await past.fill(desk.owner, JOBS, MANY)
    await desk.owner.execute(f"ANALYZE {past.TABLES}")
    for name, value in PLANS.items():
        await desk.owner.execute(f"SET LOCAL {name} = {value}")
    yield desk.owner
    await transaction.rollback()


RARE = past.RARE
FILTERS = {
    "newest": {},
    "waiting": {"states": (JobState.HELD, JobState.SCHEDULED, JobState.BLOCKED)},
    "finished": {"states": FINAL},
    "rare state": {"states": (JobState.EXPIRED,)},
    "rare user": {"username": "past-0"},
    "rare name": {"name": f"{RARE}-1"},
    "no such name": {"name": "nobody"},
    "rare beginning": {"name": f"{RARE}*"},
    "rare label": {"labels": {"team": RARE}},
    "old label": {"labels": {"campaign": "spring"}},
    "two labels": {"labels": {"campaign": "spring", "team": "web"}},
    "rare queue": {"queue": RARE},
    "rare schedule": {"schedule_id": 1},
    "rare worker": {"worker": RARE},
    "rare worker and label": {"worker": RARE, "labels": {"team": RARE}},
}


@pytest.mark.parametrize("role", ["user", "admin"])
async def test_no_filter_walks_a_long_past(long_past, role):
    caller = Caller(MANY, "many", role)
    newer = await long_past.fetchval("SELECT count(*) FROM jobs") - JOBS  # of other tests in this database
    await long_past.execute("SELECT set_config('swarmsync.user_id', $1, true)", str(MANY))
    await long_past.execute(f"SET LOCAL ROLE {caller.settings['role']}")
    walked = {}
    for name, fields in FILTERS.items():
        query, values = statement(caller, JobFilter(50, **fields))
        (plan,) = json.loads(await long_past.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", *values))
        passed_over = sum(_passed_over(plan["Plan"]))
        if passed_over > PASSED_OVER_MAX + newer:
            walked[name] = passed_over
    assert walked == {}


def _passed_over(step):
    """Rows that a step of the plan, and those below it, looked at in vain; a scan from end to end counts whole."""
    rounds = step["Actual Loops"]
    yield step.get("Rows Removed by Filter", 0) * rounds
    if step.get("Relation Name") in ("jobs", "job_labels") and "Cond" not in " ".join(step):
        yield step["Actual Rows"] * rounds if step["Actual Rows"] > PASSED_OVER_MAX else 0
    for below in step.get("Plans", ()):
        yield from _passed_over(below)
