"""What the API shows of the whole: workers, queues, counts, rates and latencies; and the cordon of a worker."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg
import msgspec
from msgspec import Struct

from swarmsync.model.durability import SETTINGS, Judgement, judge
from swarmsync.model.lifecycle import WAITING, Eligibility, JobState, WaitReason
from swarmsync.store.lists import Row
from swarmsync.store.pool import Store
from swarmsync.store.users import Caller

_WORKERS: Final = """
SELECT w.id, w.name, w.cpus_milli, w.memory_bytes, w.gpus, w.disk_bytes, w.runtime, w.version, w.liveness,
    w.labels || w.set_labels AS labels, w.eligibility, w.note, w.drain_until, w.images, w.joined_at, w.last_pulse_at,
    b.jobs, b.cpus_used, b.memory_used, b.gpus_used, b.disk_used
FROM workers w
CROSS JOIN LATERAL (
    SELECT count(*) AS jobs, COALESCE(sum(j.cpus_milli), 0) AS cpus_used,
        COALESCE(sum(j.memory_bytes), 0) AS memory_used, COALESCE(sum(j.gpus), 0) AS gpus_used,
        COALESCE(sum(j.disk_bytes), 0) AS disk_used
    FROM jobs j
    WHERE j.worker_id = w.id AND j.state IN ('starting', 'running', 'stopping') AND j.assignment_state IS NOT NULL
) b
"""
#: Of first attempts only, and not of jobs that had a time to wait for.
_LATENCY: Final = """
SELECT count(*) AS jobs, percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) AS p50,
    percentile_cont(0.99) WITHIN GROUP (ORDER BY ms) AS p99
FROM (SELECT extract(epoch FROM started_at - submitted_at) * 1000 AS ms FROM jobs
      WHERE finished_at > clock_timestamp() - interval '1 day' AND started_at IS NOT NULL AND fence = 1
        AND run_at IS NULL
      ORDER BY finished_at DESC LIMIT 1000) AS latest
"""
#: What ended in each step of the last minutes, and how long first attempts took from submission to start.
_CURVE: Final = """
SELECT (floor(extract(epoch FROM finished_at) / $1) * $1)::bigint AS at, count(*) AS ended,
    count(*) FILTER (WHERE state IN ('failed', 'timed_out')) AS failed,
    percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY extract(epoch FROM started_at - submitted_at) * 1000)
        FILTER (WHERE started_at IS NOT NULL AND fence = 1 AND run_at IS NULL) AS ms
FROM jobs WHERE finished_at >= to_timestamp($2) AND (array_size IS NULL OR array_id IS NOT NULL)
GROUP BY 1 ORDER BY 1
"""
_LEADER: Final = "SELECT c.name || ' ' || c.address FROM engine_epoch e JOIN cores c ON c.id = e.core_id"
#: What waits, what is placed and what has ended since $3, in one look, so that no job is seen in two states. Each part
#: has an index of just its rows. A queued job without a reason of its own waits for that of its shape. Of an array the
#: members count.
_COUNTS: Final = """
SELECT j.state, COALESCE(NULLIF(j.reason, ''), p.reason, $2) AS reason, count(*) AS jobs
FROM jobs j LEFT JOIN waiting_lines p ON p.line = j.line AND j.state = 'queued'
WHERE j.state = ANY ($1::text[]) AND (j.array_size IS NULL OR j.array_id IS NOT NULL) GROUP BY 1, 2
UNION ALL
SELECT j.state, NULL, count(*) FROM jobs j
WHERE j.state IN ('starting', 'running', 'stopping') AND (j.array_size IS NULL OR j.array_id IS NOT NULL) GROUP BY 1
UNION ALL
SELECT j.state, NULL, count(*) FROM jobs j
WHERE j.finished_at >= $3 AND (j.array_size IS NULL OR j.array_id IS NOT NULL) GROUP BY 1
"""
_ENDED_BEFORE: Final = """
SELECT state, count(*) AS jobs FROM jobs
WHERE finished_at < $1 AND (array_size IS NULL OR array_id IS NOT NULL) GROUP BY 1
"""
_ENDED_LATELY: Final = """
SELECT count(*) FROM jobs
WHERE finished_at > now() - interval '1 minute' AND (array_size IS NULL OR array_id IS NOT NULL)
"""
#: No transaction lasts so long: what ended before that is known to have ended.
_SETTLED: Final = "SELECT clock_timestamp() - interval '10 minutes'"
_ALWAYS: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: Of each source the newest error among its last records.
_LAST_ERRORS: Final = """
SELECT s.source, e.at, e.message FROM unnest($1::text[]) AS s (source)
CROSS JOIN LATERAL (
    SELECT r.at, r.message FROM (
        SELECT id, at, level, message FROM log_records WHERE source = s.source ORDER BY id DESC LIMIT 500
    ) r WHERE r.level = 'error' ORDER BY r.id DESC LIMIT 1
) e
"""


_FLEET: Final = """
SELECT w.eligibility, count(*) AS workers, sum(w.cpus_milli) FILTER (WHERE w.liveness = 'ready') AS cpus_milli,
    sum(w.memory_bytes) FILTER (WHERE w.liveness = 'ready') AS memory_bytes,
    sum(w.gpus) FILTER (WHERE w.liveness = 'ready') AS gpus
FROM workers w GROUP BY 1
"""
_ASSIGNED: Final = """
SELECT COALESCE(sum(cpus_milli), 0) AS cpus_milli, COALESCE(sum(memory_bytes), 0) AS memory_bytes,
    COALESCE(sum(gpus), 0) AS gpus
FROM jobs WHERE state IN ('starting', 'running', 'stopping') AND assignment_state IS NOT NULL
"""


class Fleet(Struct, frozen=True):
    """What ready workers offer, what jobs hold of it, and all workers by what they may take."""

    eligibility: Mapping[str, int]
    cpus: float
    memory_bytes: int
    gpus: int
    cpus_used: float
    memory_bytes_used: int
    gpus_used: int


class Past(Struct, frozen=True):
    """How many jobs had ended before `until`, by state. They stay so, unless their records are deleted."""

    until: datetime
    deletions: int  # how many the teller knew of
    jobs: Mapping[str, int]


class Stats(Struct, frozen=True):
    """Jobs are counted as far as the caller sees them; an array's members count, the array itself does not."""

    jobs: Mapping[str, int]
    workers: Mapping[str, int]
    waiting: Mapping[str, int]  # by reason
    finished_last_minute: int
    measured: int  # how many of the last jobs the latencies are from
    submit_to_start_p50_ms: float | None
    submit_to_start_p99_ms: float | None
    leader: str | None = None  # name and address of the Core that leads


async def workers(
    store: Store, caller: Caller, *, after: str, limit: int, labels: Mapping[str, str] | None
) -> list[Row]:
    """Return up to `limit` + 1 workers by name."""
    wanted = None if labels is None else msgspec.json.encode(labels).decode()
    labelled = "($3::jsonb IS NULL OR (w.labels || w.set_labels) @> $3::jsonb)"
    query = f"{_WORKERS} WHERE w.name > $1 AND {labelled} ORDER BY w.name LIMIT $2"
    rows: list[Row] = await store.fetch(query, after, limit + 1, wanted, **caller.settings)
    return rows


async def worker(store: Store, caller: Caller, *, worker_id: int | None, name: str) -> Row | None:
    query = f"{_WORKERS} WHERE w.id = $1 OR w.name = $2 ORDER BY w.name = $2 DESC LIMIT 1"
    row: Row | None = await store.fetchrow(query, worker_id, name, **caller.settings)
    return row


async def set_eligibility(
    store: Store,
    caller: Caller,
    worker_id: int,
    wanted: Eligibility,
    sources: tuple[Eligibility, ...],
    within_ms: int | None = None,
) -> bool:
    """Change what people let a worker take; False where it is in none of the `sources`. `within_ms` ends a drain."""
    query = (
        "UPDATE workers SET eligibility = $2, note = '', drain_until = CASE"
        " WHEN $4::bigint IS NOT NULL THEN clock_timestamp() + $4 * interval '1 millisecond'"
        " WHEN eligibility = $2 THEN drain_until END WHERE id = $1 AND eligibility = ANY ($3::text[])"
    )
    status = await store.run(
        lambda c: c.execute(query, worker_id, wanted.value, [s.value for s in sources], within_ms), **caller.settings
    )
    return str(status) != "UPDATE 0"


async def queue_names(store: Store, caller: Caller) -> frozenset[str]:
    rows = await store.fetch("SELECT name FROM queues", **caller.settings)
    return frozenset(row["name"] for row in rows)


async def past(store: Store, caller: Caller, *, deletions: int) -> Past:
    """Count what ended more than ten minutes ago: this reads every row that the caller sees."""

    async def work(connection: asyncpg.Connection) -> Past:
        until = await connection.fetchval(_SETTLED)
        rows = await connection.fetch(_ENDED_BEFORE, until)
        return Past(until, deletions, {row["state"]: row["jobs"] for row in rows})

    return await store.run(work, **caller.settings)


async def stats(store: Store, caller: Caller, known: Past | None = None) -> Stats:
    """Count what waits, what is placed, and what has ended since what is `known`."""

    async def work(connection: asyncpg.Connection) -> Stats:
        alive = await connection.fetch("SELECT liveness, count(*) AS workers FROM workers GROUP BY liveness")
        since = _ALWAYS if known is None else known.until
        waiting = [state.value for state in WAITING]
        rows = await connection.fetch(_COUNTS, waiting, WaitReason.EVALUATING.value, since)
        latency: Any = await connection.fetchrow(_LATENCY)
        jobs = Counter({state.value: 0 for state in JobState})
        jobs.update({} if known is None else known.jobs)
        reasons: Counter[str] = Counter()
        for row in rows:
            jobs[row["state"]] += row["jobs"]
            if row["reason"] is not None:
                reasons[row["reason"]] += row["jobs"]
        return Stats(
            dict(jobs),
            {row["liveness"]: row["workers"] for row in alive},
            dict(reasons),
            await connection.fetchval(_ENDED_LATELY),
            latency["jobs"],
            latency["p50"],
            latency["p99"],
            await connection.fetchval(_LEADER),
        )

    return await store.run(work, **caller.settings)


async def fleet(store: Store, caller: Caller) -> Fleet:
    async def work(connection: asyncpg.Connection) -> Fleet:
        rows = await connection.fetch(_FLEET)
        used = await connection.fetchrow(_ASSIGNED)
        offered = {name: int(sum(row[name] or 0 for row in rows)) for name in ("cpus_milli", "memory_bytes", "gpus")}
        return Fleet(
            {row["eligibility"]: row["workers"] for row in rows},
            offered["cpus_milli"] / 1_000,
            offered["memory_bytes"],
            offered["gpus"],
            int(used["cpus_milli"]) / 1_000,
            int(used["memory_bytes"]),
            int(used["gpus"]),
        )

    return await store.run(work, **caller.settings)


async def curve(store: Store, caller: Caller, *, step_s: int, from_s: int) -> list[Row]:
    """Return (at, ended, failed, ms) of each step in which jobs ended; `ms` is the median and the 99th percentile."""
    rows: list[Row] = await store.fetch(_CURVE, step_s, from_s, **caller.settings)
    return rows


async def durability(store: Store, caller: Caller) -> Judgement:
    """Judge the settings as a transaction of the engine has them."""
    query = f"SELECT {', '.join(f'current_setting({name!r})' for name in SETTINGS)}"
    return judge(*await store.fetchrow(query, **caller.settings))


async def last_errors(store: Store, caller: Caller, sources: Sequence[str]) -> list[Row]:
    """Return (source, at, message) for each source that has logged an error lately; for operators."""
    rows: list[Row] = await store.fetch(_LAST_ERRORS, list(sources), **caller.settings)
    return rows
