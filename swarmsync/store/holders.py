"""Who holds the slots of a limit, and the limits of users: what people look at when something waits.

A slot is the row of a job that is placed. Rows are shown as far as the caller may see them; how many slots are held
counts everybody's, by functions that tell a number and nothing else.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

import asyncpg
from msgspec import Struct

from swarmsync.errors import Conflict
from swarmsync.store.limits import LIMITED_USERS_MAX
from swarmsync.store.lists import Row
from swarmsync.store.pool import Store
from swarmsync.store.users import Caller

Kind = Literal["key", "queue", "user", "array"]

#: The column of `jobs` by which each kind of limit counts.
_COLUMNS: Final[Mapping[Kind, str]] = {
    "key": "concurrency_key",
    "queue": "queue",
    "user": "user_id",
    "array": "array_id",
}
_PLACED: Final = "j.state IN ('starting', 'running', 'stopping') AND j.assignment_state IS NOT NULL"
_WAITING: Final = (
    "j.state IN ('held', 'scheduled', 'blocked', 'queued') AND (j.array_size IS NULL OR j.array_id IS NOT NULL)"
)


#: Of rules that were stored before their numbers were bounded, too.
_KEY_LIMIT: Final = "LEAST((j.rules::jsonb #>> '{concurrency,limit}')::numeric, 1e18)::bigint"
_PARALLEL: Final = "LEAST((rules::jsonb ->> 'parallel')::numeric, 1e18)::bigint"


def _text(query: str) -> str:
    for word, text in (
        ("PLACED", _PLACED), ("WAITING", _WAITING), ("KEY_LIMIT", _KEY_LIMIT), ("PARALLEL", _PARALLEL),
    ):  # fmt: skip
        query = query.replace(word, text)
    return query


_HOLDERS: Final = _text("""
SELECT j.id, j.name, u.username, j.queue, j.state, j.fence, w.name AS worker, j.offered_at, j.started_at, j.cpus_milli,
    j.memory_bytes, j.gpus, j.array_index, KEY_LIMIT AS key_limit,
    extract(epoch FROM clock_timestamp() - j.offered_at)::float8 AS age_s
FROM jobs j JOIN users u ON u.id = j.user_id LEFT JOIN workers w ON w.id = j.worker_id
WHERE PLACED AND j.id > $2 AND j.COLUMN = $1 ORDER BY j.id LIMIT $3
""")
#: Each gives (limit, held, waiting) of one name.
_STANDING: Final[Mapping[Kind, str]] = {
    "key": _text("""
        SELECT max(KEY_LIMIT) AS most, slots_of_key($1) AS held,
            count(*) FILTER (WHERE WAITING) AS waiting
        FROM jobs j WHERE j.concurrency_key = $1 AND j.finished_at IS NULL"""),
    "queue": _text("""
        SELECT (SELECT max_running FROM queues WHERE name = $1) AS most, slots_of_queue($1) AS held,
            (SELECT count(*) FROM jobs j WHERE j.queue = $1 AND WAITING) AS waiting"""),
    "user": _text("""
        SELECT (SELECT max_running FROM user_limits WHERE user_id = $1) AS most,
            (SELECT count(*) FROM jobs j WHERE j.user_id = $1 AND PLACED) AS held,
            (SELECT count(*) FROM jobs j WHERE j.user_id = $1 AND WAITING) AS waiting"""),
    "array": _text("""
        SELECT (SELECT PARALLEL FROM jobs WHERE id = $1) AS most,
            count(*) FILTER (WHERE PLACED) AS held, count(*) FILTER (WHERE WAITING) AS waiting
        FROM jobs j WHERE j.array_id = $1"""),
}
_KEYS: Final = _text("""
SELECT k.name, k.most, slots_of_key(k.name) AS held, k.waiting FROM (
    SELECT j.concurrency_key AS name, max(KEY_LIMIT) AS most,
        count(*) FILTER (WHERE WAITING) AS waiting
    FROM jobs j WHERE j.concurrency_key > $1 AND j.finished_at IS NULL GROUP BY 1 ORDER BY 1 LIMIT $2) k
""")
_USERS: Final = _text("""
SELECT u.username AS name, l.max_running AS most,
    (SELECT count(*) FROM jobs j WHERE j.user_id = l.user_id AND PLACED) AS held,
    (SELECT count(*) FROM jobs j WHERE j.user_id = l.user_id AND WAITING) AS waiting
FROM user_limits l JOIN users u ON u.id = l.user_id WHERE u.username > $1 ORDER BY 1 LIMIT $2
""")
_QUEUES: Final = _text("""
SELECT q.name, q.max_running AS most, slots_of_queue(q.name) AS held,
    (SELECT count(*) FROM jobs j WHERE j.queue = q.name AND WAITING) AS waiting
FROM queues q WHERE q.name > $1 ORDER BY 1 LIMIT $2
""")
_LISTS: Final = {"key": _KEYS, "user": _USERS, "queue": _QUEUES}
_USER_LIMITS: Final = _text("""
SELECT u.username, l.max_running, l.max_cpus_milli, l.max_memory_bytes, l.max_gpus, COALESCE(l.weight, 1) AS weight,
    l.updated_at, b.*
FROM users u LEFT JOIN user_limits l ON l.user_id = u.id
CROSS JOIN LATERAL (
    SELECT count(*) AS running, COALESCE(sum(j.cpus_milli), 0) AS cpus_used,
        COALESCE(sum(j.memory_bytes), 0) AS memory_used, COALESCE(sum(j.gpus), 0) AS gpus_used
    FROM jobs j WHERE j.user_id = u.id AND PLACED
) b WHERE u.id = $1
""")


class Standing(Struct, frozen=True):
    """How much of a limit is taken. `most` of a key is the largest that its jobs name; None is no limit."""

    most: int | None
    held: int
    waiting: int  # as far as the caller sees them


async def standing(store: Store, caller: Caller, kind: Kind, name: str | int) -> Standing:
    row = await store.fetchrow(_STANDING[kind], name, **caller.settings)
    return Standing(row["most"], row["held"], row["waiting"])


async def holders(store: Store, caller: Caller, kind: Kind, name: str | int, after: int, limit: int) -> list[Row]:
    """Return up to `limit` + 1 jobs that hold a slot, the oldest job first."""
    query = _HOLDERS.replace("COLUMN", _COLUMNS[kind])
    rows: list[Row] = await store.fetch(query, name, after, limit + 1, **caller.settings)
    return rows


async def in_use(store: Store, caller: Caller, kind: Literal["key", "queue", "user"], after: str, limit: int) -> Any:
    """Return up to `limit` + 1 limits of this kind by name."""
    return await store.fetch(_LISTS[kind], after, limit + 1, **caller.settings)


async def user_limits(store: Store, caller: Caller, user_id: int) -> Row:
    """Return a user's limits, with what is used of them."""
    row: Row = await store.fetchrow(_USER_LIMITS, user_id, **caller.settings)
    return row


async def set_user_limits(store: Store, caller: Caller, user_id: int, values: Mapping[str, Any]) -> None:
    """Set these columns of `user_limits`; None takes a limit away. For operators."""
    columns = sorted(values)

    async def work(connection: asyncpg.Connection) -> None:
        there = await connection.fetchval("SELECT EXISTS (SELECT FROM user_limits WHERE user_id = $1)", user_id)
        if not there and await connection.fetchval("SELECT count(*) FROM user_limits") >= LIMITED_USERS_MAX:
            raise Conflict(f"{LIMITED_USERS_MAX} users have limits already; clear some first")
        await connection.execute("INSERT INTO user_limits (user_id) VALUES ($1) ON CONFLICT DO NOTHING", user_id)
        if columns:
            changes = ", ".join(f"{column} = ${number}" for number, column in enumerate(columns, 2))
            await connection.execute(
                f"UPDATE user_limits SET {changes}, updated_at = clock_timestamp() WHERE user_id = $1",  # noqa: S608 ours
                user_id,
                *(values[column] for column in columns),
            )

    await store.run(work, **caller.settings)


async def clear_user_limits(store: Store, caller: Caller, user_id: int) -> None:
    await store.run(lambda c: c.execute("DELETE FROM user_limits WHERE user_id = $1", user_id), **caller.settings)
