"""Every change of a job's state, in the order of commits, as the feed for people.

Transactions that are still open hide everything younger than they are, so a reader that goes on from where it was never
skips an event (PostgreSQL manual, 9.27.8: pg_snapshot_xmin).
"""

from datetime import datetime
from typing import Final

from msgspec import Struct

from swarmsync.store.lists import Row
from swarmsync.store.pool import Store
from swarmsync.store.users import Caller

EVENTS_MAX: Final = 500
_READ: Final = """
SELECT e.xid::text AS xid, e.seq, e.at, e.job_id, e.state, e.reason, e.message, e.fence, w.name AS worker
FROM job_events e LEFT JOIN workers w ON w.id = e.worker_id
WHERE (e.xid, e.seq) > ($1::text::xid8, $2) AND e.xid < pg_snapshot_xmin(pg_current_snapshot())
  AND ($3::timestamptz IS NULL OR e.at >= $3) AND ($4::bigint IS NULL OR e.job_id = $4)
ORDER BY e.xid, e.seq LIMIT $5
"""


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
    return Place(int(await store.run(lambda c: c.fetchval(query), **caller.settings)), 0)


async def read(
    store: Store, caller: Caller, place: Place, *, oldest: datetime | None = None, job_id: int | None = None
) -> list[Row]:
    """Return up to EVENTS_MAX events behind `place`; `oldest` spares the day partitions that lie before."""
    values = (str(place.xid), place.seq, oldest, job_id, EVENTS_MAX)
    rows: list[Row] = await store.run(
        lambda c: c.fetch(_READ, *values), **caller.settings, plan_cache_mode="force_custom_plan"
    )
    return rows
