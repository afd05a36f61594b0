"""Answers that are given again to the same idempotency key, for requests that another rule keeps from doubling.

Submitting jobs keeps its answer within its own statement (`submit.py`). Here it is kept right after: between the two
commits a request that comes again meets the rule itself, such as a name that is taken.
"""

import asyncpg

from swarmsync.errors import Conflict
from swarmsync.store.pool import Store
from swarmsync.store.submit import Answer, Key
from swarmsync.store.users import Caller


async def find(store: Store, caller: Caller, text: str, body_hash: bytes) -> Answer | None:
    """Return the first answer of this key. Raises Conflict where the key came with another request."""
    query = "SELECT body_hash, status, response FROM idempotency_keys WHERE user_id = $1 AND key = $2"
    row = await store.fetchrow(query, caller.user_id, text, **caller.settings)
    if row is None:
        return None
    if row["body_hash"] != body_hash:
        raise Conflict(f"the idempotency key {text!r} was used for another request; choose a new one")
    return Answer(row["status"], row["response"].encode())


async def keep(store: Store, caller: Caller, key: Key) -> None:
    """Keep an answer, unless the key has one."""

    async def work(connection: asyncpg.Connection) -> None:
        await connection.execute(
            "INSERT INTO idempotency_keys (user_id, key, body_hash, status, response) VALUES ($1, $2, $3, $4, $5)"
            " ON CONFLICT (user_id, key) DO NOTHING",
            caller.user_id,
            key.text,
            key.body_hash,
            key.status,
            key.response.decode(),
        )

    await store.run(work, **caller.settings)
