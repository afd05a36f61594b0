"""`GET /v1/jobs/{id}/logs`: what a job's containers wrote, as bytes or as JSON lines, and live with `follow=1`."""

import base64
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from api import documents, query_strings
from api.access import Access
from api.answers.jobs import OutputEnd, OutputPiece, OutputState
from api.endpoint import Call, Resource, endpoint
from api.finding import find_job, missing
from api.output_reader import End, Note, OutputReader, Wanted
from api.streams import Stream
from swarmsync.clock import rfc3339
from swarmsync.errors import Conflict, NotFound
from swarmsync.model.result import read_result
from swarmsync.store import lists
from swarmsync.store.lists import Row
from swarmsync.store.outputs import Chunk

Offset = Annotated[int, Meta(ge=0, le=1 << 62)]
_NAMES: Final = {1: "stdout", 2: "stderr"}
_encode: Final = msgspec.json.Encoder().encode


class LogsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Without `attempt`: the newest attempt that wrote something, and with `follow` those after it.

    `attempt` alone reads that attempt only; with `stdout_from` or `stderr_from` it says where those offsets count, and
    reading goes on from there through later attempts.
    """

    stream: Literal["stdout", "stderr", "both"] = "both"
    tail: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    since: str = ""
    attempt: Annotated[int, Meta(ge=1, le=1 << 62)] | None = None
    follow: bool = False
    format: Literal["text", "jsonl"] = "text"
    stdout_from: Offset | None = None
    stderr_from: Offset | None = None


class Logs(Resource):
    @endpoint(
        Access.USER,
        "What a job's containers wrote; live with follow=1",
        query=LogsQuery,
        answer=OutputPiece | OutputState | OutputEnd,
        media="application/x-ndjson",
    )
    async def on_get(self, call: Call, job: str) -> Any:
        query: LogsQuery = call.query
        wanted = _wanted(query)
        job_id = await find_job(call, job)
        row = await lists.state_of(call.services.store, call.caller, job_id)
        if row is None:
            raise missing(job)
        if row["array_size"] is not None and row["array_id"] is None:
            raise Conflict(
                f"an array has no output of its own; ask for a member, {job}[INDEX]: GET /v1/jobs?array={job}, or"
                f" consumer job list --array {job}, names them"
            )
        if query.attempt is not None and query.attempt > row["fence"] and not query.follow:
            raise NotFound(f"job {job[:40]} has no attempt {query.attempt}")
        reader = OutputReader(call, job_id, wanted)
        lines = query.format == "jsonl"
        call.response.content_type = "application/x-ndjson" if lines else "text/plain; charset=utf-8"
        call.response.set_header("X-Content-Type-Options", "nosniff")
        if cut := _truncated(row):
            call.response.set_header("Output-Truncated", ", ".join(cut))
        call.response.set_header("Cache-Control", "no-store")
        call.response.stream = Stream(call, _lines(reader) if lines else _text(reader))


def _truncated(row: Row) -> list[str]:
    return documents.truncated(read_result(row["result"]))


def _wanted(query: LogsQuery) -> Wanted:
    streams = (1, 2) if query.stream == "both" else (1,) if query.stream == "stdout" else (2,)
    offsets = None
    if query.stdout_from is not None or query.stderr_from is not None:
        offsets = {1: query.stdout_from or 0, 2: query.stderr_from or 0}
    since = query_strings.moment("since", query.since, datetime.now(UTC))
    return Wanted(streams, query.follow, query.attempt, query.tail, since, offsets)


async def _text(reader: OutputReader) -> AsyncGenerator[bytes, None]:
    async with aclosing(reader.read()) as pieces:
        async for piece in pieces:
            if isinstance(piece, tuple):
                yield piece[1].data


async def _lines(reader: OutputReader) -> AsyncGenerator[bytes, None]:
    """One JSON object per piece; `{"state": ...}` when that changes and as a sign of life; last `{"end": ...}`."""
    async with aclosing(reader.read()) as pieces:
        async for piece in pieces:
            yield _encode(_document(piece)) + b"\n"


def _document(piece: tuple[int, Chunk] | Note | End) -> dict[str, Any]:
    match piece:
        case Note(row, attempt):
            return {"state": row["state"], "reason": row["reason"], "message": row["message"], "attempt": attempt}
        case End(row, attempt):
            last = {name: row[name] for name in ("state", "reason", "message", "exit_code")}
            last["output_truncated"] = _truncated(row)
            return {"end": {**last, "attempt": min(attempt, row["fence"])}}
        case (attempt, chunk):
            return _piece(attempt, chunk)


def _piece(attempt: int, chunk: Chunk) -> dict[str, Any]:
    fields = {"stream": _NAMES[chunk.stream], "attempt": attempt, "offset": chunk.start, "at": rfc3339(chunk.at)}
    try:
        return {**fields, "data": chunk.data.decode()}
    except UnicodeDecodeError:
        return {**fields, "data_b64": base64.b64encode(chunk.data).decode()}
