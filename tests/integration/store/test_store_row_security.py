"""One user's rows are invisible and untouchable for another, whatever the API asks of PostgreSQL."""

from contextlib import asynccontextmanager

import asyncpg
import pytest

from swarmsync.store import jobs
from swarmsync.store.pool import Store

pytestmark = pytest.mark.integration

#: Tables with one user's rows, and a column that an attacker would like to write.
TENANT = {
    "jobs": "name",
    "specs": "document",
    "assignments": "message",
    "job_events": "message",
    "output_chunks": "data",
    "idempotency_keys": "response",
    "secrets": "sealed",
    "webhooks": "url",
    "webhook_deliveries": "error",
    "output_tars": "name",
    "output_tar_chunks": "data",
}
ROLES = ("swarmsync_api", "swarmsync_member", "swarmsync_operator", "swarmsync_admin")
DENIED = asyncpg.InsufficientPrivilegeError


@pytest.fixture
async def victim(desk, verdict):
    """A user who has one row in every table."""
    ref = await desk.running(name="secret")
    await jobs.settle(desk.engine, [verdict(ref, "failed")])
    me = desk.me.user_id
    await desk.owner.execute(
        "INSERT INTO output_chunks (job_id, user_id, fence, stream, start, at, data) VALUES ($1, $2, 1, 1, 0, now(), 'x')",
        ref.job_id,
        me,
    )
    await desk.owner.execute(
        "INSERT INTO idempotency_keys (user_id, key, body_hash, status, response) VALUES ($1, 'k', 'h', 201, '{}')", me
    )
    await desk.owner.execute("INSERT INTO users (id, username) VALUES ($1, $2)", me, f"desk{me}")
    await desk.owner.execute("INSERT INTO secrets (id, user_id, name, sealed) VALUES ($1, $1, 's', 'x')", me)
    await desk.owner.execute(
        "INSERT INTO webhooks (id, user_id, url, states, sealed) VALUES ($1, $1, 'https://a.example', '{failed}', 'x')",
        me,
    )
    await desk.owner.execute(
        "INSERT INTO webhook_deliveries (id, webhook_id, user_id, type, body) VALUES ($1, $1, $1, 'job.failed', '{}')",
        me,
    )
    await desk.owner.execute(
        "INSERT INTO output_tars (job_id, user_id, fence, stream, name, size, files, bytes, sha256)"
        " VALUES ($1, $2, 1, 3, 'out', 1, 0, 0, $3)",
        ref.job_id,
        me,
        bytes(32),
    )
    await desk.owner.execute(
        "INSERT INTO output_tar_chunks (job_id, user_id, fence, stream, start, data) VALUES ($1, $2, 1, 3, 0, 'x')",
        ref.job_id,
        me,
    )
    return desk.me


@pytest.fixture
async def acting(desk):
    """Return a transaction of the API's connection acting as this user."""

    @asynccontextmanager
    async def act(caller=None, **settings):
        async with desk.api.transaction(**(settings or caller.settings)) as connection:
            yield connection

    return act


async def rows_of(connection, table, user_id):
    return await connection.fetchval(f"SELECT count(*) FROM {table} WHERE user_id = $1", user_id)


@pytest.mark.parametrize("table", TENANT)
async def test_a_user_sees_the_own_rows_and_nobody_elses(desk, victim, acting, table):
    async with acting(victim) as connection:
        assert await rows_of(connection, table, victim.user_id) >= 1
    async with acting(desk.user()) as connection:
        assert await rows_of(connection, table, victim.user_id) == 0
        assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0
    async with acting(desk.user("operator")) as connection:
        assert await rows_of(connection, table, victim.user_id) >= 1


@pytest.mark.parametrize("table", TENANT)
async def test_another_user_changes_and_deletes_nothing_and_gets_nothing_back(desk, victim, acting, table):
    before = await desk.owner.fetch(f"SELECT * FROM {table} WHERE user_id = $1", victim.user_id)
    column = TENANT[table]
    value = "'x'::bytea" if column == "data" else "'stolen'"
    for statement in (f"UPDATE {table} SET {column} = {value} RETURNING *", f"DELETE FROM {table} RETURNING *"):
        try:
            async with acting(desk.user()) as connection:
                assert await connection.fetch(statement) == []
        except DENIED:
            pass  # not even allowed to try
    assert await desk.owner.fetch(f"SELECT * FROM {table} WHERE user_id = $1", victim.user_id) == before


@pytest.mark.parametrize("table", TENANT)
async def test_nobody_writes_rows_in_another_users_name(desk, victim, acting, table):
    row = await desk.owner.fetchrow(f"SELECT * FROM {table} WHERE user_id = $1 LIMIT 1", victim.user_id)
    names = [name for name in row.keys() if name not in ("xid", "seq")]  # noqa: SIM118 a record is no dict
    values = [row[name] for name in names]
    places = ", ".join(f"${number}" for number in range(1, len(names) + 1))
    with pytest.raises(DENIED):
        async with acting(desk.user()) as connection:
            await connection.execute(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({places})", *values)


async def test_nobody_gives_the_own_row_to_another_user(desk, victim, acting):
    thief = desk.user()
    await desk.submit(caller=thief)
    with pytest.raises(DENIED, match="row-level security"):
        async with acting(thief) as connection:
            await connection.execute("UPDATE jobs SET user_id = $1", victim.user_id)


async def test_an_idempotency_key_of_another_user_is_no_obstacle_and_tells_nothing(desk, victim, acting):
    other = desk.user()
    async with acting(other) as connection:
        query = (
            "INSERT INTO idempotency_keys (user_id, key, body_hash, status, response) VALUES ($1, 'k', 'h', 201, '{}')"
            " ON CONFLICT DO NOTHING RETURNING key"
        )
        assert await connection.fetchval(query, other.user_id) == "k"


@pytest.mark.parametrize(
    "settings", [{"role": "swarmsync_member"}, {"role": "swarmsync_member", "swarmsync__user_id": ""}]
)
async def test_a_member_without_a_name_sees_nothing(victim, acting, settings):
    async with acting(**settings) as connection:
        for table in TENANT:
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_the_identity_ends_with_its_transaction(servers, desk, victim):
    store = await Store.open(servers.api_url, size=1, application="tests")
    async with store.transaction(**victim.settings) as connection:
        assert await rows_of(connection, "jobs", victim.user_id) == 1
    async with store.connection() as connection:
        assert await connection.fetchval("SELECT current_user") == "swarmsync_api"
        assert not await connection.fetchval("SELECT current_setting('swarmsync.user_id', true)")
    await store.close()


async def test_the_apis_own_role_reads_what_a_login_needs_and_policies_and_nothing_else(desk, acting):
    query = "SELECT tablename FROM pg_tables WHERE schemaname = 'swarmsync'"
    tables = [row["tablename"] for row in await desk.owner.fetch(query)]
    readable = []
    for table in tables:
        try:
            await desk.api.fetch(f"SELECT * FROM {table} LIMIT 1")
            readable.append(table)
        except DENIED:
            pass
    assert sorted(readable) == ["ended_sessions", "keys", "login_failures", "policies", "tokens", "users"]


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO users (id, username, role) VALUES (1, 'mallory', 'admin')",
        "UPDATE users SET role = 'admin'",
        "DELETE FROM users",
        "INSERT INTO tokens (id, user_id, name, sha256, expires_at) VALUES (1, 1, 'x', repeat('x', 32)::bytea, now())",
        "UPDATE tokens SET expires_at = now()",
        "SELECT drop_partitions('job_events', 0)",
        "CREATE TABLE swarmsync.mine (a int)",
        "SET ROLE swarmsync_engine",
        "SELECT password_hash FROM users",
        "SELECT * FROM tokens",
        "SELECT sealed FROM secrets",
        "UPDATE secrets SET user_id = 1",
        "UPDATE secrets SET updated_at = now() RETURNING sealed",
    ],
)
async def test_a_member_cannot_climb(desk, acting, statement):
    with pytest.raises(DENIED):
        async with acting(desk.user()) as connection:
            await connection.execute(statement)


@pytest.mark.parametrize("table", ["log_records", "worker_sessions", "audit_log", "schema_migrations"])
async def test_a_member_has_no_business_with_operations(desk, acting, table):
    with pytest.raises(DENIED):
        async with acting(desk.user()) as connection:
            await connection.fetch(f"SELECT * FROM {table}")


async def test_a_partition_is_no_way_around_its_table(desk, victim, acting):
    query = "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = $1::regclass"
    for parent in ("job_events", "output_chunks", "log_records"):
        for row in await desk.owner.fetch(query, parent):
            with pytest.raises(DENIED):
                async with acting(desk.user()) as connection:
                    await connection.fetch(f"SELECT * FROM {row['name']}")


async def test_every_table_with_a_user_guards_its_rows_or_is_closed_to_the_api(desk):
    """The catalogue decides, so that a table of tomorrow is not forgotten."""
    query = """
    SELECT c.oid::regclass::text AS name, c.relrowsecurity AND c.relforcerowsecurity AS guarded
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'user_id' AND NOT a.attisdropped
    WHERE c.relnamespace = 'swarmsync'::regnamespace AND c.relkind IN ('r', 'p')
    """
    tables = {row["name"]: row["guarded"] for row in await desk.owner.fetch(query)}
    assert {*TENANT, "tokens", "keys", "audit_log"} <= tables.keys()
    verbs = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
    for table, guarded in tables.items():
        if guarded:
            continue
        may = {
            (role, verb)
            for role in ROLES
            for verb in verbs
            if await desk.owner.fetchval("SELECT has_table_privilege($1, $2, $3)", role, table, verb)
        }
        assert may == set(), table


async def test_no_role_of_the_api_stands_above_the_policies(desk):
    query = "SELECT rolname FROM pg_roles WHERE rolname LIKE 'swarmsync\\_%' AND (rolsuper OR rolbypassrls OR rolcreaterole)"
    assert [row["rolname"] for row in await desk.owner.fetch(query) if row["rolname"] != "swarmsync_owner"] == []
    inherits = "SELECT rolinherit FROM pg_roles WHERE rolname = 'swarmsync_api'"
    assert await desk.owner.fetchval(inherits) is False


async def test_the_engine_sees_everybody_and_may_not_rewrite_the_audit_log(desk, victim):
    for table in TENANT:
        assert await desk.engine.fetchval(f"SELECT count(*) FROM {table} WHERE user_id = $1", victim.user_id) >= 1
    with pytest.raises(DENIED):
        await desk.engine.execute("DELETE FROM audit_log")
