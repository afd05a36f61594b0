"""Requests of several callers in one transaction: each under its own rights, each with its own key."""

import asyncio
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


async def test_each_submission_knows_the_transaction_that_made_it(desk):
    """Hints say it: the feed is read on from there."""
    together, alone = [wanted(desk.me), wanted(desk.user())], wanted(desk.me)
    await submit.insert_all(desk.api, together)
    await submit.insert_all(desk.api, [alone])
    for entry in (*together, alone):
        told = await desk.owner.fetchval("SELECT xid::text FROM job_events WHERE job_id = $1", entry.submission.ids[0])
        assert int(told) == entry.submission.xid


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


async def test_of_two_requests_at_once_with_one_key_one_is_made_and_the_other_is_told_so(desk):
    """Each is alone in its statement, and waits for the other at the row of the key."""
    same = [wanted(desk.me, key("desk-twice", response=b'{"n": %d}' % number)) for number in range(4)]
    answers = await asyncio.gather(*(submit.insert_all(desk.api, [entry]) for entry in same))
    made = [number for number, (answer,) in enumerate(answers) if answer is None]
    assert len(made) == 1
    first = b'{"n": %d}' % made[0]
    assert [answer.response for (answer,) in answers if answer is not None] == [first] * 3
    assert list(await owners(desk, same)) == [same[made[0]].submission.jobs[0].job_id]

    other = [wanted(desk.me, key("desk-else", bytes([number]))) for number in range(4)]
    ends = await asyncio.gather(*(submit.insert_all(desk.api, [entry]) for entry in other), return_exceptions=True)
    assert sum(end == [None] for end in ends) == 1
    assert sum(isinstance(end, Conflict) for end in ends) == 3
    assert len(await owners(desk, other)) == 1


async def test_one_key_of_two_users_is_two_keys(desk):
    entries = [wanted(desk.me, key("desk-each", b"1")), wanted(desk.user(), key("desk-each", b"2"))]
    assert [await submit.insert_all(desk.api, [entry]) for entry in entries] == [[None], [None]]
    assert len(await owners(desk, entries)) == 2


async def test_a_queue_that_is_nearly_full_takes_as_many_as_fit_of_those_who_come_at_once(desk):
    """A known key is answered as before although the queue is full by then, and a key that was refused is not used."""
    await desk.owner.execute("INSERT INTO queues (name, max_waiting) VALUES ('desk-narrow', 3)")
    try:
        entries = [wanted(desk.me, key(f"desk-{number}"), queue="desk-narrow") for number in range(8)]
        ends = await asyncio.gather(
            *(submit.insert_all(desk.api, [entry]) for entry in entries), return_exceptions=True
        )
        made = [number for number, end in enumerate(ends) if end == [None]]
        assert len(made) == 3
        assert sum(isinstance(end, TooMany) for end in ends) == 5
        (again,) = await submit.insert_all(desk.api, [entries[made[0]]])
        assert again is not None
        refused = next(number for number in range(8) if number not in made)
        await desk.owner.execute("UPDATE queues SET max_waiting = NULL WHERE name = 'desk-narrow'")
        assert await submit.insert_all(desk.api, [entries[refused]]) == [None]
    finally:
        await desk.owner.execute("DELETE FROM jobs WHERE queue = 'desk-narrow'")
        await desk.owner.execute("DELETE FROM queues WHERE name = 'desk-narrow'")


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
