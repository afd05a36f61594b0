"""A past for the lists: finished jobs written straight into PostgreSQL, with what is rare and what is everywhere.

A list without filters is fast whatever the past; what makes lists slow is skew. So there are a user,
a name, a label, a queue, a schedule and a worker that few and only old jobs have, a label that a tenth of the jobs
share and none of the later ones, and a tenth at the end that are members of arrays, which lists leave out.
"""

import time
from typing import Final

import asyncpg

from swarmsync import ids
from swarmsync.protocol.codec import convert_spec
from swarmsync.store.submit import draft

DAYS: Final = 60
WORKERS: Final = 200
USERS: Final = 100
#: A name, label, queue, schedule, worker and state that FEW of the oldest jobs have.
RARE: Final = "rare"
FEW: Final = 5
BATCH: Final = 50_000
TABLES: Final = "jobs, job_labels, specs, users, workers"
_GENERATOR: Final = 1_021
_FIRST: Final = 1_000_000  # ids of what is made beside the jobs; far below those of real rows

_USERS: Final = """
INSERT INTO users (id, username) SELECT $1::bigint + n, 'past-' || n FROM generate_series(0, $2::int - 1) AS n
"""
_WORKERS: Final = """
INSERT INTO workers (id, name, cpus_milli, memory_bytes, liveness, eligibility)
SELECT $1::bigint + n, CASE n WHEN 0 THEN $3 ELSE 'past-' || n END, 1000, 1 << 30, 'offline', 'cordoned'
FROM generate_series(0, $2::int) AS n
"""
_SPECS: Final = """
INSERT INTO specs (id, user_id, document, sha256) SELECT $1::bigint + n * $2::bigint, $3, $4, $5
FROM generate_series($6::bigint, $7::bigint - 1) AS n
"""
_JOBS: Final = """
WITH v AS (SELECT $1::bigint AS first, $2::bigint AS step, $3::bigint AS base, $4::int AS users, $5::int AS workers,
                  $6::text AS rare, $7::int AS few, $8::bigint AS jobs, $9::bigint AS many, $10::bigint AS epoch_ms),
p AS (SELECT n, v.*, first + n * step AS id, n >= jobs - jobs / 10 AS late, n % 1000 <> 0 AS inner_one,
          to_timestamp(((first + n * step >> 22) + epoch_ms) / 1000.0) AS at,
          CASE WHEN n < few THEN 'expired' WHEN n % 25 = 3 THEN 'failed' WHEN n % 200 = 4 THEN 'timed_out'
               WHEN n % 100 = 5 THEN 'cancelled' ELSE 'succeeded' END AS state
      FROM v CROSS JOIN generate_series($11::bigint, $12::bigint - 1) AS n)
INSERT INTO jobs (id, user_id, queue, name, state, reason, message, since, priority, labels, spec_id, shape, cpus_milli,
                  memory_bytes, submitted_at, started_at, finished_at, fence, worker_id, exit_code, schedule_id,
                  array_id, array_index, array_size)
SELECT id, CASE WHEN n < few THEN base WHEN n % 3 = 0 THEN many ELSE base + 1 + n % (users - 1) END,
    CASE WHEN n < few THEN rare ELSE 'default' END,
    CASE WHEN n < few THEN rare || '-' || n WHEN n % 4 = 0 THEN '' ELSE 'job-' || n % 5000 END, state,
    CASE state WHEN 'succeeded' THEN 'Completed' WHEN 'failed' THEN 'ExitCode' WHEN 'timed_out' THEN 'Timeout'
               WHEN 'expired' THEN 'QueueTimeout' ELSE 'CancelledByUser' END,
    'a sentence with numbers, as ' || n, at, 50,
    CASE WHEN n < few THEN jsonb_build_object('team', rare)
         WHEN n < jobs / 10 THEN '{"campaign": "spring", "team": "web"}'
         WHEN n % 5 = 0 THEN '{"team": "ml"}' ELSE '{}' END,
    id, 1, 1000, 1 << 29, at, at + interval '1 second', at + interval '61 seconds', 1,
    CASE WHEN n < few THEN base ELSE base + 1 + n % workers END,
    CASE state WHEN 'failed' THEN 1 WHEN 'succeeded' THEN 0 END,
    CASE WHEN n < few THEN 1 WHEN n % 50 = 7 THEN 2 + n % 40 END,
    CASE WHEN late AND inner_one THEN id - n % 1000 * step END, CASE WHEN late AND inner_one THEN n % 1000 - 1 END,
    CASE WHEN late THEN 999 END
FROM p
"""


async def fill(connection: asyncpg.Connection, jobs: int, many: int) -> int:
    """Write `jobs` finished jobs, a third of them of the user `many`; return the id of the one in the middle.

    The tables are to be analysed after that.
    """
    span_ms = DAYS * 24 * 3_600_000
    step = max(1, span_ms // jobs) << 22
    first = (time.time_ns() // 1_000_000 - ids.EPOCH_MS - span_ms - 60_000 << 22) | _GENERATOR << 12
    made = draft_of_a_job()
    await connection.execute("INSERT INTO queues (name) VALUES ($1) ON CONFLICT DO NOTHING", RARE)
    await connection.execute(_USERS, _FIRST, USERS)
    await connection.execute(_WORKERS, _FIRST, WORKERS, RARE)
    for low in range(0, jobs, BATCH):
        high = min(low + BATCH, jobs)
        values = (first, step, _FIRST, USERS, WORKERS, RARE, FEW, jobs, many, ids.EPOCH_MS, low, high)
        await connection.execute(_JOBS, *values, timeout=600)
        await connection.execute(_SPECS, first, step, many, *made, low, high, timeout=600)
    return first + jobs // 2 * step


def draft_of_a_job() -> tuple[str, bytes]:
    """The spec that all of them have, as it is stored."""
    made = draft(convert_spec({"image": "demo", "command": ["echo", "hello"], "labels": {"team": "ml"}}))
    return made.document, made.sha256
