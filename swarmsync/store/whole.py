"""The whole of a database, for those who carry it elsewhere: what is there, and what must be otherwise there.

Runs as the owner of the tables. A restored database is older than what others know: workers hold assignments that it
never gave, an earlier Core may still send orders, and another server counts other transactions. What is done about each
is in `carry_over`, `begin_anew` and `hold_back` (decision 0043).
"""

from typing import Final

import asyncpg
from msgspec import Struct

SCHEMAS: Final = ("swarmsync", "swarmsync_shared")
#: Tables of what jobs and Core's own modules wrote: by far the most bytes, and nothing else refers to them.
LOGS: Final = ("output_chunks", "output_tars", "output_tar_chunks", "output_keeps", "log_records")
#: Counting and copying take their time, and nobody waits for this session.
PATIENT: Final = {
    "application_name": "swarmsyncd backup",
    "search_path": "swarmsync",
    "statement_timeout": "0",
    "lock_timeout": "60000",
    "idle_in_transaction_session_timeout": "0",
}
_TABLES: Final = """
SELECT c.relname FROM pg_class c
WHERE c.relnamespace = 'swarmsync'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1
"""
#: The first transaction id of any server: smaller than whatever a new one has come to.
_FIRST_XID: Final = 3


class Whole(Struct, frozen=True):
    """What a snapshot shows; `snapshot` is its name, for other sessions, while the transaction lasts."""

    snapshot: str
    version: str
    owner: str
    schema: tuple[str, ...]
    rows: dict[str, int]


async def look(connection: asyncpg.Connection, left_out: tuple[str, ...] = ()) -> Whole:
    """Return what is there, within the caller's transaction (repeatable read)."""
    snapshot = await connection.fetchval("SELECT pg_export_snapshot()")
    version = await connection.fetchval("SHOW server_version")
    owner = await connection.fetchval("SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'swarmsync'")
    schema = [row[0] for row in await connection.fetch("SELECT name FROM schema_migrations ORDER BY name")]
    return Whole(snapshot, version.split()[0], owner, tuple(schema), await counts(connection, left_out))


async def counts(connection: asyncpg.Connection, left_out: tuple[str, ...] = ()) -> dict[str, int]:
    """Return how many rows each table has; those left out have none."""
    tables = [row[0] for row in await connection.fetch(_TABLES)]
    return {
        table: 0 if table in left_out else await connection.fetchval(f'SELECT count(*) FROM "{table}"')  # noqa: S608 names from the catalogue
        for table in tables
    }
