"""The pool's promises: every wait has an end, what PostgreSQL asks to repeat is repeated, and roles end with transactions."""

import asyncio

import asyncpg
import pytest

from swarmsync.errors import Unavailable
from swarmsync.store.pool import TRIES, Store, as_login

pytestmark = pytest.mark.integration


@pytest.fixture
async def open_store(servers):
    stores = []

    async def make(**more):
        values = {"size": 2, "application": "tests", "acquire_timeout_s": 5.0, **more}
        stores.append(await Store.open(servers.engine_url, **values))
        return stores[-1]

    yield make
    for store in stores:
        await store.close()


async def test_when_all_connections_are_lent_the_next_one_is_refused_in_time(open_store):
    store = await open_store(size=1, acquire_timeout_s=0.5)
    loop = asyncio.get_running_loop()
    async with store.connection():
        began = loop.time()
        with pytest.raises(Unavailable, match="PostgreSQL does not answer"):
            await store.fetchval("SELECT 1")
        assert loop.time() - began < 3
    assert await store.fetchval("SELECT 1") == 1


async def test_a_statement_that_takes_too_long_is_given_up(open_store):
    store = await open_store(statement_timeout_ms=20)
    with pytest.raises(Unavailable, match="QueryCanceled"):
        await store.fetchval("SELECT pg_sleep(10)")
    assert await store.fetchval("SELECT 1") == 1


async def test_a_wait_for_a_lock_ends_as_unavailable(open_store):
    store = await open_store()
    async with store.transaction() as connection:
        await connection.execute("SELECT FROM queues WHERE name = 'default' FOR UPDATE")
        with pytest.raises(Unavailable):
            await store.run(
                lambda c: c.execute("SELECT FROM queues WHERE name = 'default' FOR UPDATE"), lock_timeout="20"
            )


async def test_a_connection_that_is_cut_is_unavailable_and_the_next_one_works(open_store, servers):
    store = await open_store(size=1)
    owner = await asyncpg.connect(servers.database_url)
    with pytest.raises(Unavailable):  # noqa: PT012 the connection breaks while it is lent
        async with store.connection() as connection:
            await owner.execute(
                "SELECT pg_terminate_backend($1, 5000)", await connection.fetchval("SELECT pg_backend_pid()")
            )
            await connection.fetchval("SELECT 1")
    await owner.close()
    assert await store.fetchval("SELECT 1") == 1


# ------------------------------------------------ run


async def test_connections_that_were_cut_while_nobody_used_them_cost_nobody_an_error(open_store, servers):
    store = await open_store(size=2)
    lost = [asyncio.Event(), asyncio.Event()]
    async with store.connection() as one, store.connection() as other:
        there = [one.get_server_pid(), other.get_server_pid()]
        for each, event in zip((one, other), lost, strict=True):
            each.add_termination_listener(lambda _, event=event: event.set())
    owner = await asyncpg.connect(servers.database_url)
    await owner.execute("SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) AS pid", there)
    await owner.close()
    async with asyncio.timeout(20):
        await asyncio.gather(*(event.wait() for event in lost))
    async with store.connection() as one, store.connection() as other:
        again = [await each.fetchval("SELECT pg_backend_pid()") for each in (one, other)]
    assert not set(again) & set(there)
    assert store._held == 2  # it counts right, so the bound of the pool is still the bound


async def test_what_postgresql_cannot_serialize_is_done_again_as_a_whole(open_store, desk):
    """Two transactions read and write the same row: the loser starts over and sees what the winner wrote."""
    store = await open_store()
    await desk.submit()
    both_read, done = asyncio.Barrier(2), []

    async def add_one(connection):
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        seen = await connection.fetchval("SELECT priority FROM jobs WHERE user_id = $1", desk.me.user_id)
        done.append(seen)
        if len(done) <= 2:
            await both_read.wait()
        await connection.execute("UPDATE jobs SET priority = $2 WHERE user_id = $1", desk.me.user_id, seen + 1)

    await asyncio.gather(store.run(add_one), store.run(add_one))
    assert done == [50, 50, 51]
    assert await store.fetchval("SELECT priority FROM jobs WHERE user_id = $1", desk.me.user_id) == 52


@pytest.mark.parametrize("problem", [asyncpg.SerializationError, asyncpg.DeadlockDetectedError])
async def test_who_never_gets_through_is_told_to_come_back(open_store, problem):
    store, tries = await open_store(), []

    async def work(connection):
        tries.append(await connection.fetchval("SELECT 1"))
        raise problem("again, please")

    with pytest.raises(Unavailable, match="too busy"):
        await store.run(work)
    assert len(tries) == TRIES


async def test_a_bug_is_neither_hidden_nor_repeated_and_leaves_nothing(open_store, desk):
    store, tries = await open_store(), []

    async def work(connection):
        tries.append(1)
        await connection.execute("INSERT INTO queues (name) VALUES ('desk-bug')")
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        await store.run(work)
    assert tries == [1]
    assert await store.fetchval("SELECT count(*) FROM queues WHERE name = 'desk-bug'") == 0


async def test_settings_hold_for_one_borrower_only(open_store):
    store = await open_store(size=1)
    async with store.transaction(swarmsync__user_id="7", work_mem="1MB") as connection:
        assert await connection.fetchval("SELECT current_setting('swarmsync.user_id')") == "7"
        assert await connection.fetchval("SELECT current_setting('work_mem')") == "1MB"
    assert await store.fetchval("SELECT current_setting('swarmsync.user_id', true)") == ""
    assert await store.fetchval("SELECT current_setting('work_mem')") != "1MB"


@pytest.mark.parametrize("size", [1, 2, 5])
async def test_everybody_acts_as_they_asked_and_never_as_who_had_the_connection_before(servers, size):
    """Twelve callers of three roles, nobody among them, at the same time; every fifth ends in an error."""
    store = await Store.open(servers.api_url, size=size, application="tests")
    roles = ("swarmsync_member", "swarmsync_operator", "swarmsync_admin")
    seen = "SELECT current_user::text, coalesce(current_setting('swarmsync.user_id', true), ''), 60 / $1::int"

    async def call(number):
        acting = {"role": roles[number % 3], "swarmsync__user_id": str(number)} if number % 4 else {}
        wanted = (acting.get("role", "swarmsync_api"), acting.get("swarmsync__user_id", ""), 60)
        for turn in range(20):
            if (number + turn) % 5 == 0:
                with pytest.raises(asyncpg.DivisionByZeroError):
                    await store.fetchrow(seen, 0, **acting)
            if turn % 2:
                assert tuple(await store.fetchrow(seen, 1, **acting)) == wanted
            else:
                assert tuple(await store.run(lambda c: c.fetchrow(seen, 1), **acting)) == wanted

    await asyncio.gather(*(call(number) for number in range(12)))
    await store.close()


async def test_who_is_stopped_on_the_way_to_acting_as_somebody_leaves_no_trace(servers):
    store = await Store.open(servers.api_url, size=1, application="tests")
    await store.fetchval("SELECT 1")
    for turns in range(6):
        begun = asyncio.create_task(store.fetchval("SELECT 1", role="swarmsync_admin", swarmsync__user_id="7"))
        for _ in range(turns):
            await asyncio.sleep(0)
        begun.cancel()
        await asyncio.gather(begun, return_exceptions=True)
        assert await store.fetchval("SELECT current_user::text") == "swarmsync_api"
    await store.close()


async def test_a_setting_is_a_value_and_never_sql(open_store):
    store = await open_store()
    async with store.transaction(swarmsync__user_id="1'); DROP TABLE jobs; --") as connection:
        assert await connection.fetchval("SELECT current_setting('swarmsync.user_id')") == "1'); DROP TABLE jobs; --"


# ------------------------------------------------ logins


@pytest.mark.parametrize("password", ["simple", "p@ss:w/rd?#%", "ü"])
def test_another_login_replaces_the_owners(password):
    from urllib.parse import unquote, urlsplit

    url = as_login("postgresql://owner:secret@db.example:5433/swarm?sslmode=require", "api", password)
    parts = urlsplit(url)
    assert (parts.hostname, parts.port, parts.path, parts.query) == ("db.example", 5433, "/swarm", "sslmode=require")
    assert (parts.username, unquote(parts.password)) == ("api", password)


def test_a_login_goes_before_a_socket_directory_too():
    url = as_login("postgresql://owner:secret@/postgres?host=/run/x", "api", "pw")
    assert url == "postgresql://api:pw@/postgres?host=/run/x"


async def test_a_wrong_password_is_unavailable_not_a_crash(servers):
    store = await Store.open(as_login(servers.engine_url, "swarmsync_engine", "wrong"), size=1, application="tests")
    with pytest.raises(Unavailable, match="InvalidPassword"):
        await store.fetchval("SELECT 1")
    await store.close()


async def test_a_full_disk_is_unavailable_and_says_what_to_do(open_store):
    store = await open_store()
    with pytest.raises(Unavailable, match=r"disk is full.*make room"):
        await store.execute("DO $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$")
    assert await store.fetchval("SELECT 1") == 1
