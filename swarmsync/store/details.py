"""One job with its attempts, and for those who want it its past: each trip to PostgreSQL wakes two processes.

What belongs to the job comes in one statement. What lies in partitions by time (events, stored output) is asked for by
itself, with the job's time as a parameter: so PostgreSQL plans it anew and opens no other partitions. A statement that
serves every job would lock a month of them each time. Runs as its caller: row-level security hides other people's rows.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import asyncpg
from msgspec import Struct

from swarmsync.model.lifecycle import PLACED
from swarmsync.store.attempts import ATTEMPTS
from swarmsync.store.lists import COLUMNS, TABLES, Row

ASSIGNMENTS_MAX: Final = 200
EVENTS_MAX: Final = 4_000
REASONS_MAX: Final = 4_000
#: The row's `submitted_at` is of the API's clock, and a clock may be set back: looked for is also in a day before.
_EARLIER: Final = timedelta(days=1)

#: What travels as an array of records; asyncpg reads a record as a tuple.
_ASSIGNMENT: Final = {
    name: f"a.{name}"
    for name in (
        "fence", "state", "outcome", "reason", "message", "exit_code", "offered_at", "started_at", "ended_at",
        "superseded", "result",
    )
} | {"worker": "v.name"}  # fmt: skip
_REASON: Final = {name: f"r.{name}" for name in ("since", "reason")}

#: $1 job, $2 whether the reasons are wanted. The reason that held when the job came is the last one of (line, since) up
#: to there, if it is one of its line: asked for by the line alone, PostgreSQL walks back through those of all lines.
_READ: Final = f"""
SELECT {COLUMNS}, clock_timestamp() AS now,
    CASE WHEN j.fence > 0 THEN ARRAY(
        SELECT ROW({", ".join(_ASSIGNMENT.values())})
        FROM {ATTEMPTS} a LEFT JOIN workers v ON v.id = a.worker_id
        WHERE a.job_id = j.id ORDER BY a.fence DESC LIMIT {ASSIGNMENTS_MAX}) END AS assignments,
    CASE WHEN j.array_size IS NOT NULL AND j.array_id IS NULL THEN ARRAY(
        SELECT ROW(m.state, count(*)) FROM jobs m WHERE m.array_id = j.id GROUP BY m.state) END AS members,
    CASE WHEN $2::boolean THEN ARRAY(
        SELECT ROW({", ".join(_REASON.values())}) FROM (
            (SELECT b.since, b.reason FROM (
                SELECT l.line, l.since, l.reason FROM line_reasons l
                WHERE (l.line, l.since) <= (j.line, j.submitted_at) ORDER BY l.line DESC, l.since DESC LIMIT 1) b
             WHERE b.line = j.line)
            UNION ALL
            (SELECT l.since, l.reason FROM line_reasons l
             WHERE l.line = j.line AND l.since > j.submitted_at AND l.since < COALESCE(j.finished_at, clock_timestamp())
             ORDER BY l.since LIMIT {REASONS_MAX})) r) END AS reasons
FROM {TABLES} WHERE j.id = $1
"""  # noqa: S608 made of the constants above
_STORED: Final = """
SELECT k.stream, (SELECT c.start + length(c.data) FROM output_chunks c
                  WHERE c.job_id = $1 AND c.fence = $2 AND c.stream = k.stream AND c.at >= $3
                  ORDER BY c.start DESC LIMIT 1) AS bytes
FROM (VALUES (1), (2)) AS k (stream)
"""
_EVENTS: Final = """
SELECT at, state, reason, message, fence FROM job_events WHERE job_id = $1 AND at >= $2 ORDER BY seq LIMIT $3
"""


class JobDetail(Struct, frozen=True):
    job: Row
    assignments: Sequence[Row]  # those that have ended, the last of them last
    members: Mapping[str, int] | None = None  # of an array: how many in each state
    stored: Mapping[int, int] = {}  # bytes of output in PostgreSQL by stream, while the job is not final
    reasons: Sequence[Row] = ()  # where wanted: why jobs of its line waited, and since when

    @property
    def every_assignment(self) -> Sequence[Row] | None:
        """The assignments, unless there are more than were read."""
        return self.assignments if len(self.assignments) < ASSIGNMENTS_MAX else None

    @property
    def until(self) -> datetime:
        """When it ended, or the moment of this reading."""
        moment: datetime = self.job["finished_at"] or self.job["now"]
        return moment


async def read(connection: asyncpg.Connection, job_id: int, *, reasons: bool = False) -> JobDetail | None:
    """Return one job and what belongs to it, or None where the caller may not see it."""
    row = await connection.fetchrow(_READ, job_id, reasons)
    if row is None:
        return None
    stored: dict[int, int] = {}
    if row["fence"] and row["state"] in PLACED:
        ends = await connection.fetch(_STORED, job_id, row["fence"], row["submitted_at"] - _EARLIER)
        stored = {entry["stream"]: entry["bytes"] for entry in ends if entry["bytes"] is not None}
    return JobDetail(
        row,
        _rows(_ASSIGNMENT, reversed(row["assignments"] or ())),
        None if row["members"] is None else dict(row["members"]),
        stored,
        _rows(_REASON, row["reasons"] or ()),
    )


async def events(connection: asyncpg.Connection, job: Row) -> list[Row]:
    """Return what was said of a job, oldest first, as far as it is kept."""
    found: list[Row] = await connection.fetch(_EVENTS, job["id"], job["submitted_at"] - _EARLIER, EVENTS_MAX)
    return found


def _rows(names: Mapping[str, str], records: Any) -> list[Row]:
    return [dict(zip(names, record, strict=True)) for record in records]
