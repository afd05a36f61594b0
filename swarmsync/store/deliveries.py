"""The engine's side of webhooks: deliveries made from the feed of state changes, what is due, and what came of it.

The feed's place moves in the transaction that stores the deliveries: whatever dies, each (webhook, event) becomes one
delivery. Nothing of this is in a job's own transaction, and without webhooks the feed is not read.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import asyncpg
from msgspec import Struct

from swarmsync import ids
from swarmsync.clock import rfc3339
from swarmsync.protocol.codec import encode_json
from swarmsync.store.lists import Row
from swarmsync.store.pool import Store
from swarmsync.store.queries import sql

EVENTS_MAX: Final = 2_000
ERROR_MAX: Final = 500
#: A webhook with more waiting than this is switched off, and says so.
WAITING_MAX: Final = 100_000
FORGET_MAX: Final = 5_000


class Settled(Struct, frozen=True):
    """What an attempt came to: `again_s` is the pause before the next one, None when it was the last."""

    delivery_id: int
    webhook_id: int
    delivered: bool
    again_s: float | None
    gone: bool
    status: int | None
    error: str


async def any_hooks(store: Store) -> bool:
    return bool(await store.fetchval("SELECT EXISTS (SELECT FROM webhooks WHERE enabled)"))


async def collect(store: Store, new_id: Callable[[], int]) -> bool:
    """Make deliveries of the next events; True when there may be more."""

    async def work(connection: asyncpg.Connection) -> bool:
        cursor = await connection.fetchrow("SELECT xid::text, seq FROM webhook_cursor FOR UPDATE")
        first = "SELECT since_xid::text FROM webhooks WHERE enabled ORDER BY since_xid LIMIT 1"
        since = await connection.fetchval(first)
        if since is None:
            return False
        place = max((int(cursor["xid"]), cursor["seq"]), (int(since), 0))
        end = await connection.fetchrow(sql("webhook_feed"), str(place[0]), place[1], EVENTS_MAX)
        if end is None:
            return False
        values = (str(place[0]), place[1], end["xid"], end["seq"])
        rows = await connection.fetch(sql("webhook_matches"), *values)
        if rows:
            await connection.executemany(
                "INSERT INTO webhook_deliveries (id, webhook_id, user_id, type, body) VALUES ($1, $2, $3, $4, $5)",
                [(new_id(), row["webhook_id"], row["user_id"], f"job.{row['state']}", body_of(row)) for row in rows],
            )
        await connection.execute("UPDATE webhook_cursor SET xid = $1::text::xid8, seq = $2", end["xid"], end["seq"])
        return bool(end["events"] == EVENTS_MAX)

    return await store.run(work)


def body_of(row: Row) -> str:
    """Return what is sent: the change, and what the job was called then. It stays the same over all attempts."""
    data: dict[str, Any] = {
        "job": ids.encode(row["job_id"]),
        "name": row["name"],
        "user": row["username"],
        "queue": row["queue"],
        "state": row["state"],
        "reason": row["reason"],
        "message": row["message"],
        "fence": row["fence"],
        "worker": row["worker"],
        "exit_code": row["exit_code"],
        "array": ids.encode(row["array_id"]) if row["array_id"] is not None else None,
        "array_index": row["array_index"],
    }
    return encode_json({"type": f"job.{row['state']}", "timestamp": rfc3339(row["at"]), "data": data}).decode()


async def due(store: Store, *, each_max: int, limit: int, sending: Sequence[int]) -> list[Row]:
    """Return deliveries that are due, up to `each_max` of a webhook, so that none stands in another's way."""
    return await store.fetch(sql("webhook_due"), each_max, limit, list(sending))


async def settle(store: Store, settled: Sequence[Settled], *, disable_days: int) -> list[Row]:
    """Store what attempts came to; return the webhooks that were switched off by it."""
    failed = sorted({each.webhook_id for each in settled if not each.delivered})
    fine = sorted({each.webhook_id for each in settled if each.delivered})
    gone = sorted({each.webhook_id for each in settled if each.gone})

    async def work(connection: asyncpg.Connection) -> list[Row]:
        await connection.execute(
            sql("webhook_settle"),
            [each.delivery_id for each in settled],
            ["delivered" if each.delivered else "failed" if each.again_s is None else "waiting" for each in settled],
            [each.again_s or 0.0 for each in settled],
            [each.status for each in settled],
            [each.error[:ERROR_MAX] for each in settled],
        )
        await connection.execute(
            "UPDATE webhooks SET failing_since = NULL WHERE id = ANY ($1::bigint[]) AND failing_since IS NOT NULL", fine
        )
        rows: list[Row] = await connection.fetch(
            sql("webhook_failing"), [each for each in failed if each not in fine], gone, disable_days
        )
        return rows

    return await store.run(work)


async def keep_house(store: Store, keep_days: int) -> list[Row]:
    """Forget old deliveries, some at a time; return the webhooks that were switched off for what waits for them."""
    await store.execute(
        "DELETE FROM webhook_deliveries WHERE id IN (SELECT id FROM webhook_deliveries"
        " WHERE created_at < clock_timestamp() - make_interval(days => $1) ORDER BY created_at LIMIT $2)",
        keep_days,
        FORGET_MAX,
    )
    return await store.change(
        "UPDATE webhooks w SET enabled = false, disabled_reason = format('more than %s deliveries wait', $1::int),"
        " updated_at = clock_timestamp() WHERE enabled AND (SELECT count(*) FROM (SELECT FROM webhook_deliveries d"
        " WHERE d.webhook_id = w.id AND d.state = 'waiting' LIMIT $1 + 1) AS waiting) > $1"
        " RETURNING id, disabled_reason",
        WAITING_MAX,
    )
