"""Policies: what an admin lets the jobs of a user or a queue loosen."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from swarmsync.errors import NotFound
from swarmsync.model.policy import Allowance
from swarmsync.store.pool import Store
from swarmsync.store.users import Caller

_ALL: Final = "SELECT scope, name, allows, updated_at FROM policies ORDER BY scope, name"


async def allowances(store: Store) -> dict[tuple[str, str], Allowance]:
    """Return all policies by (scope, name), as the API itself: users' own roles see none. There are few."""
    rows = await store.fetch(_ALL)
    return {(row["scope"], row["name"]): msgspec.json.decode(row["allows"], type=Allowance) for row in rows}


async def page(store: Store, caller: Caller) -> list[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]] = await store.fetch(_ALL, **caller.settings)
    return rows


async def put(store: Store, caller: Caller, scope: str, name: str, allows: Allowance) -> Mapping[str, Any]:
    """Make or replace a policy. Raises NotFound for a user or a queue that is not there."""
    known = {"user": "SELECT FROM users WHERE username = $1", "queue": "SELECT FROM queues WHERE name = $1"}[scope]

    async def work(connection: Any) -> Mapping[str, Any]:
        if not await connection.fetchval(f"SELECT EXISTS ({known})", name):
            raise NotFound(f"there is no {scope} {name[:64]!r}")
        row: Mapping[str, Any] = await connection.fetchrow(
            "INSERT INTO policies (scope, name, allows) VALUES ($1, $2, $3)"
            " ON CONFLICT (scope, name) DO UPDATE SET allows = EXCLUDED.allows, updated_at = clock_timestamp()"
            " RETURNING scope, name, allows, updated_at",
            scope,
            name,
            msgspec.json.encode(allows).decode(),
        )
        return row

    return await store.run(work, **caller.settings)


async def remove(store: Store, caller: Caller, scope: str, name: str) -> None:
    query = "DELETE FROM policies WHERE scope = $1 AND name = $2"
    if await store.run(lambda c: c.execute(query, scope, name), **caller.settings) == "DELETE 0":
        raise NotFound(f"there is no policy for the {scope} {name[:64]!r}")
