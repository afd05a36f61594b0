"""The whole of a database, for those who carry it elsewhere: what is there, and what must be otherwise there.

Runs as the owner of the tables. A restored database is older than what others know: workers hold assignments that it
never gave, an earlier Core may still send orders, and another server counts other transactions. What is done about each
is in `carry_over`, `begin_anew` and `hold_back` (decision 0043).
"""

from typing import Final

import asyncpg
from msgspec import Struct

from swarmsync.ids import EPOCH_MS
from swarmsync.model.lifecycle import WAITING, Actor, JobState, WaitReason, sources
from swarmsync.store.pool import Store

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
#: Transactions are counted anew, and the feed is ordered by their numbers. What is restored gets numbers that are
#: smaller than any a new server has come to, and keeps its order to the places up to which webhooks were told.
_PLACES: Final = """
SELECT c.xid::text::bigint AS xid, c.seq, ARRAY(
    SELECT 0 UNION SELECT w.since_xid::text::bigint FROM webhooks w WHERE w.since_xid > c.xid ORDER BY 1) AS later
FROM webhook_cursor c
"""
_WEBHOOKS: Final = (
    "UPDATE webhooks SET since_xid = (3 + width_bucket(since_xid::text::bigint, $1::bigint[]))::text::xid8"
)
_CURSOR: Final = "UPDATE webhook_cursor SET xid = '3', seq = 9223372036854775807"
_BEGIN: Final = """
UPDATE engine_epoch SET term = greatest(term + 1000000, $1), epoch = greatest(epoch + 1000000, $1), core_id = NULL,
    led_since = NULL, pulse_at = NULL, restored_at = clock_timestamp(), quiet_since = NULL,
    restored_id = coalesce((SELECT max(id) FROM jobs), 0), fence_floor = greatest(fence_floor + 1000, $2)
"""
#: How long an attempt may live without contact (`Limits.lease_of`), and what Core waits beyond: $1 and $2, in ms.
_LEASE: Final = "greatest($1::bigint, 2 * j.grace_ms + 10000) + $2::bigint"
_QUIET: Final = """
UPDATE engine_epoch SET quiet_since = clock_timestamp() WHERE restored_at IS NOT NULL AND quiet_since IS NULL
RETURNING restored_id
"""
_HOLD: Final = f"""
WITH won AS (
    UPDATE jobs j SET run_at = greatest(j.run_at, clock_timestamp() + interval '1 millisecond' * ({_LEASE})),
        state = CASE WHEN j.state = ANY ($4::text[]) THEN 'scheduled' ELSE j.state END,
        reason = CASE WHEN j.state = ANY ($4::text[]) THEN $5 ELSE j.reason END,
        message = CASE WHEN j.state = ANY ($4::text[]) THEN $6 ELSE j.message END
    WHERE j.id <= $7 AND j.state = ANY ($3::text[]) AND (j.array_size IS NULL OR j.array_id IS NOT NULL)
    RETURNING j.id, j.user_id, j.state, j.reason, j.message, j.fence
), told AS (
    INSERT INTO job_events (job_id, user_id, state, reason, message, fence)
    SELECT id, user_id, state, reason, message, fence FROM won WHERE message = $6
)
SELECT count(*) FROM won WHERE message = $6
"""  # noqa: S608 the lease is the constant above
HELD_BACK: Final = "restored from a backup: an attempt that the backup does not know may still run"


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


async def carry_over(connection: asyncpg.Connection) -> None:
    """Make the feed of events fit another server. Before there are triggers and row security; in any older schema."""
    if await connection.fetchval("SELECT to_regclass('webhook_cursor') IS NULL"):
        await _renumber(connection, "3")
        return
    place = await connection.fetchrow(_PLACES)
    told = f"(xid, seq) <= ('{place['xid']:d}'::xid8, {place['seq']:d})"
    later = f"'{{{','.join(f'{xid:d}' for xid in place['later'])}}}'::bigint[]"
    await _renumber(connection, f"CASE WHEN {told} THEN 3 ELSE 3 + width_bucket(xid::text::bigint, {later}) END")
    await connection.execute(_WEBHOOKS, place["later"])
    await connection.execute(_CURSOR)


async def _renumber(connection: asyncpg.Connection, number: str) -> None:
    """Write the table anew with other numbers: faster than an UPDATE, and no dead rows stay behind."""
    change = f"ALTER COLUMN xid TYPE xid8 USING ({number})::text::xid8"
    await connection.execute(f"ALTER TABLE job_events {change}")


async def begin_anew(connection: asyncpg.Connection, wall_ms: int, taken_at: str) -> None:
    """Put this database beyond everything that an earlier Core may have given out since the backup.

    Terms and epochs go on from the wall clock in milliseconds, fences from its seconds, so that two restores of one
    backup differ, too. Workers join anew, and tell what they hold.
    """
    await connection.execute(_BEGIN, wall_ms, (wall_ms - EPOCH_MS) // 1_000)
    await connection.execute("UPDATE workers SET session = ''")
    await connection.execute("DELETE FROM cores")
    await connection.execute("INSERT INTO audit_log (action, subject) VALUES ('backup restored', $1)", taken_at)


async def hold_back(connection: asyncpg.Connection, lease_ms: int, slack_ms: int) -> int:
    """Let waiting jobs of a backup wait until no attempt can live that it does not know; return how many were queued.

    The first start after a restore does it, as the engine; at any other there is nothing to do.
    """
    async with connection.transaction():
        restored_id = await connection.fetchval(_QUIET)
        if restored_id is None:
            return 0
        queued = sources(JobState.SCHEDULED, by=Actor.RESTORE)
        values = (lease_ms, slack_ms, list(WAITING), queued, WaitReason.START_TIME.value, HELD_BACK, restored_id)
        held: int = await connection.fetchval(_HOLD, *values)
        return held


async def quiet_for_ms(store: Store) -> int | None:
    """Return how long ago the first start after a restore was; None where there was no restore."""
    query = "SELECT (extract(epoch FROM clock_timestamp() - quiet_since) * 1000)::bigint FROM engine_epoch"
    passed_ms: int | None = await store.fetchval(query)
    return passed_ms
