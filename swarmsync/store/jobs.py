"""The engine's reads and writes of jobs. Each change is one guarded statement in `queries/`; zero rows means "stale".

All calls take batches and make one round trip. They raise Unavailable while PostgreSQL is away; calling again is safe.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import asyncpg
from msgspec import Struct

from swarmsync.model.job import JobRef, Settlement, Waiting
from swarmsync.model.lifecycle import PLACED, Actor, EndReason, JobState, sources
from swarmsync.model.resources import Need
from swarmsync.model.rules import read_rules
from swarmsync.protocol.codec import encode_json
from swarmsync.protocol.messages import LineWaits, Progress
from swarmsync.store import limits
from swarmsync.store.pool import Store
from swarmsync.store.queries import sql

#: Where each end is of a kind of its own, the work of one statement grows with the square.
SETTLED_AT_ONCE_MAX: Final = 1_000
#: What a sentence in a row may have.
MESSAGE_MAX: Final = 4_096
#: So many jobs are dispatched with their documents; of more, the Dispatcher asks for those that it does not know.
DOCUMENTS_MAX: Final = 8
_PLACED: Final = [state.value for state in PLACED]
_STATES: Final = {state.value: state for state in JobState}  # calling an enumeration takes a microsecond


class Dispatched(Struct, frozen=True):
    """A job that PostgreSQL agreed to dispatch, with what its order says."""

    ref: JobRef
    worker_id: int
    orders_seq: int
    name: str
    spec_id: int
    need: Need
    grace_ms: int
    array_index: int | None
    array_size: int | None
    user_id: int
    image: str = ""
    document: bytes | None = None  # the spec, where few jobs were asked for


class Settled(Struct, frozen=True):
    ref: JobRef
    worker_id: int
    state: JobState
    array_id: int | None
    waited_for: bool = True  # by jobs that were there when it ended


class FeedEntry(Struct, frozen=True):
    """A job that was changed, as it is now; `waiting` when it is queued and is to be placed."""

    job_id: int
    state: JobState | None  # None: the row is gone
    waiting: Waiting | None
    array_id: int | None
    stop_reason: str | None
    stop_kill: bool


class Cursor(Struct, frozen=True):
    """A place in the feed of job events: (transaction id, sequence number)."""

    xid: str
    seq: int


def need_of(row: asyncpg.Record) -> Need:
    return Need(row["cpus_milli"], row["memory_bytes"], row["gpus"], row["disk_bytes"])


def waiting_of(row: asyncpg.Record) -> Waiting:
    return Waiting(
        row["id"],
        row["shape"],
        need_of(row),
        row["priority"],
        row["user_id"],
        row["queue"],
        row["line"],
        read_rules(row["rules"]),
        row["array_id"],
    )


class Alike:
    """What jobs of one line, shape and priority have alike is read from the first row of them, and kept once."""

    def __init__(self) -> None:
        self._first: dict[tuple[int, int, int], Waiting] = {}

    def waiting_of(self, row: asyncpg.Record) -> Waiting:
        alike = row["line"], row["shape"], row["priority"]
        first = self._first.get(alike)
        if first is None:
            first = self._first[alike] = waiting_of(row)
            return first
        shared = (first.shape, first.need, first.priority, first.user_id, first.queue, first.line, first.rules)
        return Waiting(row["id"], *shared, row["array_id"])


async def load_queued(store: Store, limit: int) -> list[Waiting]:
    """Return what is to be placed, oldest first."""
    alike = Alike()
    return [alike.waiting_of(row) async for row in store.stream(sql("load_queued"), limit)]


def _dispatched(rows: Sequence[asyncpg.Record]) -> list[Dispatched]:
    return [
        Dispatched(
            JobRef(row["id"], row["fence"]),
            row["worker_id"],
            row["orders_seq"],
            row["name"],
            row["spec_id"],
            need_of(row),
            row["grace_ms"],
            row["array_index"],
            row["array_size"],
            row["user_id"],
            row["image"] or "",
            document.encode() if (document := row.get("document")) is not None else None,
        )
        for row in rows
    ]


async def dispatch(
    store: Store, places: Sequence[tuple[int, int, int]], epoch: int, limited: Sequence[int] = ()
) -> list[Dispatched]:
    """Turn (job id, worker id, order message number) into assignments; the answer holds those still queued.

    `limited` names the jobs with a concurrency key, an array's limit or a rate. These limits, and those of queues and
    users, are counted again here, where nothing is under way; what would overstep one is left out.
    """
    guard = sources(JobState.STARTING, by=Actor.DISPATCHER)
    few = len(places) <= DOCUMENTS_MAX

    def values(ahead: Sequence[tuple[int, int, int]], *, plain: bool) -> tuple[Any, ...]:
        return (*zip(*sorted(ahead), strict=True), epoch, guard, plain, few)

    won: list[Dispatched] = []
    if places and not limited:  # the common case is one round trip: nothing in this Core limits plain jobs
        won = _dispatched(await store.change(sql("dispatch"), *values(places, plain=True)))
    there = {entry.ref.job_id for entry in won}
    left = [place for place in places if place[0] not in there]
    if not left:
        return won

    async def work(connection: asyncpg.Connection) -> list[Dispatched]:
        over = await limits.over(connection, [place[0] for place in left], list(limited))
        ahead = [place for place in left if place[0] not in over]
        if not ahead:
            return []
        more = _dispatched(await connection.fetch(sql("dispatch"), *values(ahead, plain=False)))
        if limited:
            await connection.execute(sql("rate_started"), limited, epoch)
        return more

    return won + await store.run(work)


async def resend(store: Store, orders: Sequence[tuple[JobRef, int]], epoch: int) -> list[Dispatched]:
    """Note that these orders go out again in these messages; the answer holds those that still wait to be accepted."""
    ordered = sorted(orders)
    ids, fences = [ref.job_id for ref, _ in ordered], [ref.fence for ref, _ in ordered]
    seqs = [seq for _, seq in ordered]
    return _dispatched(await store.change(sql("resend"), ids, fences, seqs, epoch))


async def specs(store: Store, spec_ids: Sequence[int]) -> dict[int, bytes]:
    rows = await store.fetch("SELECT id, document FROM specs WHERE id = ANY ($1::bigint[])", spec_ids)
    return {row["id"]: row["document"].encode() for row in rows}


async def next_epoch(store: Store) -> int:
    """Raise and return the epoch of order messages; it only grows."""
    epoch: int = await store.fetchval("UPDATE engine_epoch SET epoch = epoch + 1 RETURNING epoch")
    return epoch


async def started(
    store: Store,
    rows: Sequence[tuple[JobRef, int]],
    spent: Mapping[JobRef, Mapping[str, int]] | None = None,
    images: Mapping[JobRef, str] | None = None,
) -> list[int]:
    """Note that containers run since so many milliseconds; return the ids of jobs (and arrays) that changed.

    `spent` is what their workers measured before (`Spent`); `images` what their tags meant: later attempts of these
    jobs get that very image.
    """
    ordered = sorted(rows)
    ids, fences = [ref.job_id for ref, _ in ordered], [ref.fence for ref, _ in ordered]
    ago = [ago_ms for _, ago_ms in ordered]
    prepared = [encode_json((spent or {}).get(ref, {})).decode() for ref, _ in ordered]
    digests = [(images or {}).get(ref, "") for ref, _ in ordered]
    guard = [state for state in sources(JobState.RUNNING, by=Actor.HARVESTER) if state in _PLACED]
    won = await store.change(sql("started"), ids, fences, ago, guard, prepared, digests)
    return [row["id"] for row in won]


async def progress(store: Store, steps: Sequence[Progress]) -> None:
    ordered = sorted(steps, key=lambda step: step.ref)
    ids, fences = [step.ref.job_id for step in ordered], [step.ref.fence for step in ordered]
    await store.change(sql("progress"), ids, fences, [step.state.value for step in ordered])


async def ends(store: Store, refs: Sequence[JobRef]) -> dict[JobRef, asyncpg.Record]:
    """What verdicts must know per live assignment: tries, crashes, stop_reason and the spec document."""
    rows = await store.fetch(sql("ends"), [ref.job_id for ref in refs], [ref.fence for ref in refs])
    return {JobRef(row["id"], row["fence"]): row for row in rows}


async def settle(store: Store, batch: Sequence[Settlement]) -> list[Settled]:
    """Write verdicts; the answer holds those that passed their guards. All others are superseded."""
    rows = sorted(batch, key=lambda entry: entry.ref)
    guard = [state for state in sources(JobState.FAILED, by=Actor.HARVESTER) if state in _PLACED]
    settled: list[Settled] = []
    for start in range(0, len(rows), SETTLED_AT_ONCE_MAX):
        part = rows[start : start + SETTLED_AT_ONCE_MAX]
        each = [
            [entry.ref.job_id for entry in part],
            [entry.ref.fence for entry in part],
            [entry.ran_ms for entry in part],
            [encode_json(entry.result).decode() if entry.result is not None else None for entry in part],
        ]
        words = _words_of_successes(part)
        if words is not None:
            won = await store.change(sql("settle_succeeded"), guard, *words, *each)
        else:
            numbers: dict[tuple[Any, ...], int] = {}
            kinds = [numbers.setdefault(_kind_of_end(entry), len(numbers) + 1) for entry in part]
            ids, fences, *others = each
            won = await store.change(sql("settle"), guard, ids, fences, kinds, *others, *zip(*numbers, strict=True))
        settled += [
            Settled(
                JobRef(row["id"], row["fence"]),
                row["worker_id"],
                _STATES[row["state"]],
                row["array_id"],
                row["waited_for"],
            )
            for row in won
        ]
    return settled


def _words_of_successes(part: Sequence[Settlement]) -> tuple[str, str, int | None] | None:
    """Return reason, message and exit code where all succeeded in the same words and nothing else is to be noted."""
    words = part[0].reason, part[0].message, part[0].exit_code
    for entry in part:
        alike = entry.state is JobState.SUCCEEDED and (entry.reason, entry.message, entry.exit_code) == words
        more = entry.delay_ms or entry.tries or entry.crashes or entry.orders or entry.grown
        if not alike or more:
            return None
    return words[0], words[1][:MESSAGE_MAX], words[2]


def _kind_of_end(entry: Settlement) -> tuple[Any, ...]:
    """Everything of a verdict that many jobs have alike; it travels once."""
    orders, grown = entry.orders or (None, None), entry.grown
    return (
        entry.state.value,
        entry.reason,
        entry.message[:MESSAGE_MAX],
        entry.exit_code,
        entry.delay_ms,
        entry.tries,
        entry.crashes,
        entry.assignment_state,
        entry.outcome,
        entry.assignment_reason,
        entry.assignment_message[:MESSAGE_MAX],
        *orders,
        *((grown.memory_bytes, grown.shape, grown.line) if grown else (None, None, None)),
    )


async def supersede(store: Store, refs: Sequence[JobRef]) -> None:
    ordered = sorted(refs)
    ids, fences = [ref.job_id for ref in ordered], [ref.fence for ref in ordered]
    await store.change(sql("supersede"), ids, fences)


async def finish_arrays(store: Store, array_ids: Sequence[int]) -> list[int]:
    """Give a verdict to those of the arrays whose members have all ended; return their ids."""
    guard = sources(JobState.FAILED, by=Actor.HARVESTER)
    won = await store.change(sql("arrays_done"), sorted(array_ids), guard)
    return [row["id"] for row in won]


async def stop_overrun(store: Store, array_ids: Sequence[int]) -> list[int]:
    """End the rest of those of the arrays that have more failures than their max_failures; return the members."""
    stopping = sources(JobState.STOPPING, by=Actor.HARVESTER)
    waiting = [state for state in sources(JobState.CANCELLED, by=Actor.HARVESTER) if state not in _PLACED]
    reason = EndReason.CANCELLED_BY_POLICY.value
    won = await store.change(sql("arrays_overrun"), sorted(array_ids), waiting, stopping, reason)
    return [row["id"] for row in won]


async def feed_start(store: Store) -> Cursor:
    return Cursor(await store.fetchval(sql("feed_start")), -1)


async def feed(store: Store, cursor: Cursor, limit: int, known: Sequence[int] = ()) -> tuple[Cursor, list[FeedEntry]]:
    """Return what was committed since `cursor` and touches the queue, and the cursor after it.

    Jobs of one line and priority that are queued are told with one and the same description. What the transactions
    `known` queued is left out.
    """
    rows = await store.fetch(sql("feed"), cursor.xid, cursor.seq, limit, [str(xid) for xid in known])
    entries = []
    alike = Alike()
    for row in rows:
        if row["id"] is None:
            continue  # its record is deleted, or nothing was committed
        state = _STATES[row["state"]]
        waits = state is JobState.QUEUED and not row["is_array"]
        entries.append(
            FeedEntry(
                row["id"],
                state,
                alike.waiting_of(row) if waits else None,
                row["array_id"],
                row["stop_reason"],
                row["stop_kill"],
            )
        )
    last = rows[-1]
    # Less than asked for is all there is: whatever else was committed up to there need not be looked at again.
    more = len(rows) == limit and last["xid"] is not None
    return (Cursor(last["xid"], last["seq"]) if more else Cursor(last["upto"], -1)), entries


async def due(store: Store, limit: int) -> list[Waiting]:
    """Queue the scheduled jobs whose time has come; return those that are to be placed."""
    guard = sources(JobState.QUEUED, by=Actor.HIBERNATOR)
    rows = await store.change(sql("due"), limit, guard)
    return [waiting_of(row) for row in rows if not row["is_array"]]


async def expire(store: Store, limit: int) -> list[int]:
    guard = sources(JobState.EXPIRED, by=Actor.HIBERNATOR)
    rows = await store.change(sql("expire"), limit, guard)
    return [row["id"] for row in rows]


async def stop_late(store: Store, limit: int) -> list[int]:
    """Ask for the stop of jobs that still run at their deadline; return them."""
    guard = sources(JobState.STOPPING, by=Actor.HIBERNATOR)
    reason = EndReason.DEADLINE_PASSED.value
    rows = await store.change(sql("deadlines"), limit, guard, reason)
    return [row["id"] for row in rows]


async def save_line_waits(store: Store, waits: Sequence[LineWaits]) -> None:
    """Write why lines wait (or that they do not); the last word on a line counts."""
    last = {wait.line: wait for wait in waits}
    told = [wait for _, wait in sorted(last.items()) if wait.reason is not None]
    clear = sorted(line for line, wait in last.items() if wait.reason is None)

    async def write(connection: asyncpg.Connection) -> None:
        if clear:
            await connection.execute(sql("line_ready"), clear)
        if told:
            await connection.execute(
                sql("line_waits"),
                [wait.line for wait in told],
                [wait.reason for wait in told],
                [wait.message for wait in told],
                [wait.jobs for wait in told],
            )

    await store.run(write)
