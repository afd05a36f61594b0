"""The Hibernator's transactions about schedules: what is due gets its line, its job and its next fire, or none of it.

The decision comes from outside as a function; `mark` is called between the steps, so that a test can end the process
at each of them. `now` is the server's time unless a test brings another.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

import asyncpg
import msgspec
from msgspec import Struct

from swarmsync.model.fire import DueSchedule, Turn
from swarmsync.model.job import Waiting
from swarmsync.model.lifecycle import Actor, EndReason, JobState, sources
from swarmsync.model.rules import line_of, read_rules
from swarmsync.model.schedule import Outcome, seconds_text
from swarmsync.model.spec import JobSpec
from swarmsync.protocol.codec import DecodeError, decode_stored_schedule
from swarmsync.store.pool import Store
from swarmsync.store.queries import sql
from swarmsync.store.submit import Draft, Start, draft, start_of

NewId = Callable[[], int]
Decide = Callable[[list[DueSchedule], datetime], list[Turn]]
Mark = Callable[[str], None]

_CANCELLED: Final = sources(JobState.CANCELLED, by=Actor.HIBERNATOR)
_STOPPING: Final = sources(JobState.STOPPING, by=Actor.HIBERNATOR)
_REPLACED: Final = "replaced by the next run of its schedule"


class Line(Struct, frozen=True):
    """A line of the ledger as it is written."""

    schedule_id: int
    user_id: int
    due_at: datetime
    outcome: Outcome
    reason: str
    message: str
    job_id: int | None


class Run(Struct, frozen=True):
    """A job that a schedule makes, with the members of its array."""

    job_id: int
    schedule_id: int
    user_id: int
    spec_id: int
    draft: Draft
    start: Start
    members: tuple[tuple[int, int], ...]  # (id, index)

    def waiting(self) -> list[Waiting]:
        """Return what the Scheduler is told: the job, or the members of the array, when they can be placed at once."""
        if self.start.state is not JobState.QUEUED:
            return []
        made, spec, user_id = self.draft, self.draft.spec, self.user_id
        array_id = None if spec.array is None else self.job_id
        placed = [self.job_id] if array_id is None else [job_id for job_id, _ in self.members]
        rules, line = read_rules(made.rules), self.line
        return [
            Waiting(job_id, made.shape, made.need, spec.priority, user_id, spec.queue, line, rules, array_id)
            for job_id in placed
        ]

    @property
    def line(self) -> int:
        array_id = None if self.draft.spec.array is None else self.job_id
        return line_of(self.draft.shape, self.user_id, self.draft.spec.queue, self.draft.rules, array_id)


class Recorded(Struct, frozen=True):
    """What one transaction did: how many schedules it looked at, what is to be placed, and whether there is more."""

    schedules: int
    waiting: list[Waiting]
    more: bool


def _unmarked(place: str) -> None:
    """Nothing stops here outside of tests."""


def run_of(
    schedule_id: int, user_id: int, spec_id: int, spec: JobSpec, run_at: datetime, now: datetime, new_id: NewId
) -> Run:
    made = draft(spec)
    start = start_of(msgspec.structs.replace(spec, run_at=run_at), now)
    job_id = new_id()
    members = () if spec.array is None else tuple([(new_id(), index) for index in spec.array.indexes()])
    return Run(job_id, schedule_id, user_id, spec_id, made, start, members)


async def record_due(
    store: Store, decide: Decide, new_id: NewId, limit: int, *, now: datetime | None = None, mark: Mark = _unmarked
) -> Recorded:
    """Record what becomes of up to `limit` due schedules, with jobs and next fires, in one transaction."""

    async def work(connection: asyncpg.Connection) -> Recorded:
        mark("begun")
        rows = await connection.fetch(sql("schedule_due"), now, limit)
        if not rows:
            return Recorded(0, [], more=False)
        mark("locked")
        moment = rows[0]["now"]
        due, broken = _read(rows)
        turns = decide(due, moment)
        runs, lines = _written(turns, moment, new_id)
        lines += broken
        mark("decided")
        made = await insert_fires(connection, moment, lines)
        mark("lines written")
        replacing = [turn.due.schedule_id for turn in turns if turn.replaces]
        if replacing:
            await _replace(connection, replacing)
            mark("earlier jobs stopped")
        fresh = {line.job_id for line in lines if (line.schedule_id, line.due_at) in made}
        runs = [run for run in runs if run.job_id in fresh]
        await insert_jobs(connection, moment, runs)
        mark("jobs written")
        await connection.execute(
            sql("schedule_moves"),
            [turn.due.schedule_id for turn in turns] + [line.schedule_id for line in broken],
            [turn.last_due_at for turn in turns] + [line.due_at for line in broken],
            [turn.next_fire_at for turn in turns] + [None for _ in broken],
        )
        mark("moved")
        waiting = [entry for run in runs for entry in run.waiting()]
        behind = any(turn.next_fire_at is not None and turn.next_fire_at <= moment for turn in turns)
        return Recorded(len(turns), waiting, more=behind or len(rows) == limit or len(turns) < len(due))

    recorded = await store.run(work)
    mark("committed")
    return recorded


async def start_waiting(
    store: Store, new_id: NewId, limit: int, *, now: datetime | None = None, mark: Mark = _unmarked
) -> Recorded:
    """Run the instants that waited (overlap: queue) for a job that has ended by now."""

    async def work(connection: asyncpg.Connection) -> Recorded:
        rows = await connection.fetch(sql("schedule_waiting"), now, limit)
        if not rows:
            return Recorded(0, [], more=False)
        mark("waiting locked")
        moment = rows[0]["now"]
        runs = []
        for row in rows:
            spec = decode_stored_schedule(row["document"]).job
            runs.append(run_of(row["id"], row["user_id"], row["spec_id"], spec, moment, moment, new_id))
        await insert_jobs(connection, moment, runs)
        mark("waiting jobs written")
        messages = [f"waited {seconds_text(moment - row['due_at'])} for the job before it" for row in rows]
        job_ids = [run.job_id for run in runs]
        await connection.execute(sql("schedule_late"), [row["fire_id"] for row in rows], job_ids, messages)
        mark("waiting lines written")
        return Recorded(len(rows), [entry for run in runs for entry in run.waiting()], more=len(rows) == limit)

    recorded = await store.run(work)
    mark("waiting committed")
    return recorded


async def insert_fires(
    connection: asyncpg.Connection, now: datetime, lines: Sequence[Line]
) -> set[tuple[int, datetime]]:
    """Write lines; return (schedule, instant) of those that had none yet."""
    rows = await connection.fetch(
        sql("schedule_fires"),
        now,
        [line.schedule_id for line in lines],
        [line.user_id for line in lines],
        [line.due_at for line in lines],
        [line.outcome.value for line in lines],
        [line.reason for line in lines],
        [line.message for line in lines],
        [line.job_id for line in lines],
    )
    return {(row["schedule_id"], row["due_at"]) for row in rows}


async def insert_jobs(connection: asyncpg.Connection, now: datetime, runs: Sequence[Run]) -> None:
    if not runs:
        return
    await connection.execute(sql("schedule_jobs"), now, *_columns(runs))
    members = [(job_id, run.job_id, index) for run in runs for job_id, index in run.members]
    if members:
        await connection.execute(sql("schedule_members"), *map(list, zip(*members, strict=True)))


async def _replace(connection: asyncpg.Connection, schedule_ids: list[int]) -> None:
    values = (schedule_ids, _CANCELLED, _STOPPING, EndReason.CANCELLED_BY_POLICY.value, _REPLACED)
    await connection.execute(sql("schedule_replace"), *values)
    await connection.execute(sql("schedule_replace_arrays"), *values)


def _read(rows: Sequence[asyncpg.Record]) -> tuple[list[DueSchedule], list[Line]]:
    """Read the rows that are due; one that this version cannot read stops with a line that says so."""
    due, broken = [], []
    for row in rows:
        try:
            due.append(_due_schedule(row))
        except DecodeError as problem:
            text = f"stopped: the schedule cannot be read ({problem}); update it"
            broken.append(
                Line(row["id"], row["user_id"], row["next_fire_at"], Outcome.MISSED, "broken", text[:1024], None)
            )
    return due, broken


def _due_schedule(row: asyncpg.Record) -> DueSchedule:
    return DueSchedule(
        row["id"],
        row["user_id"],
        row["spec_id"],
        decode_stored_schedule(row["document"]),
        row["next_fire_at"],
        paused=row["paused"],
        active=row["active"],
        waiting=row["waiting"],
    )


def _written(turns: Sequence[Turn], now: datetime, new_id: NewId) -> tuple[list[Run], list[Line]]:
    runs, lines = [], []
    for turn in turns:
        due = turn.due
        for fire in turn.fires:
            job_id = None
            if fire.run_at is not None:
                run = run_of(due.schedule_id, due.user_id, due.spec_id, due.spec.job, fire.run_at, now, new_id)
                job_id = run.job_id
                runs.append(run)
            lines.append(
                Line(due.schedule_id, due.user_id, fire.due_at, fire.outcome, fire.reason, fire.message, job_id)
            )
    return runs, lines


def _columns(runs: Sequence[Run]) -> list[list[Any]]:
    drafts, starts = [run.draft for run in runs], [run.start for run in runs]
    return [
        [run.job_id for run in runs],
        [run.schedule_id for run in runs],
        [run.user_id for run in runs],
        [run.spec_id for run in runs],
        [entry.spec.queue for entry in drafts],
        [entry.spec.name for entry in drafts],
        [start.state.value for start in starts],
        [str(start.reason) for start in starts],
        [start.message for start in starts],
        [entry.spec.priority for entry in drafts],
        [entry.labels for entry in drafts],
        [entry.shape for entry in drafts],
        [entry.need.cpus_milli for entry in drafts],
        [entry.need.memory_bytes for entry in drafts],
        [entry.need.gpus for entry in drafts],
        [entry.need.disk_bytes for entry in drafts],
        [entry.spec.stop.grace for entry in drafts],
        [start.run_at for start in starts],
        [start.expires_at for start in starts],
        [len(run.members) if run.draft.spec.array is not None else None for run in runs],
        [run.line for run in runs],
        [entry.rules for entry in drafts],
        [entry.concurrency_key for entry in drafts],
        [entry.spec.deadline for entry in drafts],
    ]
