"""Making jobs: everything that one request submits is committed in one statement, or nothing is.

COPY would be the fastest way in, but PostgreSQL refuses it on tables with row-level security; one INSERT from arrays
costs little more. Identical specs of one request share one row of `specs`.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

import asyncpg
import msgspec
from msgspec import Struct

from swarmsync.clock import rfc3339
from swarmsync.errors import Conflict
from swarmsync.model.job import Waiting
from swarmsync.model.lifecycle import JobState, WaitReason
from swarmsync.model.resources import Need
from swarmsync.model.rules import line_of, rules_of, write_rules
from swarmsync.model.spec import After, Concurrency, JobSpec, need, shape_of
from swarmsync.protocol.codec import encode_json
from swarmsync.store import concurrency, dependencies, queues
from swarmsync.store.pool import Store, set_local
from swarmsync.store.queries import sql
from swarmsync.store.users import Caller

#: The join of jobs with their specs must be a hash join whatever the planner guesses of the arrays' lengths.
_PLANS: Final = {"enable_nestloop": "off", "plan_cache_mode": "force_generic_plan"}

#: A request of more jobs than this has a transaction of its own: nobody waits for somebody else's array.
TOGETHER_JOBS_MAX: Final = 100


class Draft(Struct, frozen=True):
    """A checked spec and what is derived from it; jobs with the same document share it."""

    spec: JobSpec
    document: str
    sha256: bytes
    need: Need
    shape: int
    labels: str
    rules: str | None = None  # as stored
    concurrency_key: str | None = None


class Start(Struct, frozen=True):
    """In which state a new job begins."""

    state: JobState
    reason: str
    message: str
    run_at: datetime | None
    expires_at: datetime | None


class NewJob(Struct, frozen=True):
    job_id: int
    spec_id: int
    array_id: int | None = None
    array_index: int | None = None


class Submission(Struct):
    """What one request makes: specs with how their jobs begin, and the jobs themselves, members behind their array."""

    now: datetime
    specs: dict[int, tuple[Draft, Start]]
    jobs: list[NewJob]
    xid: int = 0  # the transaction that made it, once it is there

    @property
    def ids(self) -> list[int]:
        """The jobs that the user asked for, in order: an array counts as one."""
        return [job.job_id for job in self.jobs if job.array_id is None]


class Key(Struct, frozen=True):
    """A request's idempotency key, what it came with, and the answer to give again."""

    text: str
    body_hash: bytes
    status: int
    response: bytes


class Wanted(Struct, frozen=True):
    """One request for jobs: of whom, what, and its idempotency key."""

    caller: Caller
    submission: Submission
    key: Key | None = None

    @property
    def rides_along(self) -> bool:
        """Whether others' requests may share its transaction: it is small, and only a full queue can refuse it."""
        drafts = [entry for entry, _ in self.submission.specs.values()]
        return len(self.submission.jobs) <= TOGETHER_JOBS_MAX and not any(
            entry.spec.after or entry.spec.concurrency is not None for entry in drafts
        )


class Answer(Struct, frozen=True):
    status: int
    response: bytes


def draft(spec: JobSpec) -> Draft:
    document = encode_json(spec)
    wanted = need(spec)
    return Draft(
        spec,
        document.decode(),
        sha256(document).digest(),
        wanted,
        shape_of(wanted, spec.constraints),
        msgspec.json.encode(spec.labels).decode(),
        write_rules(rules_of(spec)),
        None if spec.concurrency is None else spec.concurrency.key,
    )


def start_of(spec: JobSpec, now: datetime) -> Start:
    """Decide how a job of this spec begins when it is submitted at `now`."""
    run_at = spec.run_at
    if spec.delay is not None:
        run_at = now + timedelta(milliseconds=spec.delay)
    due = run_at is None or run_at <= now
    base = now if due or run_at is None else run_at
    expires_at = None if spec.queue_timeout is None else base + timedelta(milliseconds=spec.queue_timeout)
    if spec.deadline is not None:
        expires_at = spec.deadline if expires_at is None else min(expires_at, spec.deadline)
    if spec.after:
        jobs = f"{len(spec.after)} jobs" if len(spec.after) > 1 else "another job"
        return Start(JobState.BLOCKED, WaitReason.DEPENDENCY, f"waits for {jobs}", run_at, expires_at)
    if due:
        return Start(JobState.QUEUED, "", "", run_at, expires_at)
    return Start(JobState.SCHEDULED, WaitReason.START_TIME, f"starts at {rfc3339(run_at)}", run_at, expires_at)


def plan(drafts: Sequence[Draft], now: datetime, next_id: Callable[[], int]) -> Submission:
    """Give ids to everything that these drafts make, one job or array per draft."""
    spec_ids: dict[int, int] = {}
    submission = Submission(now, {}, [])
    for entry in drafts:
        spec_id = spec_ids.get(id(entry))
        if spec_id is None:
            spec_id = spec_ids[id(entry)] = next_id()
            submission.specs[spec_id] = (entry, start_of(entry.spec, now))
        job_id = next_id()
        submission.jobs.append(NewJob(job_id, spec_id))
        if entry.spec.array is not None:
            members = entry.spec.array.indexes()
            submission.jobs += [NewJob(next_id(), spec_id, job_id, index) for index in members]
    return submission


async def insert(
    store: Store, caller: Caller, submission: Submission, *, key: Key | None = None, rerun_of: int | None = None
) -> Answer | None:
    """Commit the submission. Returns None, or the first answer where the key was used before with the same body.

    Raises Conflict where it was used with another one.
    """
    return (await insert_all(store, [Wanted(caller, submission, key)], rerun_of=rerun_of))[0]


async def insert_all(store: Store, wanted: Sequence[Wanted], *, rerun_of: int | None = None) -> list[Answer | None]:
    """Commit all of these in one transaction, each under the rights of its own caller; as `insert` for each.

    No two may have one caller and one key. What is raised for one of them is raised for all: nothing was committed.
    """
    if len(wanted) == 1 and (answers := await _insert_at_once(store, wanted[0], rerun_of)) is not None:
        return answers
    by_caller: dict[Caller, list[int]] = {}
    for index, entry in enumerate(wanted):
        by_caller.setdefault(entry.caller, []).append(index)

    async def work(connection: asyncpg.Connection) -> list[Answer | None]:
        answers: list[Answer | None] = [None] * len(wanted)
        acting = wanted[0].caller
        for caller, places in by_caller.items():
            if caller != acting:
                await connection.execute(set_local(**caller.settings))
                acting = caller
            made = await _insert(connection, caller, [wanted[place] for place in places], rerun_of)
            for place, answer in zip(places, made, strict=True):
                answers[place] = answer
        return answers

    return await store.run(work, **wanted[0].caller.settings, **_PLANS)


async def _insert_at_once(store: Store, wanted: Wanted, rerun_of: int | None) -> list[Answer | None] | None:
    """Commit a request that needs no look at other rows: one statement, one trip. None where it needs one."""
    whole = wanted.submission
    if _waiting_for(whole) or _keys(whole):
        return None
    values = _values([wanted], whole, wanted.caller, rerun_of)
    (row,) = await store.change(sql("submit"), *values, True, **wanted.caller.settings, **_PLANS)
    whole.xid = int(row["xid"])
    if row["bounded"]:
        return None
    if wanted.key is None or row["keys"]:
        return [None]
    async with store.connection(**wanted.caller.settings) as connection:
        return [await _first_answer(connection, wanted.caller, wanted.key)]


def _values(wanted: Sequence[Wanted], whole: Submission, caller: Caller, rerun_of: int | None) -> list[Any]:
    """Return the parameters of submit.sql but for the last."""
    keys = [entry.key for entry in wanted if entry.key is not None]
    return [
        caller.user_id,
        rerun_of,
        [key.text for key in keys],
        [key.body_hash for key in keys],
        [key.status for key in keys],
        [key.response.decode() for key in keys],
        *_columns(wanted, whole, caller.user_id),
    ]


async def _insert(
    connection: asyncpg.Connection, caller: Caller, wanted: Sequence[Wanted], rerun_of: int | None
) -> list[Answer | None]:
    whole = _merged(wanted)
    needs = await dependencies.check(connection, _waiting_for(whole), whole.ids)
    row = await connection.fetchrow(sql("submit"), *_values(wanted, whole, caller, rerun_of), False)
    fresh = set(row["keys"])
    for entry in wanted:
        entry.submission.xid = int(row["xid"])
    new = [entry for entry in wanted if entry.key is None or entry.key.text in fresh]
    if new:
        made = _merged(new)
        await dependencies.insert(connection, caller.user_id, needs)
        await concurrency.admit(connection, caller.user_id, _keys(made), made.ids)
        await queues.admit(connection, row["bounded"])
    return [
        None if entry.key is None or entry.key.text in fresh else await _first_answer(connection, caller, entry.key)
        for entry in wanted
    ]


def _merged(wanted: Sequence[Wanted]) -> Submission:
    """Return everything of these requests as one, of which `now` is the first's; a request alone as it is."""
    if len(wanted) == 1:
        return wanted[0].submission
    specs: dict[int, tuple[Draft, Start]] = {}
    jobs: list[NewJob] = []
    for entry in wanted:
        specs |= entry.submission.specs
        jobs += entry.submission.jobs
    return Submission(wanted[0].submission.now, specs, jobs)


async def _first_answer(connection: asyncpg.Connection, caller: Caller, key: Key) -> Answer:
    row = await connection.fetchrow(
        "SELECT body_hash, status, response FROM idempotency_keys WHERE user_id = $1 AND key = $2",
        caller.user_id,
        key.text,
    )
    if row is None or row["body_hash"] != key.body_hash:
        raise Conflict(f"the idempotency key {key.text!r} was used for another request; choose a new one")
    return Answer(row["status"], row["response"].encode())


def _waiting_for(submission: Submission) -> list[tuple[int, Sequence[After], str]]:
    """Return (id, what it comes after, its path in the request) of the jobs that wait for others."""
    own = [job for job in submission.jobs if job.array_id is None]
    return [
        (job.job_id, after, "$" if len(own) == 1 else f"$.jobs[{index}]")
        for index, job in enumerate(own)
        if (after := submission.specs[job.spec_id][0].spec.after)
    ]


def _keys(submission: Submission) -> Counter[Concurrency]:
    """Count the new jobs of each concurrency key; an array counts as its members."""
    found: Counter[Concurrency] = Counter()
    for job in submission.jobs:
        spec = submission.specs[job.spec_id][0].spec
        if spec.concurrency is not None and (spec.array is None or job.array_id is not None):
            found[spec.concurrency] += 1
    return found


def lines_of(submission: Submission, user_id: int) -> list[int]:
    """Name the line of each job; an array and its members share one."""
    known: dict[tuple[int, int | None], int] = {}
    names = []
    for job in submission.jobs:
        made, _ = submission.specs[job.spec_id]
        array_id = job.job_id if job.array_id is None else job.array_id
        place = (job.spec_id, array_id if made.spec.array is not None else None)
        if place not in known:
            known[place] = line_of(made.shape, user_id, made.spec.queue, made.rules, place[1])
        names.append(known[place])
    return names


def ready(made: Sequence[Wanted]) -> tuple[Waiting, ...]:
    """Describe the jobs of these requests as the Scheduler needs them.

    Empty where one of them may not start yet, or where making them may have changed others (`concurrency.on_limit`).
    """
    found = []
    for wanted in made:
        submission, user_id = wanted.submission, wanted.caller.user_id
        alike: dict[int, tuple[Any, ...]] = {}  # what all jobs of a spec have in common
        for job, line in zip(submission.jobs, lines_of(submission, user_id), strict=True):
            common = alike.get(job.spec_id)
            if common is None:
                entry, start = submission.specs[job.spec_id]
                spec = entry.spec
                if start.state is not JobState.QUEUED or spec.array is not None or spec.concurrency is not None:
                    return ()
                common = (entry.shape, entry.need, spec.priority, user_id, spec.queue, line, rules_of(spec))
                alike[job.spec_id] = common
            found.append(Waiting(job.job_id, *common))
    return tuple(found)


def _columns(wanted: Sequence[Wanted], whole: Submission, user_id: int) -> list[list[Any]]:
    specs, jobs = whole.specs, whole.jobs
    of = [entry for entry in wanted for _ in entry.submission.specs]
    drafts = [entry for entry, _ in specs.values()]
    starts = [start for _, start in specs.values()]
    arrays = [entry.spec.array for entry in drafts]
    return [
        list(specs),
        [entry.key.text if entry.key is not None else None for entry in of],
        [entry.submission.now for entry in of],
        [entry.document for entry in drafts],
        [entry.sha256 for entry in drafts],
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
        [array.size() if array is not None else None for array in arrays],
        [entry.rules for entry in drafts],
        [entry.concurrency_key for entry in drafts],
        [entry.spec.deadline for entry in drafts],
        [job.job_id for job in jobs],
        [job.spec_id for job in jobs],
        [job.array_id for job in jobs],
        [job.array_index for job in jobs],
        lines_of(whole, user_id),
    ]
