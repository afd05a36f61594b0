"""`/v1/events`: every change of a job's state, live as server-sent events, and in pages as it was."""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from api import query_strings
from api.access import Access
from api.answers.jobs import JobEvent, SnapshotDocument
from api.answers.pages import Page
from api.endpoint import Call, Resource, endpoint
from api.finding import find_job
from api.query_strings import QueryError
from api.streams import BACKSTOP_S, Pulse, Stream
from swarmsync import ids
from swarmsync.clock import rfc3339
from swarmsync.store import events
from swarmsync.store.events import BEGINNING, EVENTS_MAX, Place
from swarmsync.store.lists import Row

#: Between two reads while hints pour in: events come in batches then. The first one comes at once.
_PAUSE_S: Final = 0.1
#: No transaction lasts so long; events before the last one read by more than this were read, too.
_OLDEST_TRANSACTION: Final = timedelta(minutes=10)
_PLACE: Final = re.compile(r"(\d{1,20})-(\d{1,19})")
_encode: Final = msgspec.json.Encoder().encode


class EventsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """`after` is the id of the last event that was seen, `0` for all that are kept; so is the header Last-Event-ID.

    The header goes first; without either the stream begins now. `follow=0` ends after what there is. `job` is one job.
    """

    after: str = ""
    job: str = ""
    follow: bool = True


class Events(Resource):
    @endpoint(
        Access.USER,
        "Every change of a job's state, as server-sent events",
        query=EventsQuery,
        answer=JobEvent,
        media="text/event-stream",
    )
    async def on_get(self, call: Call) -> Any:
        query: EventsQuery = call.query
        text = call.request.get_header("Last-Event-ID") or query.after
        job_id = await find_job(call, query.job) if query.job else None
        store, caller, since = call.services.store, call.caller, None
        if text:
            place, since = await events.resumed(store, caller, _place(text))
        else:
            place = await events.now(store, caller)
        call.response.content_type = "text/event-stream"
        call.response.set_header("Cache-Control", "no-store")
        call.response.stream = Stream(call, _feed(call, place, since, job_id, follow=query.follow))


class HistoryQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Events from `since` up to `until`: times, or durations before now. `job` is one job."""

    since: str = ""
    until: str = ""
    job: str = ""
    limit: Annotated[int, Meta(ge=1, le=5_000)] = 1_000
    cursor: str = ""


class History(Resource):
    @endpoint(Access.USER, "Changes that are kept, oldest first", query=HistoryQuery, answer=Page[JobEvent])
    async def on_get(self, call: Call) -> Any:
        query: HistoryQuery = call.query
        now = datetime.now(UTC)
        rows = await events.read(
            call.services.store,
            call.caller,
            _place(query.cursor, "cursor") if query.cursor else BEGINNING,
            oldest=query_strings.moment("since", query.since, now),
            newest=query_strings.moment("until", query.until, now),
            job_id=await find_job(call, query.job) if query.job else None,
            limit=query.limit + 1,
        )
        items = [_document(row) for row in rows[: query.limit]]
        return {"items": items, "next_cursor": items[-1]["id"] if len(rows) > query.limit else None}


class SnapshotQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """`at` is a time or a duration before now; without it the answer is of now. Further pages take the first's."""

    at: str = ""
    limit: Annotated[int, Meta(ge=1, le=5_000)] = 1_000
    cursor: str = ""


class Snapshot(Resource):
    @endpoint(
        Access.USER, "Jobs that had not ended at a moment, as they were", query=SnapshotQuery, answer=SnapshotDocument
    )
    async def on_get(self, call: Call) -> Any:
        """Answer with `place`, too: `/v1/events?after=PLACE` tells what came after."""
        query: SnapshotQuery = call.query
        found = await events.snapshot(
            call.services.store,
            call.caller,
            at=query_strings.moment("at", query.at, datetime.now(UTC)),
            after=query_strings.cursor("cursor", query.cursor) or 0,
            limit=query.limit + 1,
        )
        items = [_document(row) for row in found.rows[: query.limit]]
        cursor = items[-1]["job"] if len(found.rows) > query.limit else None
        return {"at": rfc3339(found.at), "place": str(found.place), "items": items, "next_cursor": cursor}


def _place(text: str, name: str = "after") -> Place:
    if text == "0":
        return BEGINNING
    match = _PLACE.fullmatch(text)
    if match is None or int(match[1]) >= 1 << 64 or int(match[2]) >= 1 << 63:
        raise QueryError(name, f"{text[:40]!r} is not the id of an event; it looks like 1234-567, or 0 for all")
    return Place(int(match[1]), int(match[2]))


async def _feed(
    call: Call, place: Place, oldest: datetime | None, job_id: int | None, *, follow: bool
) -> AsyncGenerator[bytes, None]:
    pulse = Pulse(call)
    store, caller = call.services.store, call.caller
    impatience_s, told_at = BACKSTOP_S, 0.0
    yield f": here are the changes after {place}\nid: {place}\n\n".encode()
    async with call.services.hub.watch_all() as watch:
        while True:
            await pulse.check()
            rows = await events.read(store, caller, place, oldest=oldest, job_id=job_id)
            if rows:
                place = Place(int(rows[-1]["xid"]), rows[-1]["seq"])
                oldest = rows[-1]["at"] - _OLDEST_TRANSACTION
                pulse.spoke()
                told_at = time.monotonic()
                yield _written(rows)
            elif pulse.silent_too_long:
                pulse.spoke()
                yield b": still here\n\n"
            if len(rows) == EVENTS_MAX:
                continue
            if not follow:
                return
            # A hint may come while an older transaction hides what it tells of: look again soon, then ever less.
            if await watch.wait(impatience_s):
                impatience_s = _PAUSE_S
                await asyncio.sleep(max(0.0, told_at + _PAUSE_S - time.monotonic()))
            else:
                impatience_s = min(impatience_s * 2, BACKSTOP_S)


def _written(rows: Sequence[Row]) -> bytes:
    return b"".join(
        b"id: %b\nevent: job\ndata: %b\n\n" % (f"{row['xid']}-{row['seq']}".encode(), _encode(_document(row)))
        for row in rows
    )


def _document(row: Row) -> JobEvent:
    """One change, and what its job is; of a job whose record was deleted only the change is known."""
    at = rfc3339(row["at"])
    return {
        "id": f"{row['xid']}-{row['seq']}",
        "job": ids.encode(row["job_id"]),
        "state": row["state"],
        "reason": row["reason"],
        "message": row["message"],
        "at": at,
        "since": at,
        "attempt": row["fence"],
        "worker": row["worker"],
        "name": row["name"],
        "user": row["username"],
        "queue": row["queue"],
        "cpus": None if row["cpus_milli"] is None else row["cpus_milli"] / 1000,
        "memory": row["memory_bytes"],
        "array_index": row["array_index"],
        "array_size": row["array_size"],
    }
