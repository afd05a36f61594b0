"""A job's output as a stream that survives restarts of Core: each byte comes once, then the verdict."""

import base64
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

import msgspec
from msgspec import Struct

from swarmsync.client import FINAL_STATES, Client, Document, Filters, job_path, read_json
from swarmsync.errors import Unavailable

#: Clean ends without a verdict before the job itself is asked whether there is one.
EARLY_ENDS_MAX = 2


class LogChunk(Struct, frozen=True):
    """A piece of a container's output; `offset` counts bytes within its attempt and stream."""

    stream: Literal["stdout", "stderr"]
    attempt: int
    offset: int
    at: str
    data: bytes


class LogEnd(Struct, frozen=True):
    """The verdict, which is the last thing that a followed stream says."""

    state: str
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    attempt: int = 0

    def document(self) -> Document:
        """The part of a job that exit codes are made from."""
        return msgspec.structs.asdict(self)


class Resume:
    """What was already handed out, per attempt and stream. Pure."""

    def __init__(self) -> None:
        self._attempt = 0
        self._next: dict[str, int] = {}

    def query(self) -> Document:
        """Return what to ask for after a break; where anything was seen, offsets replace tail and since."""
        if not self._next:
            return {}
        offsets = {f"{stream}_from": offset for stream, offset in self._next.items()}
        return {"tail": None, "since": None, **offsets}

    def unseen(self, chunk: LogChunk) -> LogChunk | None:
        """Return the part of a chunk that is new, or None. Offsets begin again with each attempt."""
        if chunk.attempt < self._attempt:
            return None
        if chunk.attempt > self._attempt:
            self._attempt, self._next = chunk.attempt, {}
        due = self._next.get(chunk.stream, 0)
        seen = max(0, due - chunk.offset)
        if seen and seen >= len(chunk.data):
            return None
        self._next[chunk.stream] = chunk.offset + len(chunk.data)
        return chunk if not seen else msgspec.structs.replace(chunk, offset=due, data=chunk.data[seen:])


def follow(
    client: Client,
    job_id: str,
    query: Filters | None = None,
    *,
    patience_s: float,
    on_broken: Callable[[Unavailable], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[LogChunk | LogEnd]:
    """Yield the output of a job until it ends, and its LogEnd.

    A stream that breaks is taken up where it stopped, and `on_broken` hears of it. Raises Unavailable when nothing
    comes through for `patience_s`.
    """
    resume = Resume()
    deadline, delay_s, early_ends = 0.0, 0.05, 0
    while True:
        try:
            asked = {**(query or {}), "follow": 1, **resume.query()}
            for piece in pieces(client, job_id, asked):
                deadline, delay_s = 0.0, 0.05
                fresh = resume.unseen(piece) if isinstance(piece, LogChunk) else piece
                if fresh is not None:
                    yield fresh
                if isinstance(piece, LogEnd):
                    return
            early_ends += 1
            if early_ends >= EARLY_ENDS_MAX and (job := client.job(job_id))["state"] in FINAL_STATES:
                yield msgspec.convert(job, LogEnd)
                return
            failure = Unavailable("the stream ended before the job did")
        except Unavailable as error:
            failure = error
        now = time.monotonic()
        deadline = deadline or now + patience_s
        if now + delay_s > deadline:
            raise failure
        on_broken(failure)
        sleep(delay_s)
        delay_s = min(delay_s * 2, 1.0)


def pieces(client: Client, job_id: str, query: Filters) -> Iterator[LogChunk | LogEnd]:
    """Yield what one request for a job's output says, in the order in which Core says it."""
    for line in client.lines(job_path(job_id, "logs"), {**query, "format": "jsonl"}):
        piece = _read(read_json(line)) if line.strip() else None
        if piece is not None:
            yield piece


def _read(document: Any) -> LogChunk | LogEnd | None:
    """Read one line; lines of a kind that this version does not know are None."""
    if "end" in document:
        return msgspec.convert({**document["end"]}, LogEnd)
    if document.get("stream") not in ("stdout", "stderr"):
        return None
    coded = document.get("data_b64")
    data = document.get("data", "").encode() if coded is None else base64.b64decode(coded)
    at = document.get("at") or ""
    return LogChunk(document["stream"], document.get("attempt") or 0, document.get("offset") or 0, at, data)
