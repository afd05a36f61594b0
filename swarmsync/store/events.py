"""Every change of a job's state, in the order of commits, as the feed for people; and what was so at a moment.

Transactions that are still open hide everything younger than they are, so a reader that goes on from where it was never
skips an event (PostgreSQL manual, 9.27.8: pg_snapshot_xmin).
"""

from datetime import datetime
from typing import Final

import asyncpg
from msgspec import Struct

from swarmsync.model.lifecycle import FINAL
from swarmsync.store.lists import Row
from swarmsync.store.pool import Store
from swarmsync.store.users import Caller

EVENTS_MAX: Final = 500
_FINAL: Final = [state.value for state in FINAL]
_COLUMNS: Final = """
e.xid::text AS xid, e.seq, e.at, e.job_id, e.state, e.reason, e.message, e.fence, w.name AS worker, u.username,
j.name, j.queue, j.cpus_milli, j.memory_bytes, j.array_index, j.array_size
"""
_READ: Final = f"""
SELECT {_COLUMNS}
FROM job_events e LEFT JOIN workers w ON w.id = e.worker_id LEFT JOIN users u ON u.id = e.user_id
    LEFT JOIN jobs j ON j.id = e.job_id
WHERE (e.xid, e.seq) > ($1::text::xid8, $2) AND e.xid < pg_snapshot_xmin(pg_current_snapshot())
  AND ($3::timestamptz IS NULL OR e.at >= $3) AND ($4::bigint IS NULL OR e.job_id = $4)
  AND ($6::timestamptz IS NULL OR e.at <= $6)
ORDER BY e.xid, e.seq LIMIT $5
"""  # noqa: S608 the columns are the constant above
#: The last event of every job that had not ended at $1. Events are looked for only in the day partitions of its life.
_SNAPSHOT: Final = f"""
SELECT {_COLUMNS}
FROM jobs j
CROSS JOIN LATERAL (
    SELECT * FROM job_events o
    WHERE o.job_id = j.id AND o.at <= $1 AND o.at >= j.submitted_at - interval '10 minutes'
    ORDER BY o.seq DESC LIMIT 1
) e
LEFT JOIN workers w ON w.id = e.worker_id LEFT JOIN users u ON u.id = j.user_id
WHERE j.id > $2 AND (j.finished_at IS NULL OR j.finished_at > $1) AND e.state <> ALL ($4::text[])
  AND ($5::bigint IS NULL OR j.user_id = $5)
ORDER BY j.id LIMIT $3
"""  # noqa: S608 the columns are the constant above


class Place(Struct, frozen=True):
    """A place in the feed: everything up to this transaction and sequence number was read."""

    xid: int
    seq: int

    def __str__(self) -> str:
        return f"{self.xid}-{self.seq}"


BEGINNING: Final = Place(0, 0)


async def now(store: Store, caller: Caller) -> Place:
    """Return the place before everything that is not committed yet."""
    query = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text"
    return Place(int(await store.fetchval(query, **caller.settings)), 0)


async def resumed(store: Store, caller: Caller, place: Place) -> tuple[Place, datetime | None]:
    """Return where a reader that was at `place` goes on, and the time before which it has seen everything.

    A restored Core counts its transactions anew: whoever has seen later events of its predecessor gets those since the
    restore. Without that it would get nothing for a long time.
    """
    query = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS xid, restored_at FROM engine_epoch"
    row = await store.fetchrow(query, **caller.settings)
    if place.xid <= int(row["xid"]):
        return place, None
    return (Place(int(row["xid"]), 0), None) if row["restored_at"] is None else (BEGINNING, row["restored_at"])


async def read(
    store: Store,
    caller: Caller,
    place: Place,
    *,
    oldest: datetime | None = None,
    newest: datetime | None = None,
    job_id: int | None = None,
    limit: int = EVENTS_MAX,
) -> list[Row]:
    """Return up to `limit` events behind `place`; `oldest` and `newest` spare the day partitions outside of them."""
    values = (str(place.xid), place.seq, oldest, job_id, limit, newest)
    rows: list[Row] = await store.fetch(_READ, *values, **caller.settings, plan_cache_mode="force_custom_plan")
    return rows


class Snapshot(Struct, frozen=True):
    """Jobs that had not ended at `at`, each with its last event; `place` is where to read on for what came after."""

    at: datetime
    place: Place
    rows: list[Row]


async def snapshot(store: Store, caller: Caller, *, at: datetime | None, after: int, limit: int) -> Snapshot:
    """Return up to `limit` jobs with ids behind `after`; without `at` it is now."""

    async def work(connection: asyncpg.Connection) -> Snapshot:
        query = "SELECT COALESCE($1, clock_timestamp()) AS at, pg_snapshot_xmin(pg_current_snapshot())::text AS xid"
        now = await connection.fetchrow(query, at)
        owner = None if caller.is_operator else caller.user_id
        rows = await connection.fetch(_SNAPSHOT, now["at"], after, limit, _FINAL, owner)
        return Snapshot(now["at"], Place(int(now["xid"]), 0), rows)

    return await store.run(work, **caller.settings, plan_cache_mode="force_custom_plan")
