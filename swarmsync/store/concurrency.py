"""What a concurrency key does when a job is submitted; how many run at a time is the guard of dispatch.

Keys are shared by all users. `queue` needs nothing here; `reject` refuses a job that could not start at once; and
`cancel_oldest` makes room by ending the caller's own oldest jobs of the key.
"""

from collections.abc import Mapping
from typing import Final

import asyncpg

from swarmsync.errors import Conflict
from swarmsync.model.lifecycle import Actor, EndReason, JobState, sources
from swarmsync.model.spec import Concurrency
from swarmsync.store.queries import sql

_CANCELLED: Final = sources(JobState.CANCELLED, by=Actor.API)
_STOPPING: Final = sources(JobState.STOPPING, by=Actor.API)


async def admit(
    connection: asyncpg.Connection, user_id: int, wanted: Mapping[Concurrency, int], new_ids: list[int]
) -> None:
    """Apply `on_limit` of each key to the so many jobs that this transaction has just made.

    Raises Conflict for `reject`. Keys are locked in the order of their names, so that submissions wait for each other.
    """
    for entry in sorted(wanted, key=lambda entry: (entry.key, entry.limit)):
        if entry.on_limit != "queue":
            await _admit(connection, user_id, entry, wanted[entry], new_ids)


async def _admit(
    connection: asyncpg.Connection, user_id: int, wanted: Concurrency, fresh: int, new_ids: list[int]
) -> None:
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"concurrency {wanted.key}")
    there = await connection.fetchval("SELECT jobs_of_key($1)", wanted.key)
    if there <= wanted.limit:
        return
    if wanted.on_limit == "reject":
        when = "submit it later" if fresh <= wanted.limit else f"{fresh} more never fit: submit fewer"
        raise Conflict(
            f"concurrency key {wanted.key!r} has {max(0, there - fresh)} of {wanted.limit} jobs that are not over;"
            f" {when}, or with on_limit: queue"
        )
    excess = there - await connection.fetchval("SELECT stops_of_key($1)", wanted.key) - wanted.limit
    if excess <= 0:
        return  # enough of them are being stopped already
    await connection.execute(
        sql("cancel_oldest"),
        user_id,
        wanted.key,
        excess,
        _CANCELLED,
        _STOPPING,
        EndReason.CANCELLED_BY_POLICY.value,
        f"made room for a newer job of the concurrency key {wanted.key!r}",
        new_ids,
    )
