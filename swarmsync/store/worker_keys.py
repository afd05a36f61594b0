"""Join tokens and the keys of workers. A token is stored as its SHA-256 and used once; a key is only ever public."""

import secrets
from datetime import datetime
from hashlib import sha256
from typing import Any

import asyncpg

from swarmsync.errors import NotAllowed
from swarmsync.store.pool import Store

TOKEN_MINUTES = 10
#: The note of a worker that takes nothing more since its key was taken back.
KEY_REVOKED = "its key was taken back; it takes jobs again once it is enrolled anew"


def new_token() -> str:
    return f"ss_join_{secrets.token_urlsafe(32)}"


def digest(token: str) -> bytes:
    return sha256(token.encode()).digest()


async def add_token(
    connection: asyncpg.Connection,
    token_id: int,
    token: str,
    *,
    minutes: int = TOKEN_MINUTES,
    worker_name: str | None = None,
    replaces: bool = False,
    created_by: int | None = None,
) -> datetime:
    """Store a token's hash; return when it ends."""
    ends: datetime = await connection.fetchval(
        "INSERT INTO join_tokens (id, sha256, worker_name, replaces, created_by, expires_at)"
        " VALUES ($1, $2, $3, $4, $5, clock_timestamp() + $6 * interval '1 minute') RETURNING expires_at",
        token_id,
        digest(token),
        worker_name,
        replaces,
        created_by,
        minutes,
    )
    return ends


async def enroll(store: Store, token: str, name: str, public_key: str) -> None:
    """Use up the token and bind the key to the name, in one transaction. Raises NotAllowed with a sentence.

    Saying the same again after a lost answer is fine: the key is there already.
    """

    async def work(connection: asyncpg.Connection) -> None:
        if await connection.fetchval(
            "SELECT EXISTS (SELECT FROM worker_keys WHERE public_key = $1 AND name = $2 AND revoked_at IS NULL)",
            public_key,
            name,
        ):
            return
        row: Any = await connection.fetchrow(
            "UPDATE join_tokens SET used_at = clock_timestamp(), used_by = $2"
            " WHERE sha256 = $1 AND used_at IS NULL AND expires_at > clock_timestamp()"
            " RETURNING worker_name, replaces",
            digest(token),
            name,
        )
        if row is None:
            raise NotAllowed("the join token is unknown, used or too old; make another: consumer worker register")
        if row["worker_name"] not in (None, name):
            raise NotAllowed(f"the join token is for a worker named {row['worker_name']}")
        if row["replaces"] or row["worker_name"] == name:
            await connection.execute(
                "UPDATE worker_keys SET revoked_at = clock_timestamp() WHERE name = $1 AND revoked_at IS NULL", name
            )
        elif await connection.fetchval(
            "SELECT EXISTS (SELECT FROM worker_keys WHERE name = $1 AND revoked_at IS NULL)", name
        ):
            raise NotAllowed(f"another worker is named {name}; choose another name, or register it with --name {name}")
        await connection.execute("INSERT INTO worker_keys (public_key, name) VALUES ($1, $2)", public_key, name)
        await connection.execute(
            "UPDATE workers SET eligibility = 'open', note = ''"
            " WHERE name = $1 AND eligibility = 'cordoned' AND note = $2",
            name,
            KEY_REVOKED,
        )

    try:
        await store.run(work)
    except asyncpg.UniqueViolationError:
        raise NotAllowed(f"another worker was enrolled as {name} at the same moment") from None


async def live_keys(store: Store) -> dict[str, str]:
    """Return the public key of each worker that has one in force."""
    rows = await store.fetch("SELECT name, public_key FROM worker_keys WHERE revoked_at IS NULL")
    return {row["name"]: row["public_key"] for row in rows}
