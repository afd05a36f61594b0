"""What people do to jobs that exist: cancel, kill, hold, release, change, delete.

Each is one transaction as the caller: the job's row says whether the action makes sense, guarded statements do it, and
every change leaves an event, which is what the engine acts on. Members of an array are locked before the array's row,
in the order of their ids, as the engine does.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import asyncpg
import msgspec
from msgspec import UNSET, Struct, UnsetType

from swarmsync import ids
from swarmsync.errors import Conflict, NotFound
from swarmsync.model.fields import Duration
from swarmsync.model.lifecycle import FINAL, WAITING, Actor, EndReason, JobState, WaitReason, sources
from swarmsync.model.rules import line_of
from swarmsync.protocol.codec import decode_stored_spec
from swarmsync.store import details, queues
from swarmsync.store.details import JobDetail
from swarmsync.store.lists import Row
from swarmsync.store.pool import Store
from swarmsync.store.queries import sql
from swarmsync.store.submit import draft
from swarmsync.store.users import Caller

_CANCELLED: Final = sources(JobState.CANCELLED, by=Actor.API)
_STOPPING: Final = sources(JobState.STOPPING, by=Actor.API)
_HELD: Final = sources(JobState.HELD, by=Actor.API)
_WAITING: Final = [state.value for state in WAITING]
_FINAL: Final = frozenset(state.value for state in FINAL)


class Done(Struct, frozen=True):
    """The job as it is now, and the jobs that were changed, for the hint to the engine."""

    detail: JobDetail
    changed: list[int]


class Changes(Struct, frozen=True):
    """What PATCH may change; None leaves it, but for `timeout`, which it takes away. A label of None is removed."""

    name: str | None = None
    labels: dict[str, str | None] | None = None
    priority: int | None = None
    queue: str | None = None
    timeout: Duration | UnsetType | None = UNSET

    @property
    def needs_waiting(self) -> bool:
        return not (self.priority is None and self.queue is None and self.timeout is UNSET)


async def stop(store: Store, caller: Caller, job_id: int, *, kill: bool, message: str) -> Done:
    """Cancel or kill. Raises Conflict when the job has ended; asking again for what happens already is fine."""

    async def work(connection: asyncpg.Connection, job: Row) -> list[int]:
        if job["state"] in _FINAL:
            raise Conflict(f"the job has ended already: it {_ended(job)}")
        is_array = _is_array(job)
        stoppable = [*_STOPPING, JobState.STOPPING.value] if kill else _STOPPING
        ends_here, reason = JobState.CANCELLED.value, EndReason.CANCELLED_BY_USER.value
        won = await connection.fetch(
            sql("stop"),
            job_id,
            is_array,
            _CANCELLED,
            ends_here,
            stoppable,
            JobState.STOPPING.value,
            reason,
            message,
            kill,
        )
        changed = [row["id"] for row in won]
        if is_array:
            changed += await _stop_array(connection, job_id, message)
        return changed

    return await _act(store, caller, job_id, work)


async def _stop_array(connection: asyncpg.Connection, array_id: int, message: str) -> list[int]:
    """Bring the array's own row along: to its end when no member ever started, else the Harvester ends it."""
    members = await connection.fetch("SELECT DISTINCT state FROM jobs WHERE array_id = $1", array_id)
    values = (JobState.STOPPING.value, EndReason.CANCELLED_BY_USER.value, message)
    if {row["state"] for row in members} == {JobState.CANCELLED.value}:
        won = await connection.fetch(
            sql("stop"), array_id, False, _CANCELLED, JobState.CANCELLED.value, [], *values, False
        )
        return [row["id"] for row in won]
    await connection.execute(
        "UPDATE jobs SET stop_reason = COALESCE(stop_reason, $3), message = $4,"
        " since = CASE WHEN state = $5 THEN clock_timestamp() ELSE since END,"
        " reason = CASE WHEN state = $5 THEN $3 ELSE reason END, state = CASE WHEN state = $5 THEN $2 ELSE state END"
        " WHERE id = $1 AND state <> $2 AND finished_at IS NULL",
        array_id,
        *values,
        JobState.RUNNING.value,
    )
    return [array_id]


async def hold(store: Store, caller: Caller, job_id: int) -> Done:
    """Keep a waiting job from starting. Raises Conflict when it waits no more."""

    async def work(connection: asyncpg.Connection, job: Row) -> list[int]:
        if job["state"] not in _WAITING and not (_is_array(job) and job["state"] not in _FINAL):
            raise Conflict(f"only a job that waits can be held; this one {_standing(job)}")
        values = (_HELD, JobState.HELD.value, WaitReason.HELD.value, f"held by {caller.username}", *[None] * 4)
        return await _move(connection, job, job_id, values)

    return await _act(store, caller, job_id, work)


async def release(store: Store, caller: Caller, job_id: int) -> Done:
    """Let a held job wait for its turn again, or for its time. Raises Conflict when it waits no more."""

    async def work(connection: asyncpg.Connection, job: Row) -> list[int]:
        if job["state"] not in _WAITING and not (_is_array(job) and job["state"] not in _FINAL):
            raise Conflict(f"only a held job can be released; this one {_standing(job)}")
        held = [state for state in sources(JobState.QUEUED, by=Actor.API) if state == JobState.HELD]
        message = f"released by {caller.username}"
        later = (JobState.SCHEDULED.value, WaitReason.START_TIME.value)
        blocked = (JobState.BLOCKED.value, WaitReason.DEPENDENCY.value)
        values = (held, JobState.QUEUED.value, "", message, *later, *blocked)
        return await _move(connection, job, job_id, values)

    return await _act(store, caller, job_id, work)


async def _move(connection: asyncpg.Connection, job: Row, job_id: int, values: tuple[Any, ...]) -> list[int]:
    """Move the job, or an array's members, and the array too when all its members went."""
    is_array = _is_array(job)
    changed = [row["id"] for row in await connection.fetch(sql("move"), job_id, is_array, *values)]
    if is_array and changed:
        others = "SELECT FROM jobs WHERE array_id = $1 AND NOT id = ANY ($2::bigint[])"
        if not await connection.fetchval(f"SELECT EXISTS ({others})", job_id, changed):
            changed += [row["id"] for row in await connection.fetch(sql("move"), job_id, False, *values)]
    return changed


async def amend(store: Store, caller: Caller, job_id: int, changes: Changes, new_spec_id: Callable[[], int]) -> Done:
    """Apply changes. Raises Conflict for what only a waiting job can change."""

    async def work(connection: asyncpg.Connection, job: Row) -> list[int]:
        if changes.needs_waiting and job["state"] not in _WAITING:
            raise Conflict(f"priority, queue and timeout change only while a job waits; this one {_standing(job)}")
        place = await connection.fetchrow(_PLACE, job_id)
        spec_id, rules, line = None, place["rules"], None
        if changes.timeout is not UNSET:
            spec_id = new_spec_id()
            rules = await _with_timeout(connection, job_id, changes.timeout, spec_id)
        if changes.timeout is not UNSET or changes.queue is not None:
            queue = changes.queue or place["queue"]
            line = line_of(place["shape"], place["user_id"], queue, rules, place["array_id"])
        labels = changes.labels or {}
        kept = {name: value for name, value in labels.items() if value is not None}
        won = await connection.fetch(
            sql("amend"),
            job_id,
            changes.name,
            msgspec.json.encode(kept).decode(),
            [name for name, value in labels.items() if value is None],
            _WAITING,
            changes.priority,
            changes.queue,
            spec_id,
            rules,
            line,
        )
        if changes.queue is not None and changes.queue != place["queue"]:
            await queues.admit(connection, [changes.queue])
        return [row["id"] for row in won]

    return await _act(store, caller, job_id, work)


#: What the name of a job's line is made of; an array's own row and its members have one line.
_PLACE: Final = """
SELECT shape, user_id, queue, rules, CASE WHEN array_size IS NOT NULL THEN COALESCE(array_id, id) END AS array_id
FROM jobs WHERE id = $1
"""


async def _with_timeout(
    connection: asyncpg.Connection, job_id: int, limit: Duration | None, spec_id: int
) -> str | None:
    """Store the job's spec anew with another time-out, and return its rules: other jobs may share the old one."""
    query = "SELECT s.document, s.user_id FROM jobs j JOIN specs s ON s.id = j.spec_id WHERE j.id = $1"
    row = await connection.fetchrow(query, job_id)
    fresh = draft(msgspec.structs.replace(decode_stored_spec(row["document"]), timeout=limit))
    await connection.execute(
        "INSERT INTO specs (id, user_id, document, sha256) VALUES ($1, $2, $3, $4)",
        spec_id,
        row["user_id"],
        fresh.document,
        fresh.sha256,
    )
    return fresh.rules


async def remove(store: Store, caller: Caller, job_id: int) -> None:
    """Delete the record of a job that has ended, with its attempts and output; of an array: of all its members."""

    async def work(connection: asyncpg.Connection) -> None:
        job = await _find(connection, job_id)
        if job["state"] not in _FINAL:
            raise Conflict(f"only a job that has ended can be deleted; this one {_standing(job)}")
        if job["array_id"] is not None:
            raise Conflict("a member of an array is deleted with its array")
        rows = await connection.fetch("SELECT id FROM jobs WHERE id = $1 OR array_id = $1", job_id)
        doomed = [row["id"] for row in rows]
        await connection.execute("DELETE FROM output_chunks WHERE job_id = ANY ($1::bigint[])", doomed)
        await connection.execute("DELETE FROM output_tars WHERE job_id = ANY ($1::bigint[])", doomed)
        await connection.execute("DELETE FROM output_tar_chunks WHERE job_id = ANY ($1::bigint[])", doomed)
        await connection.execute("DELETE FROM assignments WHERE job_id = ANY ($1::bigint[])", doomed)
        await connection.execute("DELETE FROM jobs WHERE id = ANY ($1::bigint[])", doomed)

    await store.run(work, **caller.settings)


async def _act(
    store: Store, caller: Caller, job_id: int, work: Callable[[asyncpg.Connection, Row], Awaitable[list[int]]]
) -> Done:
    async def whole(connection: asyncpg.Connection) -> Done:
        changed = await work(connection, await _find(connection, job_id))
        detail = await details.read(connection, job_id)
        assert detail is not None
        return Done(detail, changed)

    return await store.run(whole, **caller.settings)


async def _find(connection: asyncpg.Connection, job_id: int) -> Row:
    query = "SELECT state, reason, array_id, array_size FROM jobs WHERE id = $1"
    row: Row | None = await connection.fetchrow(query, job_id)
    if row is None:
        raise NotFound(f"there is no job {ids.encode(job_id)!r}")
    return row


def _is_array(job: Row) -> bool:
    return job["array_size"] is not None and job["array_id"] is None


def _ended(job: Row) -> str:
    return f"is {job['state']} ({job['reason']})"


def _standing(job: Row) -> str:
    return f"is {job['state']}"
