"""No table, view, index, function or role breaks the isolation of users, today's and tomorrow's."""

import asyncpg
import pytest
from catalogue import ACROSS_USERS, SERVICES, SHARED, problems

pytestmark = pytest.mark.integration


@pytest.fixture
async def owner(servers):
    connection = await asyncpg.connect(servers.database_url, server_settings={"search_path": "swarmsync"})
    yield connection
    await connection.close()


async def test_the_catalogue_breaks_no_rule(owner):
    assert await problems(owner) == []


async def test_the_exceptions_are_about_what_exists(owner):
    tables = {row[0] for row in await owner.fetch("SELECT relname FROM pg_class WHERE relkind IN ('r', 'p')")}
    indexes = {row[0] for row in await owner.fetch("SELECT relname FROM pg_class WHERE relkind IN ('i', 'I')")}
    roles = {row[0] for row in await owner.fetch("SELECT rolname FROM pg_roles")}
    assert tables >= SHARED
    assert indexes >= ACROSS_USERS.keys()
    assert roles >= {*SERVICES}


MINE = "CREATE TABLE mine (user_id bigint NOT NULL, name text)"
GUARDED = f"{MINE}; ALTER TABLE mine ENABLE ROW LEVEL SECURITY; ALTER TABLE mine FORCE ROW LEVEL SECURITY"


@pytest.mark.parametrize(
    ("planted", "wrong"),
    [
        (MINE, "mine: rows have users"),
        (f"{MINE}; ALTER TABLE mine ENABLE ROW LEVEL SECURITY", "mine: rows have users"),
        ("ALTER TABLE jobs NO FORCE ROW LEVEL SECURITY", "jobs: rows have users"),
        ("ALTER TABLE users DISABLE ROW LEVEL SECURITY", "users: rows have users"),
        (f"{GUARDED}; ALTER TABLE mine ALTER user_id DROP NOT NULL", "mine: user_id may be null"),
        ("GRANT SELECT ON log_records TO swarmsync_member", "log_records: every user may read it"),
        ("CREATE TABLE plain (a int); GRANT SELECT (a) ON plain TO swarmsync_member", "plain: every user may read it"),
        ("GRANT SELECT ON job_events_rest TO swarmsync_member", "job_events_rest to swarmsync_member: a partition"),
        ("DROP POLICY owner_reads ON specs", "specs: its owner does not see all rows"),
        (GUARDED, "mine: its owner does not see all rows"),
        ("CREATE VIEW everything AS SELECT * FROM jobs", "everything: a view"),
        ("CREATE MATERIALIZED VIEW everything AS SELECT * FROM jobs", "everything: a view"),
        (f"{GUARDED}; CREATE UNIQUE INDEX mine_name ON mine (name)", "mine_name: unique without the user"),
        ("ALTER ROLE swarmsync_api BYPASSRLS", "swarmsync_api: a role above"),
        ("ALTER ROLE swarmsync_engine CREATEROLE", "swarmsync_engine: a role above"),
        ("ALTER TABLE jobs OWNER TO swarmsync_engine", "swarmsync_engine owns jobs"),
        ("GRANT swarmsync_engine TO swarmsync_api", "swarmsync_api in swarmsync_engine: a membership"),
        (
            "CREATE FUNCTION climb() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
            "climb: a definer's function",
        ),
        ("GRANT EXECUTE ON FUNCTION drop_partitions TO PUBLIC", "drop_partitions: a definer's function"),
    ],
)
async def test_what_breaks_a_rule_is_found(owner, planted, wrong):
    transaction = owner.transaction()
    await transaction.start()
    try:
        await owner.execute(planted)
        assert [line for line in await problems(owner) if line.startswith(wrong)]
    finally:
        await transaction.rollback()


async def test_a_view_with_its_callers_rights_is_fine(owner):
    transaction = owner.transaction()
    await transaction.start()
    try:
        await owner.execute("CREATE VIEW fine WITH (security_invoker = true) AS SELECT id FROM jobs")
        assert await problems(owner) == []
    finally:
        await transaction.rollback()
