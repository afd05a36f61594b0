"""What the API reads of jobs: pages by keyset, one job with its attempts, and what waits in front of it.

Every function runs as its caller: row-level security hides other people's rows, and where the caller is no operator the
statement asks for the caller's own rows, too.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import asyncpg
from msgspec import Struct

from swarmsync import ids
from swarmsync.model.lifecycle import PLACED, JobState
from swarmsync.store.pool import Store
from swarmsync.store.users import Caller

Row = Mapping[str, Any]

ASSIGNMENTS_MAX: Final = 200
AHEAD_MAX: Final = 100_000
CANDIDATES_MAX: Final = 6
#: With the values at hand the planner can use the partial indexes on states.
_PLANS: Final = {"plan_cache_mode": "force_custom_plan"}
#: Lists leave out specs that are larger: a page stays small whatever people submit.
LISTED_SPEC_BYTES_MAX: Final = 16 << 10
_SELECT: Final = """
SELECT j.id, j.user_id, u.username, j.name, j.queue, j.state, j.reason, j.message, j.since, j.priority, j.labels,
    s.document, j.submitted_at, j.started_at, j.finished_at, j.fence, w.name AS worker, j.exit_code, j.rerun_of,
    j.schedule_id, j.array_id, j.array_index, j.array_size, j.run_at, j.expires_at, j.result, j.stop_reason,
    j.assignment_state, j.offered_at, j.prepared, j.cpus_milli, j.memory_bytes, j.gpus, j.disk_bytes,
    p.reason AS shape_reason, p.message AS shape_message, p.since AS shape_since,
    j.shape, j.line, j.rules, j.concurrency_key, j.deadline_at, j.image, j.grace_ms,
    w.liveness AS worker_liveness, w.last_pulse_at AS worker_pulse_at
FROM jobs j
JOIN users u ON u.id = j.user_id
JOIN specs s ON s.id = j.spec_id
LEFT JOIN workers w ON w.id = j.worker_id
LEFT JOIN waiting_lines p ON p.line = j.line AND j.state = 'queued'
"""
_LISTED: Final = _SELECT.replace(
    "s.document",
    f"CASE WHEN octet_length(s.document) <= {LISTED_SPEC_BYTES_MAX} THEN s.document END AS document",
)


class JobFilter(Struct, frozen=True):
    """Which jobs a list shows; None is no condition. Members of arrays are shown only where `array_id` is given."""

    limit: int
    before_id: int | None = None
    states: tuple[JobState, ...] | None = None
    username: str | None = None
    queue: str | None = None
    name: str | None = None  # a `*` at its end stands for anything
    labels: str | None = None  # a JSON object that the job's labels contain
    schedule_id: int | None = None
    worker: str | None = None
    since: datetime | None = None
    array_id: int | None = None


class JobDetail(Struct, frozen=True):
    job: Row
    assignments: Sequence[Row]
    members: Mapping[str, int] | None  # of an array: how many in each state
    stored: Mapping[int, int]  # bytes of output in PostgreSQL by stream, while the job is not final


class Conditions:
    """A WHERE clause whose values are parameters."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._parts: list[str] = []

    def add(self, text: str, value: Any) -> None:
        """Add a condition; `$` in it stands for the value, None means no condition."""
        if value is not None:
            self.values.append(value)
            self._parts.append(text.replace("$", f"${len(self.values)}"))

    def plain(self, text: str) -> None:
        self._parts.append(text)

    @property
    def clause(self) -> str:
        return f"WHERE {' AND '.join(self._parts)}" if self._parts else ""


async def page(store: Store, caller: Caller, wanted: JobFilter) -> list[Row]:
    """Return up to `limit` + 1 jobs, newest first; the one too many says that there are more."""
    where = _conditions(caller, wanted)
    query = f"{_LISTED} {where.clause} ORDER BY j.id DESC LIMIT {wanted.limit + 1:d}"
    rows: list[Row] = await store.run(lambda c: c.fetch(query, *where.values), **caller.settings, **_PLANS)
    return rows


def _conditions(caller: Caller, wanted: JobFilter) -> Conditions:
    where = Conditions()
    where.add("j.user_id = $", None if caller.is_operator else caller.user_id)
    where.add("j.id < $", wanted.before_id)
    if wanted.array_id is None:
        where.plain("j.array_id IS NULL")
    where.add("j.array_id = $", wanted.array_id)
    where.add("j.state = ANY ($::text[])", None if wanted.states is None else [s.value for s in wanted.states])
    where.add("j.user_id = (SELECT id FROM users WHERE username = $)", wanted.username)
    where.add("j.queue = $", wanted.queue)
    if wanted.name is not None and wanted.name.endswith("*"):
        where.add("starts_with(j.name, $)", wanted.name[:-1])
    else:
        where.add("j.name = $", wanted.name)
    where.add("j.labels @> $::jsonb", wanted.labels)
    if wanted.labels is not None:
        where.plain("j.labels <> '{}'")  # lets the planner use the index, which holds these rows only
    where.add("j.schedule_id = $", wanted.schedule_id)
    where.add("j.worker_id = (SELECT id FROM workers WHERE name = $)", wanted.worker)
    where.add("j.submitted_at >= $", wanted.since)
    if wanted.since is not None:  # ids begin with the time: this bounds the scan
        oldest_ms = int((wanted.since - timedelta(minutes=5)).timestamp() * 1000) - ids.EPOCH_MS
        where.add("j.id >= $", min(max(oldest_ms, 0) << 22, (1 << 63) - 1))
    return where


async def detail(connection: asyncpg.Connection, job_id: int) -> JobDetail | None:
    """Return one job and what belongs to it, or None where the caller may not see it."""
    row = await connection.fetchrow(f"{_SELECT} WHERE j.id = $1", job_id)
    if row is None:
        return None
    assignments = await connection.fetch(_ASSIGNMENTS, job_id, ASSIGNMENTS_MAX) if row["fence"] else []
    members = None
    if row["array_size"] is not None and row["array_id"] is None:
        counted = await connection.fetch(_MEMBERS, job_id)
        members = {entry["state"]: entry["jobs"] for entry in counted}
    stored: dict[int, int] = {}
    if row["fence"] and row["state"] in PLACED:
        ends = await connection.fetch(_STORED, job_id, row["fence"], row["submitted_at"] - timedelta(days=1))
        stored = {entry["stream"]: entry["bytes"] for entry in ends if entry["bytes"] is not None}
    return JobDetail(row, list(reversed(assignments)), members, stored)


_ASSIGNMENTS: Final = """
SELECT a.fence, a.state, a.outcome, a.reason, a.message, a.exit_code, a.offered_at, a.started_at, a.ended_at,
    a.superseded, w.name AS worker
FROM assignments a LEFT JOIN workers w ON w.id = a.worker_id WHERE a.job_id = $1 ORDER BY a.fence DESC LIMIT $2
"""
_MEMBERS: Final = "SELECT state, count(*) AS jobs FROM jobs WHERE array_id = $1 GROUP BY state"
_STORED: Final = """
SELECT k.stream, (SELECT c.start + length(c.data) FROM output_chunks c
                  WHERE c.job_id = $1 AND c.fence = $2 AND c.stream = k.stream AND c.at >= $3
                  ORDER BY c.start DESC LIMIT 1) AS bytes
FROM (VALUES (1), (2)) AS k (stream)
"""


async def state_of(store: Store, caller: Caller, job_id: int) -> Row | None:
    """Return state, fence and worker of one job: what those who wait for it look at."""
    query = (
        "SELECT state, reason, message, fence, exit_code, submitted_at, array_size, array_id, result"
        " FROM jobs WHERE id = $1"
    )
    row: Row | None = await store.run(lambda c: c.fetchrow(query, job_id), **caller.settings)
    return row


async def candidates(store: Store, caller: Caller, low: int, high: int) -> list[int]:
    """Return the first few jobs whose ids lie in this range, newest first."""
    query = "SELECT id FROM jobs WHERE id BETWEEN $1 AND $2 ORDER BY id DESC LIMIT $3"
    rows = await store.run(lambda c: c.fetch(query, low, high, CANDIDATES_MAX), **caller.settings)
    return [row["id"] for row in rows]


async def member(store: Store, caller: Caller, array_id: int, index: int) -> int | None:
    query = "SELECT id FROM jobs WHERE array_id = $1 AND array_index = $2"
    found: int | None = await store.run(lambda c: c.fetchval(query, array_id, index), **caller.settings)
    return found


async def unsuccessful(store: Store, caller: Caller, array_id: int) -> list[int]:
    """Return the indexes of an array's members that ended without success, in order."""
    query = (
        "SELECT array_index FROM jobs"
        " WHERE array_id = $1 AND finished_at IS NOT NULL AND state <> $2 ORDER BY array_index"
    )
    rows = await store.run(lambda c: c.fetch(query, array_id, JobState.SUCCEEDED.value), **caller.settings)
    return [row["array_index"] for row in rows]


async def ahead(store: Store, caller: Caller, job_id: int) -> int | None:
    """Count the queued jobs that come before this one; only as far as the caller sees them, up to AHEAD_MAX."""
    query = """
    SELECT count(*) FROM (
        SELECT FROM jobs o JOIN jobs j ON j.id = $1 AND j.state = 'queued'
        WHERE o.state = 'queued' AND o.queue = j.queue AND (o.array_size IS NULL OR o.array_id IS NOT NULL)
          AND (o.priority > j.priority OR (o.priority = j.priority AND o.id < j.id)) LIMIT $2) AS front
    """
    found: int = await store.run(lambda c: c.fetchval(query, job_id, AHEAD_MAX), **caller.settings)
    return found
