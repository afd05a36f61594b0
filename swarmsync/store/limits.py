"""What the engine reads of limits: those of queues and users, for the Scheduler and for the guard of dispatch.

A limit counts rows of jobs that are placed, so a slot cannot outlive its assignment. The Scheduler counts to decide,
and PostgreSQL counts again when a job starts: a Scheduler that was killed, or knows last second's limits, oversteps
none.
"""

from typing import Final

import asyncpg
from msgspec import Struct

from swarmsync.model.limits import QueueLimits, UserLimits
from swarmsync.model.spec import RATE_INTERVAL_MAX_MS
from swarmsync.store.pool import Store
from swarmsync.store.queries import sql

#: All limits travel in one message to the Scheduler; the API refuses more.
QUEUES_MAX: Final = 1_000
LIMITED_USERS_MAX: Final = 20_000
SWEEP_MAX: Final = 5_000


class AllLimits(Struct, frozen=True):
    queues: tuple[QueueLimits, ...] = ()
    users: tuple[UserLimits, ...] = ()


async def load(store: Store) -> AllLimits:
    """Return every queue and every user with limits."""

    async def work(connection: asyncpg.Connection) -> AllLimits:
        queues = await connection.fetch(sql("load_queue_limits"))
        users = await connection.fetch(sql("load_user_limits"))
        return AllLimits(tuple([QueueLimits(*row) for row in queues]), tuple([UserLimits(*row) for row in users]))

    return await store.run(work)


async def over(connection: asyncpg.Connection, job_ids: list[int], limited: list[int]) -> set[int]:
    """Return which of these jobs may not start now; `limited` are those with a key, an array's limit or a rate.

    Within the transaction that starts the others. Where anything is limited, starts come one transaction after the
    other: a Dispatcher and the one that it replaces must not both take the last slot.
    """
    quotas = await connection.fetchval(sql("any_quota"))
    if not (quotas or limited):
        return set()
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('starts', 0))")
    rows = await connection.fetch(sql("over_limit"), limited) if limited else []
    if quotas:
        rows += await connection.fetch(sql("over_quota"), job_ids)
    return {row["id"] for row in rows}


async def sweep_rates(store: Store) -> None:
    """Forget starts that are older than any rate's interval."""
    await store.execute(sql("sweep_rates"), RATE_INTERVAL_MAX_MS, SWEEP_MAX)
