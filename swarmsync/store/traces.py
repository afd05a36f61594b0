"""Jobs whose traces are to be sent: those that ended behind a place in the feed, and the traces they belong to."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import asyncpg
import msgspec
from msgspec import Struct

from swarmsync import ids
from swarmsync.model import spans
from swarmsync.model.lifecycle import FINAL
from swarmsync.model.result import read_result
from swarmsync.model.spans import Attempt, Ended
from swarmsync.store.attempts import ATTEMPTS
from swarmsync.store.events import Place
from swarmsync.store.ledgers import micros
from swarmsync.store.pool import Store
from swarmsync.store.users import Caller

JOBS_MAX: Final = 100
ATTEMPTS_MAX: Final = 50
#: What ended longer ago than this is not sent any more.
REACH: Final = timedelta(hours=1)
KEPT: Final = timedelta(days=30)
_FINAL: Final = [state.value for state in FINAL]
_ENDED: Final = """
SELECT e.xid::text AS xid, e.seq, j.id, j.name, u.username, j.queue, j.state, j.reason, j.message, j.exit_code,
    j.submitted_at, j.finished_at, s.document, t.parent,
    (SELECT min(f.at) FROM job_events f
     WHERE f.job_id = j.id AND f.at >= j.submitted_at - interval '10 minutes') AS stored_at
FROM job_events e
JOIN jobs j ON j.id = e.job_id AND j.finished_at IS NOT NULL AND (j.array_size IS NULL OR j.array_id IS NOT NULL)
JOIN users u ON u.id = j.user_id
JOIN specs s ON s.id = j.spec_id
LEFT JOIN job_traces t ON t.job_id = COALESCE(j.array_id, j.id)
WHERE (e.xid, e.seq) > ($1::text::xid8, $2) AND e.xid < pg_snapshot_xmin(pg_current_snapshot())
  AND e.at >= clock_timestamp() - $3::interval AND e.state = ANY ($4::text[])
ORDER BY e.xid, e.seq LIMIT $5
"""
_ATTEMPTS: Final = f"""
SELECT a.job_id, a.fence, w.name AS worker, a.outcome, a.reason, a.offered_at, a.started_at, a.ended_at, a.result
FROM {ATTEMPTS} a LEFT JOIN workers w ON w.id = a.worker_id
WHERE a.job_id = ANY ($1::bigint[]) AND a.fence <= $2 ORDER BY a.job_id, a.fence
"""  # noqa: S608 constants


class Batch(Struct, frozen=True):
    """Jobs, and the place behind the last of them."""

    jobs: Sequence[Ended]
    place: Place


async def remember(store: Store, caller: Caller, job_ids: Sequence[int], parent: str) -> None:
    """Note the traceparent under which these jobs were submitted."""
    query = (
        "INSERT INTO job_traces (job_id, user_id, parent) SELECT id, $2, $3 FROM unnest($1::bigint[]) AS id"
        " ON CONFLICT DO NOTHING"
    )
    await store.run(lambda c: c.execute(query, list(job_ids), caller.user_id, parent), **caller.settings)


async def ended(store: Store, caller: Caller, place: Place) -> Batch:
    """Return up to JOBS_MAX jobs that ended behind `place`."""

    async def work(connection: asyncpg.Connection) -> Batch:
        rows = await connection.fetch(_ENDED, str(place.xid), place.seq, REACH, _FINAL, JOBS_MAX)
        found = await connection.fetch(_ATTEMPTS, [row["id"] for row in rows], ATTEMPTS_MAX)
        attempts: dict[int, list[Attempt]] = {}
        for row in found:
            attempts.setdefault(row["job_id"], []).append(_attempt(row))
        behind = Place(int(rows[-1]["xid"]), rows[-1]["seq"]) if rows else place
        return Batch([_ended(row, attempts.get(row["id"], [])) for row in rows], behind)

    return await store.run(work, **caller.settings, plan_cache_mode="force_custom_plan")


async def forget(store: Store, caller: Caller, older_than: datetime) -> None:
    await store.run(lambda c: c.execute("DELETE FROM job_traces WHERE at < $1", older_than), **caller.settings)


def _ended(row: Mapping[str, Any], attempts: Sequence[Attempt]) -> Ended:
    document = msgspec.json.decode(row["document"])
    return Ended(
        ids.encode(row["id"]),
        row["name"],
        row["username"],
        row["queue"],
        str(document.get("image", "")),
        row["state"],
        row["reason"],
        row["message"],
        row["exit_code"],
        micros(row["submitted_at"]),
        micros(row["stored_at"] or row["submitted_at"]),
        micros(row["finished_at"]),
        attempts,
        spans.read_parent(row["parent"]) if row["parent"] else None,
    )


def _attempt(row: Mapping[str, Any]) -> Attempt:
    result = read_result(row["result"])
    return Attempt(
        row["fence"],
        row["worker"] or "",
        row["outcome"],
        row["reason"],
        None if row["offered_at"] is None else micros(row["offered_at"]),
        None if row["started_at"] is None else micros(row["started_at"]),
        micros(row["ended_at"]),
        result.get("ran_ms"),
        result.get("spent") or {},
    )
