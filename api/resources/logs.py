"""`/v1/logs`: the system's log records. Operators only."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from api import documents, query_strings
from api.access import Access
from api.answers.pages import Page
from api.answers.system import LogRecord
from api.endpoint import Call, Resource, endpoint
from api.finding import find_job
from swarmsync import ids
from swarmsync.errors import NotFound
from swarmsync.store import records
from swarmsync.store.lists import Row
from swarmsync.store.records import LEVELS, NewRecord, RecordFilter

Level = Literal["debug", "info", "warning", "error"]
Message = Annotated[str, Meta(min_length=1, max_length=8_192)]
FIELDS_MAX: Final = 64


class LogsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """`level` means this one and worse; `q` is a text that the message contains; `since` is a time or a duration."""

    source: str = ""
    level: Level | None = None
    job: str = ""
    q: str = ""
    since: str = ""
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 100
    cursor: str = ""


class RecordDocument(Struct, frozen=True, forbid_unknown_fields=True):
    message: Message
    source: Annotated[str, Meta(min_length=1, max_length=64)] = "operator"
    level: Level = "info"
    job: str = ""
    fields: Annotated[dict[str, str], Meta(max_length=FIELDS_MAX)] = msgspec.field(default_factory=dict)


class RecordChanges(Struct, frozen=True, forbid_unknown_fields=True):
    message: Message | UnsetType = UNSET
    level: Level | UnsetType = UNSET
    fields: Annotated[dict[str, str], Meta(max_length=FIELDS_MAX)] | UnsetType = UNSET


class LogRecords(Resource):
    @endpoint(Access.OPERATOR, "List log records, newest first", query=LogsQuery, answer=Page[LogRecord])
    async def on_get(self, call: Call) -> Any:
        query: LogsQuery = call.query
        wanted = RecordFilter(
            limit=query.limit,
            before_id=query_strings.cursor("cursor", query.cursor),
            source=query.source or None,
            levels=LEVELS[LEVELS.index(query.level) :] if query.level else None,
            job_id=await find_job(call, query.job) if query.job else None,
            text=query.q or None,
            since=query_strings.moment("since", query.since, datetime.now(UTC)),
        )
        rows = await records.page(call.services.store, call.caller, wanted)
        items = [documents.record(row) for row in rows[: query.limit]]
        return {"items": items, "next_cursor": items[-1]["id"] if len(rows) > query.limit else None}

    @endpoint(Access.OPERATOR, "Write a log record", body=RecordDocument, answer=LogRecord, status=201)
    async def on_post(self, call: Call) -> Any:
        wanted = await call.document(RecordDocument)
        job_id = await find_job(call, wanted.job) if wanted.job else None
        record = NewRecord(wanted.source, wanted.level, wanted.message, job_id, wanted.fields)
        return documents.record(await records.add(call.services.store, call.caller, record))


class OneRecord(Resource):
    @endpoint(Access.OPERATOR, "Show a log record", answer=LogRecord)
    async def on_get(self, call: Call, record: str) -> Any:
        return _found(await records.one(call.services.store, call.caller, _number(record)), record)

    @endpoint(Access.OPERATOR, "Change a log record", body=RecordChanges, answer=LogRecord)
    async def on_patch(self, call: Call, record: str) -> Any:
        wanted = await call.document(RecordChanges)
        given = {name: value for name, value in msgspec.structs.asdict(wanted).items() if value is not UNSET}
        return _found(await records.change(call.services.store, call.caller, _number(record), given), record)

    @endpoint(Access.OPERATOR, "Delete a log record", status=204)
    async def on_delete(self, call: Call, record: str) -> None:
        if not await records.remove(call.services.store, call.caller, _number(record)):
            raise _missing(record)


def _number(text: str) -> int:
    number = ids.decode(text)
    if number is None:
        raise _missing(text)
    return number


def _found(row: Row | None, text: str) -> Any:
    if row is None:
        raise _missing(text)
    return documents.record(row)


def _missing(text: str) -> NotFound:
    return NotFound(f"there is no log record {text[:40]!r}")
