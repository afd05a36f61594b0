"""Requests of several callers in one transaction: each under its own rights, each with its own key."""

import time
from datetime import UTC, datetime

import asyncpg
import pytest
from msgspec.structs import replace

from swarmsync.errors import Conflict, TooMany
from swarmsync.ids import IdSource
from swarmsync.protocol.codec import convert_spec
from swarmsync.store import submit
from swarmsync.store.submit import Key, Wanted

pytestmark = pytest.mark.integration

IDS = IdSource(1_001, lambda: time.time_ns() // 1_000_000)


def wanted(caller, key=None, **fields):
    submission = submit.plan([submit.draft(convert_spec({"image": "alpine", **fields}))], datetime.now(UTC), IDS.next)
    return Wanted(caller, submission, key)


def key(text, body=b"1", response=b"{}"):
    return Key(text, body * 32, 201, response)


async def owners(desk, entries):
    rows = await desk.owner.fetch(
        "SELECT j.id, j.user_id, s.user_id AS spec_of, e.user_id AS told_to FROM jobs j JOIN specs s ON s.id = j.spec_id"
        " JOIN job_events e ON e.job_id = j.id WHERE j.id = ANY ($1::bigint[])",
        [entry.submission.jobs[0].job_id for entry in entries],
    )
    assert all(row["user_id"] == row["spec_of"] == row["told_to"] for row in rows)
    return {row["id"]: row["user_id"] for row in rows}


async def test_each_job_belongs_to_who_asked_for_it(desk):
    callers = [desk.me, desk.user(), desk.user("operator"), desk.me, desk.user("admin")]
    entries = [wanted(caller) for caller in callers]
    assert await submit.insert_all(desk.api, entries) == [None] * len(entries)
    assert await owners(desk, entries) == {entry.submission.jobs[0].job_id: entry.caller.user_id for entry in entries}


async def test_no_place_in_a_shared_transaction_gives_a_caller_the_rights_of_the_one_before(desk):
    """Behind an operator's request a member is a member: PostgreSQL itself refuses a row in another's name."""
    operator, member = desk.user("operator"), desk.user()
    theirs, mine = wanted(operator), wanted(member)
    await submit.insert_all(desk.api, [theirs, mine])
    async with desk.api.transaction(**operator.settings) as connection:
        await connection.execute(submit.set_local(**member.settings))
        assert await connection.fetchval("SELECT current_user") == "swarmsync_member"
        seen = await connection.fetch("SELECT id FROM jobs")
        assert [row["id"] for row in seen] == [mine.submission.jobs[0].job_id]
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(
                "INSERT INTO specs (id, user_id, document, sha256) VALUES ($1, $2, '{}', $3)",
                IDS.next(), operator.user_id, bytes(32),
            )  # fmt: skip


async def test_all_or_nothing(desk):
    """A row that breaks a promise of the tables takes everything of its transaction with it."""
    fine, other = wanted(desk.me), wanted(desk.user())
    ((made, start),) = other.submission.specs.values()
    broken = replace(made, need=replace(made.need, cpus_milli=0))
    other.submission.specs = dict.fromkeys(other.submission.specs, (broken, start))
    with pytest.raises(asyncpg.CheckViolationError):
        await submit.insert_all(desk.api, [fine, other])
    assert await owners(desk, [fine, other]) == {}


async def test_a_known_key_makes_nothing_and_the_others_do(desk):
    again = key("desk-again", response=b'{"id": "first"}')
    assert await submit.insert_all(desk.api, [wanted(desk.me, again)]) == [None]
    entries = [
        wanted(desk.me),
        wanted(desk.me, replace(again, response=b'{"id": "second"}')),
        wanted(desk.me, key("desk-new")),
        wanted(desk.user(), again),  # another's key of the same name is another key
    ]
    first, replayed, new, others = await submit.insert_all(desk.api, entries)
    assert (first, new, others) == (None, None, None)
    assert replayed is not None
    assert replayed.response == b'{"id": "first"}'
    assert len(await owners(desk, entries)) == 3
    assert entries[1].submission.jobs[0].job_id not in await owners(desk, entries)


async def test_a_key_with_another_body_is_a_conflict(desk):
    await submit.insert_all(desk.api, [wanted(desk.me, key("desk-body"))])
    other = wanted(desk.me)
    with pytest.raises(Conflict, match="desk-body"):
        await submit.insert_all(desk.api, [other, wanted(desk.me, key("desk-body", b"2"))])
    assert await owners(desk, [other]) == {}


async def test_a_queue_that_would_be_too_full_takes_none_of_them(desk):
    await desk.owner.execute("INSERT INTO queues (name, max_waiting) VALUES ('desk-narrow', 1)")
    try:
        entries = [wanted(desk.me, queue="desk-narrow"), wanted(desk.me, queue="desk-narrow")]
        with pytest.raises(TooMany):
            await submit.insert_all(desk.api, entries)
        assert await submit.insert_all(desk.api, entries[:1]) == [None]
    finally:
        await desk.owner.execute("DELETE FROM jobs WHERE queue = 'desk-narrow'")
        await desk.owner.execute("DELETE FROM queues WHERE name = 'desk-narrow'")
