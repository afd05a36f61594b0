"""Secrets: sealed values by name, one set per user. The API's roles may write and replace them, and never read one."""

from collections.abc import Sequence
from typing import Final

import asyncpg

from swarmsync.errors import FieldError, NotFound, SpecError
from swarmsync.seal import Sealer
from swarmsync.store.lists import Row
from swarmsync.store.pool import Store
from swarmsync.store.users import Caller

SECRETS_MAX: Final = 1_000
_NAMED: Final = "SELECT name FROM secrets WHERE user_id = $1 AND name = ANY ($2::text[])"


def purpose(user_id: int, name: str) -> str:
    """What a secret is sealed for: it opens as this user's, under this name, and nowhere else."""
    return f"secret:{user_id}:{name}"


async def put(store: Store, caller: Caller, sealer: Sealer, new_id: int, name: str, value: bytes) -> Row:
    """Set or replace a secret. Raises SpecError when the user has too many."""
    sealed = sealer.seal(value, purpose(caller.user_id, name))

    async def work(connection: asyncpg.Connection) -> Row:
        others = "SELECT count(*) FROM secrets WHERE user_id = $1 AND name <> $2"
        if await connection.fetchval(others, caller.user_id, name) >= SECRETS_MAX:
            raise SpecError([FieldError("$.name", f"you have {SECRETS_MAX} secrets already; delete one")])
        row: Row = await connection.fetchrow(
            "INSERT INTO secrets (id, user_id, name, sealed) VALUES ($1, $2, $3, $4)"
            " ON CONFLICT (user_id, name) DO UPDATE SET sealed = $4, updated_at = clock_timestamp()"
            " RETURNING name, created_at, updated_at",
            new_id,
            caller.user_id,
            name,
            sealed,
        )
        return row

    return await store.run(work, **caller.settings)


async def page(store: Store, caller: Caller, *, after: str, limit: int) -> list[Row]:
    """Return up to `limit` + 1 of the caller's own secrets by name: names and dates."""
    query = "SELECT name, created_at, updated_at FROM secrets WHERE user_id = $1 AND name > $2 ORDER BY name LIMIT $3"
    rows: list[Row] = await store.fetch(query, caller.user_id, after, limit + 1, **caller.settings)
    return rows


async def remove(store: Store, caller: Caller, name: str) -> None:
    query = "DELETE FROM secrets WHERE user_id = $1 AND name = $2"
    status = await store.run(lambda c: c.execute(query, caller.user_id, name), **caller.settings)
    if str(status) == "DELETE 0":
        raise NotFound(f"there is no secret {name[:128]!r}")


async def known(store: Store, caller: Caller, names: Sequence[str]) -> frozenset[str]:
    """Return which of these names are secrets of the caller."""
    rows = await store.fetch(_NAMED, caller.user_id, list(names), **caller.settings)
    return frozenset(row["name"] for row in rows)


async def sealed(store: Store, wanted: Sequence[tuple[int, str]]) -> dict[tuple[int, str], bytes]:
    """Return the sealed values of these (user id, name), as far as they exist. For the engine."""
    rows = await store.fetch(
        "SELECT user_id, name, sealed FROM secrets"
        " WHERE (user_id, name) IN (SELECT * FROM unnest($1::bigint[], $2::text[]))",
        [user_id for user_id, _ in wanted],
        [name for _, name in wanted],
    )
    return {(row["user_id"], row["name"]): row["sealed"] for row in rows}
