"""A database in another place: the feed keeps its order, nothing that was given out is given out again."""

import asyncpg
import pytest

from swarmsync.store import whole
from swarmsync.store.queries import sql

pytestmark = pytest.mark.integration


@pytest.fixture
async def owner(servers):
    """The owner's connection, in a transaction that never is."""
    connection = await asyncpg.connect(servers.database_url, server_settings={"search_path": "swarmsync"})
    transaction = connection.transaction()
    await transaction.start()
    yield connection
    await transaction.rollback()
    await connection.close()


async def event(owner, xid, job_id):
    await owner.execute(
        "INSERT INTO job_events (xid, job_id, user_id, state) VALUES ($1::text::xid8, $2, 1, 'queued')",
        str(xid),
        job_id,
    )


async def webhook(owner, number, since):
    await owner.execute(
        "INSERT INTO webhooks (id, user_id, url, states, sealed, since_xid)"
        " VALUES ($1, 1, 'https://hooks.example', '{failed}', '', $2::text::xid8)",
        number,
        str(since),
    )


async def untold(owner, since):
    """Events that a webhook which began at `since` has not been told: as `deliveries` looks for them."""
    cursor = await owner.fetchrow("SELECT xid::text, seq FROM webhook_cursor")
    place = max((int(cursor["xid"]), cursor["seq"]), (int(since), 0))
    query = "SELECT job_id FROM job_events WHERE (xid, seq) > ($1::text::xid8, $2) ORDER BY xid, seq"
    return [row[0] for row in await owner.fetch(query, str(place[0]), place[1])]


async def test_webhooks_go_on_where_they_were_although_another_server_counts_anew(owner):
    await owner.execute("DELETE FROM job_events")
    await owner.execute("INSERT INTO users (id, username) VALUES (1, 'whole') ON CONFLICT DO NOTHING")
    far = 5_000_000_000  # beyond what a new server has come to, and beyond 32 bits
    for place, job_id in [(0, 1), (5, 2), (5, 3), (6, 4), (9, 5), (12, 6)]:
        await event(owner, far + place, job_id)
    third = await owner.fetchval("SELECT seq FROM job_events WHERE job_id = 3")
    await owner.execute("UPDATE webhook_cursor SET xid = $1::text::xid8, seq = $2", str(far + 5), third - 1)
    for number, since in [(101, far - 7), (102, far + 9), (103, far + 12)]:
        await webhook(owner, number, since)
    before = {}
    for number in (101, 102, 103):
        since = await owner.fetchval("SELECT since_xid::text FROM webhooks WHERE id = $1", number)
        before[number] = await untold(owner, since)
    assert before == {101: [3, 4, 5, 6], 102: [5, 6], 103: [6]}
    await whole.carry_over(owner)
    after = {}
    for number in (101, 102, 103):
        since = await owner.fetchval("SELECT since_xid::text FROM webhooks WHERE id = $1", number)
        after[number] = await untold(owner, since)
    assert after == before
    newest = await owner.fetchval("SELECT max(xid::text::bigint) FROM job_events")
    assert newest < int(await owner.fetchval("SELECT pg_current_xact_id()::text"))


async def test_without_webhooks_every_event_is_old(owner):
    await owner.execute("DELETE FROM webhooks")
    await event(owner, 9_000_000_000, 1)
    await whole.carry_over(owner)
    assert await owner.fetchval("SELECT max(xid::text::bigint) FROM job_events") < 10


JOB = """
INSERT INTO jobs (id, user_id, queue, name, state, priority, spec_id, shape, cpus_milli, memory_bytes, fence, run_at,
                  grace_ms, array_id, array_index, array_size)
VALUES ($1, 1, 'default', '', $2, 50, 1, 1, 1, 1, $3, $4, $5, $6, $7, 2 * $7)
"""


async def job(owner, job_id, state="queued", fence=0, run_at=None, grace_ms=1_000, array_id=None):
    await owner.execute(JOB, job_id, state, fence, run_at, grace_ms, array_id, None if array_id is None else 1)


async def test_what_waits_is_held_back_once_and_attempts_count_on_from_beyond(owner):
    await owner.execute(
        "UPDATE jobs SET state = 'failed', finished_at = now(), assignment_state = NULL WHERE finished_at IS NULL"
    )
    highest = await owner.fetchval("SELECT coalesce(max(id), 0) FROM jobs")
    old, held, slow, member, new = range(highest + 1, highest + 6)
    await job(owner, old, fence=3)
    await job(owner, held, "held")
    await job(owner, slow, grace_ms=60_000)
    await job(owner, member, array_id=old)
    epoch = await owner.fetchrow("SELECT term, epoch FROM engine_epoch")
    assert await whole.hold_back(owner, 30_000, 5_000) == 0
    now_ms = 1_800_000_000_000
    await whole.begin_anew(owner, now_ms, "then")
    await whole.begin_anew(owner, now_ms, "then")  # a clock that stands still is no excuse
    raised = await owner.fetchrow("SELECT term, epoch, fence_floor FROM engine_epoch")
    assert raised["term"] > max(epoch["term"], now_ms)
    assert raised["epoch"] > max(epoch["epoch"], now_ms)
    assert await whole.hold_back(owner, 30_000, 5_000) == 3
    assert await whole.hold_back(owner, 30_000, 5_000) == 0
    rows = await owner.fetch(
        "SELECT id, state, round(extract(epoch FROM run_at - clock_timestamp()))::int AS wait FROM jobs WHERE id >= $1"
        " ORDER BY id",
        old,
    )
    assert [(row["state"], row["wait"]) for row in rows] == [
        ("scheduled", 35), ("held", 35), ("scheduled", 135), ("scheduled", 35)
    ]  # fmt: skip
    assert await owner.fetchval("SELECT count(*) FROM job_events WHERE message = $1", whole.HELD_BACK) == 3
    await job(owner, new)
    await owner.execute("UPDATE jobs SET state = 'queued' WHERE id = $1", old)
    won = await owner.fetch(sql("dispatch"), [old, new], [1, 1], [1, 1], 1, ["queued"], False, False)
    assert {row["id"]: row["fence"] for row in won} == {old: raised["fence_floor"] + 1, new: 1}


async def test_workers_join_anew(owner):
    await owner.execute(
        "INSERT INTO workers (id, name, cpus_milli, memory_bytes, liveness, session) VALUES (77, 'w', 1, 1, 'ready', 's')"
    )
    await whole.begin_anew(owner, 1, "2026-11-26T03:00:00Z")
    assert await owner.fetchval("SELECT session FROM workers WHERE id = 77") == ""
    assert await owner.fetchval("SELECT count(*) FROM cores") == 0
    newest = await owner.fetchrow("SELECT action, subject FROM audit_log ORDER BY seq DESC LIMIT 1")
    assert tuple(newest) == ("backup restored", "2026-11-26T03:00:00Z")
