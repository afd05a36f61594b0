"""The system log as people read and write it; the modules' own lines come in through the Logger. Operators only."""

from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from swarmsync.store.lists import Conditions, Row
from swarmsync.store.pool import Store
from swarmsync.store.users import Caller

LEVELS: Final = ("debug", "info", "warning", "error")
_SELECT: Final = "SELECT id, at, source, level, message, job_id, fields FROM log_records"
_INSERT: Final = """
INSERT INTO log_records (source, level, message, job_id, fields) VALUES ($1, $2, $3, $4, $5)
RETURNING id, at, source, level, message, job_id, fields
"""
_UPDATE: Final = """
UPDATE log_records SET message = COALESCE($2, message), level = COALESCE($3, level), fields = COALESCE($4, fields)
WHERE id = $1 RETURNING id, at, source, level, message, job_id, fields
"""


class RecordFilter(Struct, frozen=True):
    """Which records a list shows; None is no condition."""

    limit: int
    before_id: int | None = None
    source: str | None = None
    levels: tuple[str, ...] | None = None
    job_id: int | None = None
    text: str | None = None
    since: datetime | None = None


class NewRecord(Struct, frozen=True):
    source: str
    level: str
    message: str
    job_id: int | None
    fields: dict[str, str]


async def page(store: Store, caller: Caller, wanted: RecordFilter) -> list[Row]:
    """Return up to `limit` + 1 records, newest first."""
    where = Conditions()
    where.add("id < $", wanted.before_id)
    where.add("lower(source) = lower($)", wanted.source)
    where.add("level = ANY ($::text[])", None if wanted.levels is None else list(wanted.levels))
    where.add("job_id = $", wanted.job_id)
    where.add("strpos(lower(message), lower($)) > 0", wanted.text)
    where.add("at >= $", wanted.since)
    query = f"{_SELECT} {where.clause} ORDER BY id DESC LIMIT {wanted.limit + 1:d}"
    rows: list[Row] = await store.fetch(query, *where.values, **caller.settings)
    return rows


async def one(store: Store, caller: Caller, record_id: int) -> Row | None:
    query = f"{_SELECT} WHERE id = $1"
    row: Row | None = await store.fetchrow(query, record_id, **caller.settings)
    return row


async def add(store: Store, caller: Caller, record: NewRecord) -> Row:
    values = (record.source, record.level, record.message, record.job_id, _json(record.fields))
    row: Row = await store.run(lambda c: c.fetchrow(_INSERT, *values), **caller.settings)
    return row


async def change(store: Store, caller: Caller, record_id: int, changes: dict[str, Any]) -> Row | None:
    """Replace message, level or fields of one record; returns it as it is then, None where there is none."""
    fields = changes.get("fields")
    values = (record_id, changes.get("message"), changes.get("level"), None if fields is None else _json(fields))
    row: Row | None = await store.run(lambda c: c.fetchrow(_UPDATE, *values), **caller.settings)
    return row


async def remove(store: Store, caller: Caller, record_id: int) -> bool:
    query = "DELETE FROM log_records WHERE id = $1"
    status = await store.run(lambda c: c.execute(query, record_id), **caller.settings)
    return str(status) != "DELETE 0"


def _json(fields: dict[str, str]) -> str:
    return msgspec.json.encode(fields).decode()
