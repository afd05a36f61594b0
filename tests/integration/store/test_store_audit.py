"""The audit log: added to in turns, never changed by any service, and a superuser's change is found."""

import asyncio

import asyncpg
import pytest

from swarmsync.store import audit_log, users
from swarmsync.store.audit_log import FIRST, judge

pytestmark = pytest.mark.integration
DENIED = asyncpg.InsufficientPrivilegeError


@pytest.fixture
async def check(desk):
    """Recompute the whole chain, as an administrator would over the API."""

    async def run(limit=100_000):
        return await audit_log.check(desk.api, desk.user("admin"), after=0, after_hash=FIRST, limit=limit)

    return run


@pytest.fixture
async def entries(desk):
    """Three entries, one of them with everything that could be read in two ways."""
    await users.audit(desk.api, desk.me.user_id, "login", "", {"address": "127.0.0.1"})
    await users.audit(desk.api, None, 'tricky 1:"x"', "ünïcode 7:\n\x01 'quoted'", {"b": "2", "a": '"\\'})
    await users.audit(desk.api, desk.me.user_id, "logout")
    return [row["seq"] for row in await desk.owner.fetch("SELECT seq FROM audit_log ORDER BY seq DESC LIMIT 3")][::-1]


async def test_the_chain_can_be_recomputed(desk, entries, check):
    found = await check()
    assert (found.wrong, found.more, found.seq) == ("", False, entries[-1])
    assert found.entries == entries[-1]


async def test_a_check_in_parts_comes_to_the_same_head(desk, entries, check):
    whole, caller = await check(), desk.user("admin")
    seq, last, more = 0, FIRST, True
    while more:
        part = await audit_log.check(desk.api, caller, after=seq, after_hash=last, limit=2)
        assert part.wrong == ""
        seq, last, more = part.seq, part.hash, part.more
    assert (seq, last) == (whole.seq, whole.hash)


async def test_writers_at_the_same_time_make_one_chain(desk, check):
    before = (await check()).entries
    await asyncio.gather(*(users.audit(desk.api, desk.me.user_id, f"at once {n}") for n in range(40)))
    found = await check()
    assert (found.wrong, found.entries) == ("", before + 40)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_log SET action = 'nothing'",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
        "UPDATE audit_head SET seq = 0",
        "DELETE FROM audit_head",
        "ALTER TABLE audit_log DISABLE TRIGGER ALL",
        "SELECT chain_audit()",
    ],
)
@pytest.mark.parametrize("role", ["api", "engine", "member", "operator", "admin"])
async def test_no_service_and_nobody_over_the_api_changes_an_entry(desk, entries, statement, role):
    store = desk.engine if role == "engine" else desk.api
    caller = desk.user({"member": "user"}.get(role, role))
    settings = {} if role in ("api", "engine") else caller.settings
    with pytest.raises((DENIED, asyncpg.FeatureNotSupportedError)):
        await store.run(lambda connection: connection.execute(statement), **settings)


@pytest.mark.parametrize("role", ["user", "operator"])
async def test_only_administrators_read_it(desk, entries, role):
    with pytest.raises(DENIED):
        async with desk.api.transaction(**desk.user(role).settings) as connection:
            await connection.fetch("SELECT * FROM audit_log")


async def test_who_writes_chooses_neither_time_nor_place_nor_hash(desk, check):
    await desk.api.execute(
        "INSERT INTO audit_log (user_id, action, at, seq, hash) VALUES (1, 'forged', '2001-01-01', 1, $1)", bytes(32)
    )
    row = await desk.owner.fetchrow("SELECT at, seq FROM audit_log ORDER BY seq DESC LIMIT 1")
    assert row["at"].year > 2001
    assert row["seq"] > 1
    assert (await check()).wrong == ""


async def test_not_even_the_owner_changes_an_entry_in_passing(desk, entries):
    for statement in ("UPDATE audit_log SET subject = 'x'", "DELETE FROM audit_log", "TRUNCATE audit_log"):
        with pytest.raises(DENIED, match="only ever added to"):
            await desk.owner.execute(statement)


@pytest.mark.parametrize(
    ("tampering", "wrong"),
    [
        ("UPDATE audit_log SET action = 'nothing' WHERE seq = $1", "entry {1} was changed"),
        ("UPDATE audit_log SET user_id = 7 WHERE seq = $1", "entry {1} was changed"),
        ("UPDATE audit_log SET at = at - interval '1 s' WHERE seq = $1", "entry {1} was changed"),
        ("UPDATE audit_log SET detail = '{}' WHERE seq = $1", "entry {1} was changed"),
        ("UPDATE audit_log SET hash = sha256('x') WHERE seq = $1", "entry {1} was changed"),
        ("DELETE FROM audit_log WHERE seq = $1", "entry {1} is missing"),
        ("DELETE FROM audit_log WHERE seq >= $1", "entries {1} to {2} are missing"),
        ("UPDATE audit_head SET hash = sha256('x') WHERE $1 > 0", "the head does not fit entry {2}"),
    ],
)
async def test_what_a_superuser_changes_is_found(desk, entries, tampering, wrong):
    transaction = desk.owner.transaction()
    await transaction.start()
    try:
        await desk.owner.execute("SET LOCAL session_replication_role = replica")  # no trigger says no
        await desk.owner.execute(tampering, entries[1])
        rows = await desk.owner.fetch("SELECT * FROM audit_log ORDER BY seq")
        head = await desk.owner.fetchrow("SELECT seq, hash FROM audit_head")
        found = judge(rows, (head["seq"], head["hash"]), after=0, after_hash=FIRST, limit=100_000)
        assert found.wrong == wrong.format(*entries)
    finally:
        await transaction.rollback()


async def test_a_chain_written_anew_does_not_fit_a_head_that_was_written_down(desk, entries, check):
    before = await check()
    transaction = desk.owner.transaction()
    await transaction.start()
    try:
        await desk.owner.execute("SET LOCAL session_replication_role = replica")
        await desk.owner.execute("UPDATE audit_log SET action = 'nothing' WHERE seq = $1", entries[1])
        last = await desk.owner.fetchval("SELECT hash FROM audit_log WHERE seq = $1", entries[0])
        for seq in entries[1:]:
            row = await desk.owner.fetchrow("SELECT * FROM audit_log WHERE seq = $1", seq)
            last = audit_log.entry_hash(last, row)
            await desk.owner.execute("UPDATE audit_log SET hash = $2 WHERE seq = $1", seq, last)
        rows = await desk.owner.fetch("SELECT * FROM audit_log ORDER BY seq")
        found = judge(rows, (entries[-1], last), after=0, after_hash=FIRST, limit=100_000)
        assert found.wrong == ""
        assert found.hash != before.hash
    finally:
        await transaction.rollback()
