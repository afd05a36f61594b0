"""What operators do to the list of workers: join tokens, labels, revoked keys, removal."""

from datetime import datetime
from typing import Final

import asyncpg
import msgspec

from swarmsync.errors import Conflict
from swarmsync.model.lifecycle import Eligibility, Liveness
from swarmsync.store import worker_keys
from swarmsync.store.pool import Store
from swarmsync.store.users import Caller

_KEYS: Final = "SELECT revoked_at IS NULL AS in_force FROM worker_keys WHERE name = $1"
_LIVES: Final = frozenset({Liveness.JOINING, Liveness.READY, Liveness.SUSPECT})


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
    """Delete a worker and its key. Raises Conflict while it has jobs, may be given some, or would join again."""

    async def work(connection: asyncpg.Connection) -> None:
        row = await connection.fetchrow("SELECT liveness, eligibility FROM workers WHERE id = $1 FOR UPDATE", worker_id)
        holds = await connection.fetchval(
            "SELECT count(*) FROM jobs WHERE worker_id = $1 AND state IN ('starting', 'running', 'stopping')"
            " AND assignment_state IS NOT NULL",
            worker_id,
        )
        if holds:
            raise Conflict(
                f"the worker {name} has {holds} jobs; drain it first (consumer worker drain {name} --wait),"
                " or revoke its key and wait for their leases"
            )
        keys = [key["in_force"] for key in await connection.fetch(_KEYS, name)]
        is_cut_off = bool(keys) and not any(keys)
        if row is not None and row["liveness"] in _LIVES and not is_cut_off:
            if row["eligibility"] != Eligibility.DRAINED:
                raise Conflict(
                    f"the worker {name} is {row['liveness']} and may be given jobs;"
                    f" drain it first: consumer worker drain {name} --wait"
                )
            if not keys:
                raise Conflict(
                    f"the worker {name} is {row['liveness']} and has no key to take back, so it would join again;"
                    " stop its agent first, or the swarmsyncd that it belongs to"
                )
        await connection.execute(
            "UPDATE worker_keys SET revoked_at = clock_timestamp() WHERE name = $1 AND revoked_at IS NULL", name
        )
        await connection.execute("DELETE FROM worker_sessions WHERE worker_id = $1", worker_id)
        await connection.execute("DELETE FROM workers WHERE id = $1", worker_id)

    await store.run(work, **caller.settings)
