"""Webhooks as their owners see them. The signing key goes in sealed, and no role of the API reads it back."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import asyncpg
import msgspec

from swarmsync import ids
from swarmsync.clock import rfc3339
from swarmsync.errors import FieldError, NotFound, SpecError
from swarmsync.model.webhooks import TEST_TYPE
from swarmsync.protocol.codec import encode_json
from swarmsync.store.lists import Conditions, Row
from swarmsync.store.pool import Store
from swarmsync.store.users import Caller

WEBHOOKS_MAX: Final = 100
_COLUMNS: Final = """
w.id, u.username, w.url, w.states, w.queue, w.job_name, w.labels, w.enabled, w.disabled_reason, w.failing_since,
w.created_at, w.updated_at
"""
_SELECT: Final = f"SELECT {_COLUMNS} FROM webhooks w JOIN users u ON u.id = w.user_id"  # noqa: S608 constants
_DELIVERY: Final = (
    "d.id, d.webhook_id, d.type, d.state, d.attempts, d.due_at, d.status, d.error, d.created_at, d.ended_at"
)
_DELIVERIES: Final = f"SELECT {_DELIVERY}, d.body FROM webhook_deliveries d"  # noqa: S608 constants
#: Names of columns that a change may set.
_CHANGEABLE: Final = frozenset({"url", "states", "queue", "job_name", "labels", "sealed", "enabled"})
_SET: Final = {"labels": "${}::text::jsonb"}


async def create(store: Store, caller: Caller, webhook_id: int, values: Mapping[str, Any]) -> Row:
    """Make a webhook. Raises SpecError when the caller has too many."""

    async def work(connection: asyncpg.Connection) -> Row:
        count = "SELECT count(*) FROM webhooks WHERE user_id = $1"
        if await connection.fetchval(count, caller.user_id) >= WEBHOOKS_MAX:
            raise SpecError([FieldError("$.url", f"you have {WEBHOOKS_MAX} webhooks already; delete one")])
        await connection.execute(
            "INSERT INTO webhooks (id, user_id, url, states, queue, job_name, labels, sealed, enabled)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7::text::jsonb, $8, $9)",
            webhook_id,
            caller.user_id,
            values["url"],
            values["states"],
            values["queue"],
            values["job_name"],
            _json(values["labels"]),
            values["sealed"],
            values["enabled"],
        )
        return await _one(connection, webhook_id)

    return await store.run(work, **caller.settings)


async def page(store: Store, caller: Caller, *, limit: int, before: int | None) -> list[Row]:
    """Return up to `limit` + 1 webhooks, newest first."""
    where = Conditions()
    where.add("w.id < $", before)
    query = f"{_SELECT} {where.clause} ORDER BY w.id DESC LIMIT {limit + 1:d}"
    rows: list[Row] = await store.fetch(query, *where.values, **caller.settings)
    return rows


async def one(store: Store, caller: Caller, webhook_id: int) -> Row:
    return await store.run(lambda c: _one(c, webhook_id), **caller.settings)


async def update(store: Store, caller: Caller, webhook_id: int, values: Mapping[str, Any]) -> Row:
    """Change what is given. Switched on again it starts with what happens from now on."""
    assert values.keys() <= _CHANGEABLE
    sets = [f"{name} = {_SET.get(name, '${}').format(number)}" for number, name in enumerate(values, 2)]
    if values.get("enabled"):
        # Where it was on already, nothing is skipped.
        sets.append("since_xid = CASE WHEN enabled THEN since_xid ELSE pg_snapshot_xmin(pg_current_snapshot()) END")
        sets += ["disabled_reason = ''", "failing_since = NULL"]
    elif "enabled" in values:
        sets.append("disabled_reason = 'switched off'")
    given = [_json(value) if name == "labels" else value for name, value in values.items()]

    async def work(connection: asyncpg.Connection) -> Row:
        query = f"UPDATE webhooks SET {', '.join([*sets, 'updated_at = clock_timestamp()'])} WHERE id = $1"  # noqa: S608 column names from _CHANGEABLE
        await connection.execute(query, webhook_id, *given)
        return await _one(connection, webhook_id)

    return await store.run(work, **caller.settings)


async def remove(store: Store, caller: Caller, webhook_id: int) -> None:
    status = await store.run(lambda c: c.execute("DELETE FROM webhooks WHERE id = $1", webhook_id), **caller.settings)
    if status == "DELETE 0":
        raise missing(webhook_id)


async def deliveries(
    store: Store, caller: Caller, webhook_id: int, *, state: str | None, limit: int, before: int | None
) -> list[Row]:
    """Return up to `limit` + 1 deliveries of a webhook, newest first. Raises NotFound where it is not there."""
    where = Conditions()
    where.add("d.webhook_id = $", webhook_id)
    where.add("d.state = $", state)
    where.add("d.id < $", before)

    async def work(connection: asyncpg.Connection) -> list[Row]:
        await _one(connection, webhook_id)
        query = f"{_DELIVERIES} {where.clause} ORDER BY d.id DESC LIMIT {limit + 1:d}"
        rows: list[Row] = await connection.fetch(query, *where.values)
        return rows

    return await store.run(work, **caller.settings)


async def test(store: Store, caller: Caller, webhook_id: int, delivery_id: int, now: datetime) -> Row:
    """Make a delivery that tells of nothing."""

    async def work(connection: asyncpg.Connection) -> Row:
        hook = await _one(connection, webhook_id)
        body = {"type": TEST_TYPE, "timestamp": rfc3339(now), "data": {"webhook": ids.encode(hook["id"])}}
        await connection.execute(
            "INSERT INTO webhook_deliveries (id, webhook_id, user_id, type, body)"
            " SELECT $1, id, user_id, $3, $4 FROM webhooks WHERE id = $2",
            delivery_id,
            webhook_id,
            TEST_TYPE,
            encode_json(body).decode(),
        )
        return await _delivery(connection, delivery_id)

    return await store.run(work, **caller.settings)


async def delivery(store: Store, caller: Caller, delivery_id: int) -> Row:
    return await store.run(lambda c: _delivery(c, delivery_id), **caller.settings)


async def replay(store: Store, caller: Caller, delivery_id: int) -> Row:
    """Send it once more, under the same id, with all attempts before it."""

    async def work(connection: asyncpg.Connection) -> Row:
        await connection.execute(
            "UPDATE webhook_deliveries SET state = 'waiting', attempts = 0, due_at = clock_timestamp(),"
            " begun_at = clock_timestamp(), ended_at = NULL, error = '' WHERE id = $1",
            delivery_id,
        )
        return await _delivery(connection, delivery_id)

    return await store.run(work, **caller.settings)


async def _one(connection: asyncpg.Connection, webhook_id: int) -> Row:
    row: Row | None = await connection.fetchrow(f"{_SELECT} WHERE w.id = $1", webhook_id)
    if row is None:
        raise missing(webhook_id)
    return row


async def _delivery(connection: asyncpg.Connection, delivery_id: int) -> Row:
    row: Row | None = await connection.fetchrow(f"{_DELIVERIES} WHERE d.id = $1", delivery_id)
    if row is None:
        raise NotFound(f"there is no delivery {ids.encode(delivery_id)!r}")
    return row


def missing(webhook_id: int) -> NotFound:
    return NotFound(f"there is no webhook {ids.encode(webhook_id)!r}")


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
