"""Logins of image registries: written and listed by operators, read (sealed) by the Dispatcher only."""

from typing import Final

import asyncpg

from swarmsync.store.lists import Row
from swarmsync.store.pool import Store
from swarmsync.store.queries import sql
from swarmsync.store.users import Caller

LOGINS_MAX: Final = 1_000


async def page(store: Store, caller: Caller) -> list[Row]:
    query = "SELECT registry, username, changed_at FROM registry_logins ORDER BY registry LIMIT $1"
    rows: list[Row] = await store.fetch(query, LOGINS_MAX, **caller.settings)
    return rows


async def put(store: Store, caller: Caller, registry: str, username: str, sealed: bytes) -> None:
    """Make or replace a login."""
    query = (
        "INSERT INTO registry_logins (registry, username, sealed) VALUES ($1, $2, $3)"
        " ON CONFLICT (registry) DO UPDATE SET username = $2, sealed = $3, changed_at = clock_timestamp()"
    )
    await store.run(lambda c: c.execute(query, registry, username, sealed), **caller.settings)


async def remove(store: Store, caller: Caller, registry: str) -> bool:
    query = "DELETE FROM registry_logins WHERE registry = $1"
    status = await store.run(lambda c: c.execute(query, registry), **caller.settings)
    return str(status) != "DELETE 0"


async def sealed(store: Store) -> list[asyncpg.Record]:
    """Return (registry, username, sealed) of all; for the engine."""
    rows: list[asyncpg.Record] = await store.fetch(sql("registry_logins"), LOGINS_MAX)
    return rows
