"""API tokens and login keys as people manage them, each statement under the caller's own rights."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import asyncpg

from swarmsync.errors import Conflict
from swarmsync.store.lists import Row
from swarmsync.store.pool import Store
from swarmsync.store.users import Caller, User, find_user, new_token

TOKENS_MAX: Final = 100
KEYS_MAX: Final = 20
_TOKENS: Final = """
SELECT t.id, t.name, t.scopes, t.created_at, t.expires_at, u.username
FROM tokens t JOIN users u ON u.id = t.user_id
"""
_KEYS: Final = "SELECT k.id, k.name, k.key_id, k.created_at, u.username FROM keys k JOIN users u ON u.id = k.user_id"
#: The first wall: beside the administrator everybody asks for the own rows only.
_MINE: Final = "(u.id = $1 OR $2)"


async def tokens(store: Store, caller: Caller, *, before: int, limit: int) -> list[Row]:
    """Return up to `limit` + 1 tokens, newest first."""
    query = f"{_TOKENS} WHERE {_MINE} AND t.id < $3 ORDER BY t.id DESC LIMIT $4"
    rows: list[Row] = await store.fetch(query, caller.user_id, _all(caller), before, limit + 1, **caller.settings)
    return rows


async def token(store: Store, caller: Caller, *, token_id: int | None, name: str) -> Row | None:
    """Find a token by its id, or one of the caller's own by its name."""
    query = f"{_TOKENS} WHERE {_MINE} AND (t.id = $3 OR (t.name = $4 AND u.id = $1))"
    row: Row | None = await store.fetchrow(query, caller.user_id, _all(caller), token_id, name, **caller.settings)
    return row


async def add_token(
    store: Store, caller: Caller, new_id: int, *, owner_id: int, name: str, scopes: Sequence[str], expires_at: datetime
) -> str:
    """Make a token and return its text, which is nowhere stored. Raises Conflict for a name that the owner has."""
    text, digest = new_token("t")

    async def work(connection: asyncpg.Connection) -> None:
        if await connection.fetchval("SELECT count(*) FROM tokens WHERE user_id = $1", owner_id) >= TOKENS_MAX:
            raise Conflict(f"there are {TOKENS_MAX} tokens already; revoke those that nobody uses")
        try:
            await connection.execute(
                "INSERT INTO tokens (id, user_id, name, sha256, expires_at, scopes) VALUES ($1, $2, $3, $4, $5, $6)",
                new_id,
                owner_id,
                name,
                digest,
                expires_at,
                list(scopes),
            )
        except asyncpg.UniqueViolationError:
            raise Conflict(f"there is a token {name!r} already; revoke it first or choose another name") from None

    await store.run(work, **caller.settings)
    return text


async def remove_token(store: Store, caller: Caller, token_id: int) -> None:
    await store.run(lambda c: c.execute("DELETE FROM tokens WHERE id = $1", token_id), **caller.settings)


async def keys(store: Store, caller: Caller, *, before: int, limit: int) -> list[Row]:
    """Return up to `limit` + 1 keys, newest first."""
    query = f"{_KEYS} WHERE {_MINE} AND k.id < $3 ORDER BY k.id DESC LIMIT $4"
    rows: list[Row] = await store.fetch(query, caller.user_id, _all(caller), before, limit + 1, **caller.settings)
    return rows


async def key(store: Store, caller: Caller, *, row_id: int | None, text: str) -> Row | None:
    """Find a key by its id, or one of the caller's own by its name or fingerprint."""
    query = f"{_KEYS} WHERE {_MINE} AND (k.id = $3 OR (u.id = $1 AND (k.name = $4 OR k.key_id = $4)))"
    row: Row | None = await store.fetchrow(query, caller.user_id, _all(caller), row_id, text, **caller.settings)
    return row


async def add_key(
    store: Store, caller: Caller, new_id: int, *, owner_id: int, name: str, key_id: str, public_key: bytes
) -> None:
    """Raises Conflict for a name or a key that the owner has."""

    async def work(connection: asyncpg.Connection) -> None:
        if await connection.fetchval("SELECT count(*) FROM keys WHERE user_id = $1", owner_id) >= KEYS_MAX:
            raise Conflict(f"there are {KEYS_MAX} keys already; remove those that nobody uses")
        try:
            await connection.execute(
                "INSERT INTO keys (id, user_id, name, key_id, public_key) VALUES ($1, $2, $3, $4, $5)",
                new_id,
                owner_id,
                name,
                key_id,
                public_key,
            )
        except asyncpg.UniqueViolationError:
            raise Conflict(f"there is a key {name!r} or this very key already; remove it first") from None

    await store.run(work, **caller.settings)


async def remove_key(store: Store, caller: Caller, row_id: int) -> None:
    await store.run(lambda c: c.execute("DELETE FROM keys WHERE id = $1", row_id), **caller.settings)


async def login_key(store: Store, username: str, key_id: str) -> tuple[User, str, bytes] | None:
    """Return user, name and public key for a login with the API's own rights; None where there is no such key."""
    query = "SELECT name, public_key FROM keys WHERE user_id = $1 AND key_id = $2"
    async with store.connection() as connection:
        user = await find_user(connection, username)
        row = None if user is None else await connection.fetchrow(query, user.user_id, key_id)
    return None if user is None or row is None else (user, row["name"], row["public_key"])


def _all(caller: Caller) -> bool:
    return caller.role == "admin"
