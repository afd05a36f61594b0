"""Cores of one database: what they share, which of them leads, and since when.

Whoever holds the advisory lock may take over. A take-over raises the term in the row that every statement of the
engine's modules is checked against (`check_term`), then ends the sessions of the earlier term: what they had not
committed by then never is.
"""

from collections.abc import Mapping
from typing import Any, Final

import asyncpg

from swarmsync.errors import ConfigError
from swarmsync.store.migrate import LOCK as SET_UP_LOCK
from swarmsync.store.pool import Store
from swarmsync.store.users import Caller

LOCK: Final = 0x5357_4C44
#: The application name of the session that holds the lock; the modules' names begin alike.
HOLDER: Final = "swarmsync lead"
#: A Core that has not been seen for this long is shown as away, and forgotten after a day.
AWAY_S: Final = 10
_CORE: Final = """
INSERT INTO cores (id, name, address, version, alone) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (id) DO UPDATE SET name = $2, address = $3, version = $4, alone = $5, seen_at = clock_timestamp()"""
_TAKE: Final = """
UPDATE engine_epoch SET term = term + 1, epoch = epoch + 1, core_id = $1, led_since = clock_timestamp(),
    pulse_at = CASE WHEN $2 THEN clock_timestamp() END
RETURNING term"""
_TRY: Final = """
SELECT coalesce(pulse_at < clock_timestamp() - make_interval(secs => $2), true) AS stale,
    pg_try_advisory_lock($1) AS locked,
    (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid = 0 AND objid = $1::bigint
        AND objsubid = 1 AND granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) AS holder
FROM engine_epoch"""
#: $2: how long (ms) each is waited for; PostgreSQL looks every 100 ms, so all are told before any is waited for.
_END_MODULES: Final = """
SELECT count(pg_terminate_backend(pid, $2)) FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
  AND application_name LIKE 'swarmsync %' AND application_name <> $1"""
_ALL: Final = """
SELECT c.*, c.id = e.core_id AS leads, e.term, e.led_since,
    c.alone OR c.seen_at > clock_timestamp() - make_interval(secs => $1) AS there
FROM cores c CROSS JOIN engine_epoch e ORDER BY leads DESC NULLS LAST, c.started_at, c.id"""


async def agree(url: str, own: Mapping[str, str], core_id: str, seal_ids: frozenset[str]) -> dict[str, str]:
    """Return `own` with what all Cores of this database must have alike: the first one's word holds.

    Raises ConfigError where another Core lives whose seal key is not on this one's ring: what users sealed there
    would not open here.
    """
    connection = await asyncpg.connect(url, timeout=10, command_timeout=120)
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", SET_UP_LOCK)
        await connection.execute("CREATE SCHEMA IF NOT EXISTS swarmsync_shared")  # of the owner: no role may look in
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS swarmsync_shared.words (name text PRIMARY KEY, value text NOT NULL)"
        )
        words = {**own, "seal_id": min(seal_ids)}
        await connection.executemany(
            "INSERT INTO swarmsync_shared.words VALUES ($1, $2) ON CONFLICT DO NOTHING", list(words.items())
        )
        shared = dict(await connection.fetch("SELECT name, value FROM swarmsync_shared.words"))
        if shared.pop("seal_id") not in seal_ids:
            await _change_seal(connection, core_id, min(seal_ids))
        return {name: shared[name] for name in own}
    finally:
        await connection.close()


async def agreed(url: str) -> dict[str, str]:
    """Return what Cores of this database have agreed on; nothing where a Core is alone on it."""
    connection = await asyncpg.connect(url, timeout=10, command_timeout=120)
    try:
        if await connection.fetchval("SELECT to_regclass('swarmsync_shared.words') IS NULL"):
            return {}
        return dict(await connection.fetch("SELECT name, value FROM swarmsync_shared.words"))
    finally:
        await connection.close()


async def alive(connection: asyncpg.Connection) -> list[str]:
    """Return the addresses of Cores that work on this database, which several can reach."""
    if await connection.fetchval("SELECT to_regclass('swarmsync.cores') IS NULL"):
        return []
    query = "SELECT address FROM swarmsync.cores WHERE NOT alone AND seen_at > clock_timestamp() - $1 * interval '1 s'"
    return [row[0] for row in await connection.fetch(query, AWAY_S)]


async def _change_seal(connection: asyncpg.Connection, core_id: str, seal_id: str) -> None:
    others = await connection.fetchval("SELECT to_regclass('swarmsync.cores') IS NOT NULL") and await connection.fetch(
        "SELECT address FROM swarmsync.cores WHERE id <> $1 AND seen_at > clock_timestamp() - interval '1 minute'",
        core_id,
    )
    if others:
        raise ConfigError(
            f"this Core's seal key is not that of the Core at {others[0]['address']}: give both the same"
            " SWARMSYNC_SEAL_KEY, or copy its seal.keys into this data directory"
        )
    await connection.execute("UPDATE swarmsync_shared.words SET value = $1 WHERE name = 'seal_id'", seal_id)


async def tell(connection: asyncpg.Connection, core: tuple[str, str, str, str], *, alone: bool) -> None:
    """Write that the Core (id, name, address, version) is there."""
    await connection.execute(_CORE, *core, alone)
    await connection.execute(
        "DELETE FROM cores WHERE id <> $1 AND seen_at < clock_timestamp() - interval '1 day'", core[0]
    )


async def lead_alone(connection: asyncpg.Connection, core: tuple[str, str, str, str]) -> int:
    """Take over on a database that only this Core has; return the term."""
    await tell(connection, core, alone=True)
    term: int = await connection.fetchval(_TAKE, core[0], False)
    return term


async def try_to_lead(
    connection: asyncpg.Connection, core_id: str, silent_s: float, suspect: int = 0
) -> tuple[int, int]:
    """Take over if nobody leads: (the term or 0, the session that holds the lock in silence or 0).

    A holder that is silent, and was so at the last look (`suspect`), is shut out: one that has just begun is not.
    """
    row = await connection.fetchrow(_TRY, LOCK, silent_s)
    if not row["locked"]:
        holder = row["holder"] or 0 if row["stale"] else 0
        if holder and holder == suspect:
            await connection.execute("SELECT pg_terminate_backend($1)", holder)
        return 0, holder
    term: int = await connection.fetchval(_TAKE, core_id, True)
    for wait_ms in (0, 1_000):
        await connection.execute(_END_MODULES, HOLDER, wait_ms)
    return term, 0


async def still_leads(connection: asyncpg.Connection, term: int) -> bool:
    """Renew the lead of this term; False when another one has begun."""
    query = "UPDATE engine_epoch SET pulse_at = clock_timestamp() WHERE term = $1 RETURNING term"
    return bool(await connection.fetchval(query, term))


async def leave(connection: asyncpg.Connection, core_id: str, term: int) -> None:
    """Say goodbye: the next one need not wait."""
    await connection.execute("UPDATE engine_epoch SET pulse_at = NULL WHERE term = $1", term)
    await connection.execute("DELETE FROM cores WHERE id = $1", core_id)
    await connection.execute("SELECT pg_advisory_unlock_all()")


async def listed(store: Store, caller: Caller) -> list[Mapping[str, Any]]:
    """Return all Cores, the leading one first."""
    rows: list[Mapping[str, Any]] = await store.fetch(_ALL, AWAY_S, **caller.settings)
    return rows
