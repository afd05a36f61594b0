"""What the API reads of jobs: which columns, members of arrays, and what waits in front of a job.

One job with all that belongs to it is in details.py, pages of jobs are in job_pages.py.

Every function runs as its caller: row-level security hides other people's rows, and where the caller is no operator the
statement asks for the caller's own rows, too.
"""

from collections.abc import Mapping
from typing import Any, Final

from swarmsync.model.lifecycle import JobState
from swarmsync.store.pool import Store
from swarmsync.store.users import Caller

Row = Mapping[str, Any]

AHEAD_MAX: Final = 100_000
CANDIDATES_MAX: Final = 6
COLUMNS: Final = """
    j.id, j.user_id, u.username, j.name, j.queue, j.state, j.reason, j.message, j.since, j.priority, j.labels,
    s.document, j.submitted_at, j.started_at, j.finished_at, j.fence, w.name AS worker, j.exit_code, j.rerun_of,
    j.schedule_id, j.array_id, j.array_index, j.array_size, j.run_at, j.expires_at, j.result, j.stop_reason,
    j.assignment_state, j.offered_at, j.prepared, j.cpus_milli, j.memory_bytes, j.gpus, j.disk_bytes,
    p.reason AS shape_reason, p.message AS shape_message, p.since AS shape_since,
    j.shape, j.line, j.rules, j.concurrency_key, j.deadline_at, j.image, j.grace_ms,
    w.liveness AS worker_liveness, w.last_pulse_at AS worker_pulse_at
""".strip()
TABLES: Final = """
jobs j
JOIN users u ON u.id = j.user_id
JOIN specs s ON s.id = j.spec_id
LEFT JOIN workers w ON w.id = j.worker_id
LEFT JOIN waiting_lines p ON p.line = j.line AND j.state = 'queued'
""".strip()
SELECT: Final = f"SELECT {COLUMNS} FROM {TABLES}"  # noqa: S608 constants


class Conditions:
    """A WHERE clause whose values are parameters."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._parts: list[str] = []

    def add(self, text: str, *values: Any) -> None:
        """Add a condition; each `$` in it stands for the next value, None for the first means no condition."""
        if values[0] is None:
            return
        first, *rest = text.split("$")
        for value, part in zip(values, rest, strict=True):
            self.values.append(value)
            first += f"${len(self.values)}{part}"
        self._parts.append(first)

    def plain(self, text: str) -> None:
        self._parts.append(text)

    def copy(self) -> "Conditions":
        """Return the same conditions, to add others to; values go on from these."""
        made = Conditions()
        made.values, made._parts = list(self.values), list(self._parts)
        return made

    @property
    def clause(self) -> str:
        return f"WHERE {' AND '.join(self._parts)}" if self._parts else ""


async def state_of(store: Store, caller: Caller, job_id: int) -> Row | None:
    """Return state, fence and worker of one job: what those who wait for it look at."""
    query = (
        "SELECT state, reason, message, fence, exit_code, submitted_at, array_size, array_id, result"
        " FROM jobs WHERE id = $1"
    )
    row: Row | None = await store.fetchrow(query, job_id, **caller.settings)
    return row


async def candidates(store: Store, caller: Caller, low: int, high: int) -> list[int]:
    """Return the first few jobs whose ids lie in this range, newest first."""
    query = "SELECT id FROM jobs WHERE id BETWEEN $1 AND $2 ORDER BY id DESC LIMIT $3"
    rows = await store.fetch(query, low, high, CANDIDATES_MAX, **caller.settings)
    return [row["id"] for row in rows]


async def member(store: Store, caller: Caller, array_id: int, index: int) -> int | None:
    query = "SELECT id FROM jobs WHERE array_id = $1 AND array_index = $2"
    found: int | None = await store.fetchval(query, array_id, index, **caller.settings)
    return found


async def unsuccessful(store: Store, caller: Caller, array_id: int) -> list[int]:
    """Return the indexes of an array's members that ended without success, in order."""
    query = (
        "SELECT array_index FROM jobs"
        " WHERE array_id = $1 AND finished_at IS NOT NULL AND state <> $2 ORDER BY array_index"
    )
    rows = await store.fetch(query, array_id, JobState.SUCCEEDED.value, **caller.settings)
    return [row["array_index"] for row in rows]


async def ahead(store: Store, caller: Caller, job_id: int) -> int | None:
    """Count the queued jobs that come before this one; only as far as the caller sees them, up to AHEAD_MAX."""
    query = """
    SELECT count(*) FROM (
        SELECT FROM jobs o JOIN jobs j ON j.id = $1 AND j.state = 'queued'
        WHERE o.state = 'queued' AND o.queue = j.queue AND (o.array_size IS NULL OR o.array_id IS NOT NULL)
          AND (o.priority > j.priority OR (o.priority = j.priority AND o.id < j.id)) LIMIT $2) AS front
    """
    found: int = await store.fetchval(query, job_id, AHEAD_MAX, **caller.settings)
    return found
