"""One job and what belongs to it, read in one statement: each trip to PostgreSQL wakes two processes.

Runs as its caller: row-level security hides other people's rows.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import asyncpg
from msgspec import Struct

from swarmsync.store.lists import COLUMNS, TABLES, Row

ASSIGNMENTS_MAX: Final = 200
EVENTS_MAX: Final = 4_000
REASONS_MAX: Final = 4_000

#: What travels as an array of records, newest or oldest first; asyncpg reads a record as a tuple.
_ASSIGNMENT: Final = {
    name: f"a.{name}"
    for name in (
        "fence", "state", "outcome", "reason", "message", "exit_code", "offered_at", "started_at", "ended_at",
        "superseded", "result",
    )
} | {"worker": "v.name"}  # fmt: skip
_EVENT: Final = {name: f"e.{name}" for name in ("at", "state", "reason", "message", "fence")}
_REASON: Final = {name: f"r.{name}" for name in ("since", "reason")}

#: Events are looked for in the partitions of the job's life and in one before: the row's `submitted_at` is of the API's
#: clock, and a clock may be set back. Reasons are those of the job's line, and the one that held when the job came.
_READ: Final = f"""
SELECT {COLUMNS}, clock_timestamp() AS now,
    CASE WHEN j.fence > 0 THEN ARRAY(
        SELECT ROW({", ".join(_ASSIGNMENT.values())})
        FROM assignments a LEFT JOIN workers v ON v.id = a.worker_id
        WHERE a.job_id = j.id ORDER BY a.fence DESC LIMIT {ASSIGNMENTS_MAX}) END AS assignments,
    ARRAY(
        SELECT ROW({", ".join(_EVENT.values())}) FROM job_events e
        WHERE e.job_id = j.id AND e.at >= j.submitted_at - interval '1 day'
        ORDER BY e.seq LIMIT {EVENTS_MAX}) AS events,
    ARRAY(
        SELECT ROW({", ".join(_REASON.values())}) FROM (
            (SELECT l.since, l.reason FROM line_reasons l
             WHERE l.line = j.line AND l.since <= j.submitted_at ORDER BY l.since DESC LIMIT 1)
            UNION ALL
            (SELECT l.since, l.reason FROM line_reasons l
             WHERE l.line = j.line AND l.since > j.submitted_at AND l.since < COALESCE(j.finished_at, clock_timestamp())
             ORDER BY l.since LIMIT {REASONS_MAX})) r) AS reasons,
    CASE WHEN j.array_size IS NOT NULL AND j.array_id IS NULL THEN ARRAY(
        SELECT ROW(m.state, count(*)) FROM jobs m WHERE m.array_id = j.id GROUP BY m.state) END AS members,
    CASE WHEN j.fence > 0 AND j.state IN ('starting', 'running', 'stopping') THEN ARRAY(
        SELECT ROW(k.stream, (SELECT c.start + length(c.data) FROM output_chunks c
                              WHERE c.job_id = j.id AND c.fence = j.fence AND c.stream = k.stream
                                AND c.at >= j.submitted_at - interval '1 day' ORDER BY c.start DESC LIMIT 1))
        FROM (VALUES (1), (2)) AS k (stream)) END AS stored
FROM {TABLES} WHERE j.id = $1
"""  # noqa: S608 made of the constants above


class JobDetail(Struct, frozen=True):
    job: Row
    assignments: Sequence[Row]  # those that have ended, the last of them last
    members: Mapping[str, int] | None = None  # of an array: how many in each state
    stored: Mapping[int, int] = {}  # bytes of output in PostgreSQL by stream, while the job is not final
    events: Sequence[Row] = ()
    reasons: Sequence[Row] = ()  # why jobs of its line waited, and since when

    @property
    def every_assignment(self) -> Sequence[Row] | None:
        """The assignments, unless there are more than were read."""
        return self.assignments if len(self.assignments) < ASSIGNMENTS_MAX else None

    @property
    def until(self) -> datetime:
        """When it ended, or the moment of this reading."""
        moment: datetime = self.job["finished_at"] or self.job["now"]
        return moment


async def read(connection: asyncpg.Connection, job_id: int) -> JobDetail | None:
    """Return one job and what belongs to it, or None where the caller may not see it."""
    row = await connection.fetchrow(_READ, job_id)
    if row is None:
        return None
    return JobDetail(
        row,
        _rows(_ASSIGNMENT, reversed(row["assignments"] or ())),
        None if row["members"] is None else dict(row["members"]),
        {stream: size for stream, size in row["stored"] or () if size is not None},
        _rows(_EVENT, row["events"]),
        _rows(_REASON, row["reasons"]),
    )


def _rows(names: Mapping[str, str], records: Any) -> list[Row]:
    return [dict(zip(names, record, strict=True)) for record in records]
