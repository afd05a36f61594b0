"""The schema comes up on a fresh server, and coming up twice changes nothing."""

import asyncpg
import pytest

from swarmsync.errors import ConfigError
from swarmsync.store.migrate import migrate

pytestmark = pytest.mark.integration


async def test_a_second_migration_runs_nothing(servers):
    assert await migrate(servers.database_url, servers.secrets) == []


async def test_a_changed_migration_is_refused(servers):
    connection = await asyncpg.connect(servers.database_url)
    try:
        await connection.execute("UPDATE swarmsync.schema_migrations SET sha256 = 'x' || sha256")
        with pytest.raises(ConfigError, match="was changed after it ran"):
            await migrate(servers.database_url, servers.secrets)
    finally:
        await connection.execute("UPDATE swarmsync.schema_migrations SET sha256 = substr(sha256, 2)")
        await connection.close()


async def test_today_has_partitions(servers):
    connection = await asyncpg.connect(servers.engine_url)
    rows = await connection.fetch("SELECT inhrelid::regclass::text AS name FROM pg_inherits")
    await connection.close()
    assert len([row for row in rows if "job_events_2" in row["name"]]) >= 4


async def test_a_final_state_never_changes(servers):
    connection = await asyncpg.connect(servers.engine_url, server_settings={"search_path": "swarmsync"})
    await connection.execute(
        "INSERT INTO jobs (id, user_id, queue, name, state, priority, spec_id, shape, cpus_milli, memory_bytes,"
        " finished_at)"
        " VALUES (1, 1, 'default', '', 'failed', 50, 1, 1, 1, 1, now())"
    )
    with pytest.raises(asyncpg.CheckViolationError, match="stays so"):
        await connection.execute("UPDATE jobs SET state = 'queued', finished_at = NULL WHERE id = 1")
    await connection.execute("DELETE FROM jobs WHERE id = 1")
    await connection.close()
