"""What the rows say of a job that waits: the parents it comes after, and why the members of an array wait."""

from typing import Final

import asyncpg
from msgspec import Struct

from swarmsync.store.lists import Row

PARENTS_MAX: Final = 1_000
REASONS_MAX: Final = 100
_PARENTS: Final = """
SELECT d.parent_id, d.condition, d.met, p.state, p.since
FROM job_dependencies d LEFT JOIN jobs p ON p.id = d.parent_id
WHERE d.job_id = $1 AND d.met IS DISTINCT FROM true ORDER BY d.parent_id LIMIT $2
"""
_MEMBERS: Final = """
SELECT m.state, COALESCE(NULLIF(m.reason, ''), p.reason, '') AS reason,
    min(COALESCE(NULLIF(m.message, ''), p.message, '')) AS message, count(*) AS jobs, min(m.since) AS since
FROM jobs m LEFT JOIN waiting_lines p ON p.line = m.line AND m.state = 'queued'
WHERE m.array_id = $1 AND m.state IN ('held', 'scheduled', 'blocked', 'queued')
GROUP BY 1, 2 ORDER BY 4 DESC LIMIT $2
"""
_STATES: Final = "SELECT id, state FROM jobs WHERE id = ANY ($1::bigint[])"


class Parent(Struct, frozen=True):
    """A job that another comes after; `state` is None where its record is gone."""

    job_id: int
    condition: str
    met: bool | None
    state: str | None


class Waits(Struct, frozen=True):
    parents: list[Parent]
    members: list[Row]  # state, reason, message, jobs, since; of an array's own row only


async def read(connection: asyncpg.Connection, job: Row) -> Waits:
    """Return what is unmet of a job that `details.read` has read; members wait for what their array waits for."""
    own = job["array_id"] if job["array_id"] is not None else job["id"]
    rows = await connection.fetch(_PARENTS, own, PARENTS_MAX)
    parents = [Parent(row["parent_id"], row["condition"], row["met"], row["state"]) for row in rows]
    is_array = job["array_size"] is not None and job["array_id"] is None
    members = await connection.fetch(_MEMBERS, job["id"], REASONS_MAX) if is_array else []
    return Waits(parents, members)


async def states(connection: asyncpg.Connection, job_ids: list[int]) -> dict[int, str]:
    """Return the states of those of the jobs that the caller may see."""
    return {row["id"]: row["state"] for row in await connection.fetch(_STATES, job_ids)}
