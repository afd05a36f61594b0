"""What operators do to the list of workers: join tokens, labels, revoked keys, removal."""

from datetime import datetime

import asyncpg
import msgspec

from swarmsync.errors import Conflict
from swarmsync.store import worker_keys
from swarmsync.store.pool import Store
from swarmsync.store.users import Caller


async def register(
    store: Store, caller: Caller, token_id: int, *, name: str | None, minutes: int
) -> tuple[str, datetime]:
    """Make a join token; return it, for the only time, and when it ends."""
    token = worker_keys.new_token()

    async def work(connection: asyncpg.Connection) -> datetime:
        return await worker_keys.add_token(
            connection, token_id, token, minutes=minutes, worker_name=name, created_by=caller.user_id
        )

    return token, await store.run(work, **caller.settings)


async def set_labels(store: Store, caller: Caller, worker_id: int, labels: dict[str, str | None]) -> None:
    """Set labels, or take back those that were set (None); what the worker says of itself shows again."""
    kept = {name: value for name, value in labels.items() if value is not None}
    gone = [name for name, value in labels.items() if value is None]
    query = "UPDATE workers SET set_labels = (set_labels || $2::jsonb) - $3::text[] WHERE id = $1"
    values = msgspec.json.encode(kept).decode()
    await store.run(lambda c: c.execute(query, worker_id, values, gone), **caller.settings)


async def revoke(store: Store, caller: Caller, name: str) -> bool:
    """Take a worker's key back; NATS cuts it off when the engine has heard of it. False where it has none.

    It is cordoned, too, until it comes back with another key: it answers no more, but looks well until it is missed.
    """

    async def work(connection: asyncpg.Connection) -> bool:
        query = "UPDATE worker_keys SET revoked_at = clock_timestamp() WHERE name = $1 AND revoked_at IS NULL"
        if str(await connection.execute(query, name)) == "UPDATE 0":
            return False
        cordon = "UPDATE workers SET eligibility = 'cordoned', note = $2 WHERE name = $1 AND eligibility <> 'cordoned'"
        await connection.execute(cordon, name, worker_keys.KEY_REVOKED)
        return True

    return await store.run(work, **caller.settings)


async def remove(store: Store, caller: Caller, worker_id: int, name: str) -> None:
    """Delete a worker and its key. Raises Conflict while jobs are placed on it."""

    async def work(connection: asyncpg.Connection) -> None:
        await connection.execute("SELECT FROM workers WHERE id = $1 FOR UPDATE", worker_id)
        holds = await connection.fetchval(
            "SELECT count(*) FROM jobs WHERE worker_id = $1 AND state IN ('starting', 'running', 'stopping')"
            " AND assignment_state IS NOT NULL",
            worker_id,
        )
        if holds:
            raise Conflict(f"the worker {name} has {holds} jobs; drain it, or revoke its key and wait for their leases")
        await connection.execute(
            "UPDATE worker_keys SET revoked_at = clock_timestamp() WHERE name = $1 AND revoked_at IS NULL", name
        )
        await connection.execute("DELETE FROM worker_sessions WHERE worker_id = $1", worker_id)
        await connection.execute("DELETE FROM workers WHERE id = $1", worker_id)

    await store.run(work, **caller.settings)
