"""What people do to schedules: make, read, change, pause, run now, delete. Each is one transaction as the caller.

The Hibernator's side is in `fires.py`. The next fire of a schedule only grows: after a change, and after the clock
stepped back, it is looked for behind the last instant that has an outcome.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

import asyncpg
from msgspec import Struct

from swarmsync import ids
from swarmsync.errors import Conflict, FieldError, NotFound, SpecError
from swarmsync.model.lifecycle import JobState
from swarmsync.model.schedule import Outcome, ScheduleSpec, check_schedule, next_fires
from swarmsync.protocol.codec import decode_stored_schedule, encode_json
from swarmsync.store.fires import Line, insert_fires, insert_jobs, run_of
from swarmsync.store.lists import Conditions, Row
from swarmsync.store.pool import Store
from swarmsync.store.submit import draft
from swarmsync.store.users import Caller

NewId = Callable[[], int]

_SELECT: Final = """
SELECT s.id, s.user_id, u.username, s.name, s.document, s.paused, s.next_fire_at, s.last_due_at, s.created_at,
    s.updated_at, f.due_at AS last_fire_due_at, f.outcome AS last_outcome, f.job_id AS last_job_id,
    (SELECT count(*) FROM jobs j WHERE j.schedule_id = s.id AND j.array_id IS NULL AND j.finished_at IS NULL)
        AS active_jobs
FROM schedules s
JOIN users u ON u.id = s.user_id
LEFT JOIN LATERAL (SELECT due_at, outcome, job_id FROM schedule_fires WHERE schedule_id = s.id
                   ORDER BY due_at DESC, id DESC LIMIT 1) f ON true
"""
_HISTORY: Final = "SELECT id, due_at, outcome, reason, message, job_id, at FROM schedule_fires"


class ScheduleFilter(Struct, frozen=True):
    """Which schedules a list shows; None is no condition."""

    username: str | None = None
    name: str | None = None  # a `*` at its end stands for anything
    paused: bool | None = None


class HistoryCursor(Struct, frozen=True, array_like=True):
    """The last row of a page of history."""

    due_at: datetime
    fire_id: int


async def create(store: Store, caller: Caller, new_id: NewId, spec: ScheduleSpec) -> Row:
    """Make a schedule and return its row. Raises Conflict where the caller has one of this name, SpecError."""
    _check(spec)

    async def work(connection: asyncpg.Connection) -> Row:
        now = await _now(connection)
        due_at = _first_fire(spec, now)
        spec_id = await _add_spec(connection, caller.user_id, spec, new_id())
        schedule_id = await connection.fetchval(
            "INSERT INTO schedules (id, user_id, name, document, spec_id, next_fire_at) VALUES ($1, $2, $3, $4, $5, $6)"
            " ON CONFLICT (user_id, name) DO NOTHING RETURNING id",
            new_id(),
            caller.user_id,
            spec.name,
            encode_json(spec).decode(),
            spec_id,
            due_at,
        )
        if schedule_id is None:
            raise _name_taken(spec.name)
        return await _read(connection, schedule_id)

    return await store.run(work, **caller.settings)


async def list_page(
    store: Store, caller: Caller, filters: ScheduleFilter, limit: int, cursor: int | None = None
) -> list[Row]:
    """Return up to `limit` + 1 schedules, newest first, with ids below `cursor`; one too many says there are more."""
    where = Conditions()
    where.add("s.user_id = $", None if caller.is_operator else caller.user_id)
    where.add("s.id < $", cursor)
    where.add("u.username = $", filters.username)
    where.add("s.paused = $", filters.paused)
    if filters.name is not None and filters.name.endswith("*"):
        where.add("starts_with(s.name, $)", filters.name[:-1])
    else:
        where.add("s.name = $", filters.name)
    query = f"{_SELECT} {where.clause} ORDER BY s.id DESC LIMIT {limit + 1:d}"
    rows: list[Row] = await store.fetch(query, *where.values, **caller.settings)
    return rows


async def one(store: Store, caller: Caller, which: int | str) -> Row:
    """Return a schedule by its id, or by its name among the caller's own. Raises NotFound."""

    async def work(connection: asyncpg.Connection) -> Row:
        if isinstance(which, int):
            return await _read(connection, which)
        query = f"{_SELECT} WHERE s.user_id = $1 AND s.name = $2"
        row: Row | None = await connection.fetchrow(query, caller.user_id, which)
        if row is None:
            raise NotFound(f"you have no schedule {which[:80]!r}")
        return row

    return await store.run(work, **caller.settings)


async def update(
    store: Store, caller: Caller, schedule_id: int, change: Callable[[ScheduleSpec], ScheduleSpec], new_id: NewId
) -> Row:
    """Replace the spec by what `change` makes of it. Raises NotFound, Conflict (the name is taken), SpecError.

    Where the time changes, the next fire is the first instant of the new rule after now.
    """

    async def work(connection: asyncpg.Connection) -> Row:
        row = await _locked(connection, schedule_id)
        before = decode_stored_schedule(row["document"])
        spec = change(before)
        _check(spec)
        due_at = row["next_fire_at"]
        if _when(spec) != _when(before):
            due_at = _first_fire(spec, max(filter(None, (await _now(connection), row["last_due_at"]))))
        spec_id = row["spec_id"]
        if spec.job != before.job:
            spec_id = await _add_spec(connection, row["user_id"], spec, new_id())
        taken = "SELECT EXISTS (SELECT FROM schedules WHERE user_id = $1 AND name = $2 AND id <> $3)"
        if await connection.fetchval(taken, row["user_id"], spec.name, schedule_id):
            raise _name_taken(spec.name)
        await connection.execute(
            "UPDATE schedules SET name = $2, document = $3, spec_id = $4, next_fire_at = $5,"
            " updated_at = clock_timestamp() WHERE id = $1",
            schedule_id,
            spec.name,
            encode_json(spec).decode(),
            spec_id,
            due_at,
        )
        return await _read(connection, schedule_id)

    try:
        return await store.run(work, **caller.settings)
    except asyncpg.UniqueViolationError:
        raise Conflict("a schedule of this name was made at the same moment; choose another name") from None


async def pause(store: Store, caller: Caller, schedule_id: int) -> Row:
    """Let due instants pass: each is recorded as skipped. Doing it twice changes nothing. Raises NotFound."""
    return await _set_paused(store, caller, schedule_id, paused=True)


async def resume(store: Store, caller: Caller, schedule_id: int) -> Row:
    return await _set_paused(store, caller, schedule_id, paused=False)


async def _set_paused(store: Store, caller: Caller, schedule_id: int, *, paused: bool) -> Row:
    async def work(connection: asyncpg.Connection) -> Row:
        await connection.execute(
            "UPDATE schedules SET paused = $2, updated_at = clock_timestamp() WHERE id = $1 AND paused <> $2",
            schedule_id,
            paused,
        )
        return await _read(connection, schedule_id)

    return await store.run(work, **caller.settings)


async def delete(store: Store, caller: Caller, schedule_id: int) -> None:
    """Delete a schedule and its history; jobs that it made stay. Raises NotFound."""

    async def work(connection: asyncpg.Connection) -> None:
        if await connection.fetchval("DELETE FROM schedules WHERE id = $1 RETURNING id", schedule_id) is None:
            raise _unknown(schedule_id)
        await connection.execute("DELETE FROM schedule_fires WHERE schedule_id = $1", schedule_id)

    await store.run(work, **caller.settings)


async def trigger(store: Store, caller: Caller, schedule_id: int, new_id: NewId) -> int:
    """Make a job of the schedule now, whatever its policies say, and return its id. The next fire stays as it is."""

    async def work(connection: asyncpg.Connection) -> int:
        row = await _locked(connection, schedule_id)
        now = await _now(connection)
        spec = decode_stored_schedule(row["document"])
        message = f"triggered by {caller.username}"
        run = run_of(schedule_id, row["user_id"], row["spec_id"], spec.job, now, now, new_id)
        fire = Line(schedule_id, row["user_id"], now, Outcome.TRIGGERED, "manual", message, run.job_id)
        await insert_fires(connection, now, [fire])
        await insert_jobs(connection, now, [run])
        assert run.start.state is JobState.QUEUED
        return run.job_id

    return await store.run(work, **caller.settings)


async def history(
    store: Store, caller: Caller, schedule_id: int, limit: int, cursor: HistoryCursor | None = None
) -> Sequence[Row]:
    """Return up to `limit` + 1 outcomes, the latest instant first. Raises NotFound."""

    async def work(connection: asyncpg.Connection) -> list[Row]:
        if not await connection.fetchval("SELECT EXISTS (SELECT FROM schedules WHERE id = $1)", schedule_id):
            raise _unknown(schedule_id)
        values: list[Any] = [schedule_id, limit + 1]
        older = ""
        if cursor is not None:
            older = "AND (due_at, id) < ($3, $4)"
            values += [cursor.due_at, cursor.fire_id]
        query = f"{_HISTORY} WHERE schedule_id = $1 {older} ORDER BY due_at DESC, id DESC LIMIT $2"
        rows: list[Row] = await connection.fetch(query, *values)
        return rows

    return await store.run(work, **caller.settings)


def _check(spec: ScheduleSpec) -> None:
    errors = check_schedule(spec)
    if errors:
        raise SpecError(errors)


def _when(spec: ScheduleSpec) -> tuple[Any, ...]:
    name = spec.name if spec.cron is not None and "h" in spec.cron.lower() else ""  # `H` depends on it
    return (spec.cron, spec.at, spec.delay, spec.timezone, spec.start, spec.end, name)


def _first_fire(spec: ScheduleSpec, after: datetime) -> datetime:
    found = next_fires(spec, after, 1, name_hash_source=spec.name)
    if found:
        return found[0]
    if spec.at is not None:
        raise SpecError([FieldError("$.at", "lies in the past")])
    raise SpecError(
        [FieldError("$.end" if spec.end is not None else "$.cron", "there is no instant left before the end")]
    )


async def _now(connection: asyncpg.Connection) -> datetime:
    now: datetime = await connection.fetchval("SELECT clock_timestamp()")
    return now


async def _add_spec(connection: asyncpg.Connection, user_id: int, spec: ScheduleSpec, spec_id: int) -> int:
    """Store the job's spec, which all jobs of the schedule share."""
    made = draft(spec.job)
    await connection.execute(
        "INSERT INTO specs (id, user_id, document, sha256) VALUES ($1, $2, $3, $4)",
        spec_id,
        user_id,
        made.document,
        made.sha256,
    )
    return spec_id


async def _locked(connection: asyncpg.Connection, schedule_id: int) -> Row:
    row: Row | None = await connection.fetchrow("SELECT * FROM schedules WHERE id = $1 FOR UPDATE", schedule_id)
    if row is None:
        raise _unknown(schedule_id)
    return row


async def _read(connection: asyncpg.Connection, schedule_id: int) -> Row:
    row: Row | None = await connection.fetchrow(f"{_SELECT} WHERE s.id = $1", schedule_id)
    if row is None:
        raise _unknown(schedule_id)
    return row


def _unknown(schedule_id: int) -> NotFound:
    return NotFound(f"there is no schedule {ids.encode(schedule_id)!r}")


def _name_taken(name: str) -> Conflict:
    return Conflict(f"there is a schedule {name[:80]!r} already; update it, or choose another name")
