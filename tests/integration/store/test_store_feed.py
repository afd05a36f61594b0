"""The feed of committed changes: nothing is skipped, whatever commits in whatever order, and nothing comes twice."""

import asyncio
import random

import asyncpg
import pytest

from swarmsync.model.lifecycle import JobState
from swarmsync.model.resources import Need
from swarmsync.store import jobs
from swarmsync.store.pool import ENGINE_PLANS
from swarmsync.store.queries import sql

pytestmark = pytest.mark.integration


class Reader:
    """Reads on from its own cursor and keeps what concerns the test."""

    def __init__(self, desk, cursor):
        self.desk, self.cursor, self.seen = desk, cursor, []

    async def read(self, limit=1_000):
        before = self.cursor
        self.cursor, entries = await jobs.feed(self.desk.engine, self.cursor, limit)
        mine = [entry for entry in entries if entry.job_id in self.desk.job_ids]
        self.seen += [entry.job_id for entry in mine]
        assert bool(entries) == (self.cursor != before) or not entries
        return mine


@pytest.fixture
async def reader(desk):
    desk.job_ids = set()
    return Reader(desk, await jobs.feed_start(desk.engine))


@pytest.fixture
async def slow(servers):
    """A connection whose transactions stay open for as long as the test likes."""
    connection = await asyncpg.connect(servers.engine_url, server_settings={"search_path": "swarmsync"})
    yield connection
    await connection.close()


async def submitted(desk, count=1, **fields):
    made = await desk.submit(count, **fields)
    desk.job_ids |= set(made)
    return made


async def note(connection, desk, job_id):
    """Write one event that touches the queue."""
    query = "INSERT INTO job_events (job_id, user_id, state) VALUES ($1, $2, 'queued')"
    await connection.execute(query, job_id, desk.me.user_id)


async def test_what_a_known_transaction_queued_is_left_out_and_all_else_is_told(desk, reader):
    known, other = (await submitted(desk))[0], (await submitted(desk, delay="1h"))[0]
    xid = await desk.engine.fetchval("SELECT xid::text FROM job_events WHERE job_id = $1", known)
    await desk.engine.execute("UPDATE jobs SET state = 'queued' WHERE id = $1", other)
    async with desk.engine.connection() as connection:
        await note(connection, desk, other)
    cursor = reader.cursor
    assert [entry.job_id for entry in await reader.read()] == [known, other]
    passed, entries = await jobs.feed(desk.engine, cursor, 1_000, [int(xid), 1])
    assert [entry.job_id for entry in entries if entry.job_id in desk.job_ids] == [other]
    assert int(passed.xid) > int(xid), "the cursor is past it"
    await desk.engine.execute(
        "WITH c AS (UPDATE jobs SET state = 'cancelled', finished_at = now() WHERE id = $1)"
        " INSERT INTO job_events (job_id, user_id, state) VALUES ($1, $2, 'cancelled')",
        known,
        desk.me.user_id,
    )
    _, entries = await jobs.feed(desk.engine, cursor, 1_000, [int(xid)])
    mine = [(entry.job_id, entry.state) for entry in entries if entry.job_id in desk.job_ids]
    assert mine == [(other, JobState.QUEUED), (known, JobState.CANCELLED)]


async def test_what_is_known_is_looked_up_in_a_set(desk):
    """As an array it was read anew for each event: a second and more where many were known."""
    async with desk.engine.connection() as connection:
        await connection.execute(f"SET plan_cache_mode = {ENGINE_PLANS['plan_cache_mode']}")
        await connection.execute("PREPARE known_feed (text, bigint, bigint, text[]) AS " + sql("feed"))
        plan = await connection.fetch("EXPLAIN EXECUTE known_feed ('1', -1, 10, '{5,6}')")
    assert "hashed SubPlan" in "\n".join(line[0] for line in plan)


async def test_a_queued_job_is_told_as_the_scheduler_needs_it(desk, reader):
    (job_id,) = await submitted(desk, priority=70, resources={"cpus": 2, "memory": "64MiB"})
    (entry,) = await reader.read()
    assert (entry.job_id, entry.state, entry.array_id) == (job_id, JobState.QUEUED, None)
    waiting = entry.waiting
    assert (waiting.priority, waiting.need, waiting.queue) == (70, Need(2_000, 64 << 20), "default")
    assert (waiting.user_id, waiting.shape) == (desk.me.user_id, (await desk.row(job_id))["shape"])


async def test_nothing_is_told_twice(desk, reader):
    await submitted(desk, 3)
    assert len(await reader.read()) == 3
    assert await reader.read() == []


async def test_each_entry_shows_the_job_as_it_is_now(desk, reader):
    dispatched, cancelled = await submitted(desk, 2)
    await desk.dispatch(dispatched)
    await desk.cancel(cancelled)
    states = {entry.job_id: (entry.state, entry.waiting) for entry in await reader.read()}
    assert states == {dispatched: (JobState.STARTING, None), cancelled: (JobState.CANCELLED, None)}


async def test_a_stop_comes_with_its_cause(desk, reader):
    (job_id,) = await submitted(desk)
    await desk.dispatch(job_id)
    await reader.read()
    await desk.cancel(job_id, kill=True)
    (entry,) = await reader.read()
    assert (entry.state, entry.stop_reason, entry.stop_kill) == (JobState.STOPPING, "CancelledByUser", True)


async def test_what_does_not_touch_the_queue_is_not_told(desk, reader, verdict):
    (job_id,) = await submitted(desk)
    await reader.read()
    (ref,) = await desk.dispatch(job_id)
    await jobs.started(desk.engine, [(ref, 0)])
    await jobs.settle(desk.engine, [verdict(ref)])
    assert await reader.read() == []


async def test_an_array_itself_is_never_to_be_placed_but_its_members_are(desk, reader):
    array_id, *members = await submitted(desk, array={"range": "0-2"})
    entries = await reader.read()
    assert {entry.job_id for entry in entries if entry.waiting} == set(members)
    assert {entry.array_id for entry in entries} == {array_id, None}


async def test_a_deleted_job_is_passed_over(desk, reader):
    gone, stays = await submitted(desk, 2)
    await desk.owner.execute("DELETE FROM jobs WHERE id = $1", gone)
    assert [entry.job_id for entry in await reader.read()] == [stays]


async def test_small_bites_bring_everything_in_order(desk, reader):
    made = await submitted(desk, 9)
    for _ in range(20):
        await reader.read(limit=2)
    assert reader.seen == made


async def test_an_open_transaction_hides_what_is_younger_until_it_ends(desk, reader, slow):
    first, second, third = await submitted(desk, 3)
    await reader.read()
    reader.seen.clear()
    change = slow.transaction()
    await change.start()
    await note(slow, desk, first)
    await note(desk.owner, desk, second)  # begun later, committed at once
    assert await reader.read() == []
    await change.commit()
    assert [entry.job_id for entry in await reader.read()] == [first, second]
    await note(desk.owner, desk, third)
    assert [entry.job_id for entry in await reader.read()] == [third]


async def test_a_transaction_that_came_to_nothing_hides_nothing_for_good(desk, reader, slow):
    first, second = await submitted(desk, 2)
    await reader.read()
    change = slow.transaction()
    await change.start()
    await note(slow, desk, first)
    await note(desk.owner, desk, second)
    await change.rollback()
    assert [entry.job_id for entry in await reader.read()] == [second]


async def test_who_starts_to_read_during_an_open_transaction_gets_its_events(desk, slow):
    desk.job_ids = set()
    (job_id,) = await submitted(desk)
    change = slow.transaction()
    await change.start()
    await note(slow, desk, job_id)
    reader = Reader(desk, await jobs.feed_start(desk.engine))
    await change.commit()
    assert job_id in [entry.job_id for entry in await reader.read()]


async def test_many_writers_at_once_lose_and_repeat_nothing(desk, reader, servers):
    """Transactions of random lengths commit in any order while a reader goes on in small bites."""
    made = await submitted(desk, 40)
    await reader.read()
    reader.seen.clear()
    chance = random.Random(7)
    writing = asyncio.Event()

    async def write(part):
        connection = await asyncpg.connect(servers.engine_url, server_settings={"search_path": "swarmsync"})
        for job_id in part:
            async with connection.transaction():
                await note(connection, desk, job_id)
                for _ in range(chance.randint(0, 4)):
                    await connection.fetchval("SELECT 1")
        await connection.close()

    async def read():
        while not writing.is_set():
            await reader.read(limit=3)
        for _ in range(20):
            await reader.read(limit=3)

    reading = asyncio.create_task(read())
    await asyncio.gather(*(write(made[start::4]) for start in range(4)))
    writing.set()
    await reading
    assert sorted(reader.seen) == made


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"priority": 70, "resources": {"cpus": 2, "memory": "64MiB", "gpus": 1, "disk": "1GiB"}, "timeout": "1h"},
        {
            "constraints": ["zone=a"],
            "affinity": [{"match": "gpu=a100", "weight": 5}],
            "rate": {"key": "k", "limit": "1/1m"},
        },
    ],
    ids=["plain", "much of its own", "with rules"],
)
async def test_a_hint_describes_a_job_as_its_row_does(desk, reader, fields):
    xid, (described,) = await desk.submit_described(**fields)
    desk.job_ids.add(described.job_id)
    (entry,) = await reader.read()
    assert entry.waiting == described
    told = await desk.owner.fetchval("SELECT xid::text FROM job_events WHERE job_id = $1", described.job_id)
    assert int(told) == xid < int(reader.cursor.xid)


async def test_what_touches_no_queue_is_passed_over_once(desk, reader, verdict):
    ref = await desk.running()
    await reader.read()
    await jobs.settle(desk.engine, [verdict(ref)])
    began = reader.cursor
    await reader.read()
    left = "SELECT count(*) FROM job_events WHERE (xid, seq) > ($1::text::xid8, $2) AND job_id = $3"
    assert await desk.owner.fetchval(left, began.xid, began.seq, ref.job_id) == 1
    assert await desk.owner.fetchval(left, reader.cursor.xid, reader.cursor.seq, ref.job_id) == 0
