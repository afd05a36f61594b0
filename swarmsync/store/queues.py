"""Queues as people see and change them: a row each, with its limits and what stands and runs in it.

Every function runs as its caller; the grants let only operators change queues.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import asyncpg

from swarmsync.errors import Conflict, FieldError, NotFound, SpecError, TooMany
from swarmsync.store.limits import QUEUES_MAX
from swarmsync.store.lists import Row
from swarmsync.store.pool import Store
from swarmsync.store.users import Caller

DEFAULT: Final = "default"
RETRY_AFTER_S: Final = 5
#: What PATCH may change.
COLUMNS: Final = (
    "paused", "max_running", "max_running_per_user", "max_waiting", "max_cpus_milli", "max_memory_bytes", "placement",
    "weight",
)  # fmt: skip

_SELECT: Final = """
SELECT q.name, q.paused, q.max_running, q.max_running_per_user, q.max_waiting, q.max_cpus_milli, q.max_memory_bytes,
    q.placement, q.weight, q.created_at, q.updated_at,
    (SELECT count(*) FROM jobs j WHERE j.queue = q.name AND j.state IN ('held', 'scheduled', 'blocked', 'queued')
        AND (j.array_size IS NULL OR j.array_id IS NOT NULL)) AS waiting,
    (SELECT count(*) FROM jobs j WHERE j.queue = q.name AND j.state IN ('starting', 'running', 'stopping')
        AND j.assignment_state IS NOT NULL) AS running
FROM queues q
"""


async def page(store: Store, caller: Caller, *, after: str, limit: int) -> list[Row]:
    """Return up to `limit` + 1 queues by name; jobs are counted as far as the caller sees them."""
    query = f"{_SELECT} WHERE q.name > $1 ORDER BY q.name LIMIT $2"
    rows: list[Row] = await store.fetch(query, after, limit + 1, **caller.settings)
    return rows


async def one(store: Store, caller: Caller, name: str) -> Row:
    return await store.run(lambda c: _one(c, name), **caller.settings)


async def create(store: Store, caller: Caller, name: str, values: Mapping[str, Any]) -> Row:
    """Make a queue. Raises Conflict for a name that is taken, SpecError for one that is none."""

    async def work(connection: asyncpg.Connection) -> Row:
        if await connection.fetchval("SELECT count(*) FROM queues") >= QUEUES_MAX:
            raise Conflict(f"there are {QUEUES_MAX} queues already; delete one first")
        try:
            await connection.execute("INSERT INTO queues (name) VALUES ($1)", name)
        except asyncpg.UniqueViolationError:
            raise Conflict(f"there is a queue {name!r} already") from None
        except asyncpg.CheckViolationError:
            sentence = "use 1-63 letters, digits, '_', '.' and '-', with a letter or digit first"
            raise SpecError([FieldError("$.name", f"{name[:64]!r} is no name of a queue; {sentence}")]) from None
        await _set(connection, name, values)
        return await _one(connection, name)

    return await store.run(work, **caller.settings)


async def update(store: Store, caller: Caller, name: str, values: Mapping[str, Any]) -> Row:
    """Set these columns, of COLUMNS; None takes a limit away. Raises NotFound."""

    async def work(connection: asyncpg.Connection) -> Row:
        await _set(connection, name, values)
        return await _one(connection, name)

    return await store.run(work, **caller.settings)


async def delete(store: Store, caller: Caller, name: str) -> None:
    """Delete a queue that nothing needs. Raises NotFound, and Conflict that says what needs it."""
    if name == DEFAULT:
        raise Conflict(f"the queue {DEFAULT!r} cannot be deleted: jobs that name none are in it")

    async def work(connection: asyncpg.Connection) -> None:
        if await connection.execute("DELETE FROM queues WHERE name = $1", name) == "DELETE 0":
            raise _missing(name)
        waiting = await connection.fetchval("SELECT waiting_in_queue($1)", name)
        running = await connection.fetchval("SELECT slots_of_queue($1)", name)
        if waiting or running:
            raise Conflict(
                f"the queue {name!r} has {waiting} waiting and {running} running jobs; cancel them, or move those that"
                " wait to another queue, then delete it"
            )
        schedules = await connection.fetchval("SELECT schedules_of_queue($1)", name)
        if schedules:
            raise Conflict(f"{schedules} schedules make jobs in the queue {name!r}; change or delete them first")

    await store.run(work, **caller.settings)


async def admit(connection: asyncpg.Connection, names: Sequence[str]) -> None:
    """Look, within the transaction that put jobs into these queues, whether they hold more than their `max_waiting`.

    Submissions to one such queue come one after the other. Raises TooMany.
    """
    for name in sorted(names):
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"queue {name}")
        most = await connection.fetchval("SELECT max_waiting FROM queues WHERE name = $1", name)
        if most is None:
            continue
        waiting = await connection.fetchval("SELECT waiting_in_queue($1)", name)
        if waiting > most:
            raise TooMany(
                f"the queue {name!r} would have {waiting} waiting jobs, and takes {most}; submit fewer, later, or to"
                " another queue",
                RETRY_AFTER_S,
            )


async def _one(connection: asyncpg.Connection, name: str) -> Row:
    row: Row | None = await connection.fetchrow(f"{_SELECT} WHERE q.name = $1", name)
    if row is None:
        raise _missing(name)
    return row


async def _set(connection: asyncpg.Connection, name: str, values: Mapping[str, Any]) -> None:
    columns = [column for column in COLUMNS if column in values]
    assert len(columns) == len(values), f"not of a queue: {sorted(values.keys() - set(COLUMNS))}"
    if columns:
        changes = ", ".join(f"{column} = ${number}" for number, column in enumerate(columns, 2))
        await connection.execute(
            f"UPDATE queues SET {changes}, updated_at = clock_timestamp() WHERE name = $1",  # noqa: S608 names of ours
            name,
            *(values[column] for column in columns),
        )


def _missing(name: str) -> NotFound:
    return NotFound(f"there is no queue {name[:64]!r}")
