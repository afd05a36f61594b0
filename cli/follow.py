"""A job's output as a stream that survives restarts of Core: each byte comes once, then the verdict."""

import base64
import time
from collections.abc import Callable, Iterator
from typing import Final, Literal

import msgspec
from msgspec import Struct

from swarmsync.client import FINAL_STATES, Client, Document, job_path
from swarmsync.errors import Unavailable
from swarmsync.wire import Filters, read_json

#: Clean ends without a verdict before the job itself is asked whether there is one.
EARLY_ENDS_MAX: Final = 2
#: A stream that was open this long was a good one, even when it said nothing.
STABLE_S: Final = 5.0
DELAY_MIN_S: Final = 0.05


#: Everything that a job writes, through all its attempts.
FROM_THE_START: Final[Filters] = {"attempt": 1, "stdout_from": 0, "stderr_from": 0}


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
    reason: str | None = None
    message: str | None = None
    exit_code: int | None = None
    attempt: int | None = None
    output_truncated: tuple[str, ...] = ()

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
        return {"tail": None, "since": None, "attempt": self._attempt, **offsets}

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


class Patience:
    """How long to go on after a stream has broken: `patience_s` from the last time that it was good."""

    def __init__(self, patience_s: float, sleep: Callable[[float], None]) -> None:
        self._patience_s = patience_s
        self._sleep = sleep
        self._opened_at: float | None = None
        self._deadline = 0.0
        self._delay_s = DELAY_MIN_S

    def opened(self) -> None:
        self._opened_at = time.monotonic()

    def good(self) -> None:
        self._deadline, self._delay_s = 0.0, DELAY_MIN_S

    def broken(self, failure: Unavailable) -> None:
        """Sleep before the next try, longer each time, or raise `failure`. A stream that was merely silent was good."""
        now = time.monotonic()
        if self._opened_at is not None and now - self._opened_at > STABLE_S:
            self.good()
        self._opened_at = None
        self._deadline = self._deadline or now + self._patience_s
        if now + self._delay_s > self._deadline:
            raise failure
        self._sleep(self._delay_s)
        self._delay_s = min(self._delay_s * 2, 1.0)


def follow(
    client: Client,
    job_id: str,
    query: Filters | None = None,
    *,
    patience_s: float,
    on_change: Callable[[Unavailable | None], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[LogChunk | LogEnd]:
    """Yield the output of a job until it ends, and its LogEnd.

    A stream that breaks is taken up where it stopped; `on_change` hears of each break, and None when it is open. Raises
    Unavailable when Core stays away for `patience_s`.
    """
    resume, patience = Resume(), Patience(patience_s, sleep)
    early_ends, wanted = 0, (query or {}).get("attempt") if "stdout_from" not in (query or {}) else None
    while True:
        try:
            asked = {**(query or {}), "follow": 1, "format": "jsonl", **resume.query()}
            for line in client.lines(job_path(job_id, "logs"), asked, on_open=patience.opened):
                piece = read_piece(line)
                on_change(None)
                if piece is None:
                    continue
                patience.good()
                if isinstance(piece, LogChunk) and wanted not in (None, piece.attempt):
                    continue  # after a break Core reads on through later attempts
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
        on_change(failure)
        patience.broken(failure)


def pieces(client: Client, job_id: str, query: Filters) -> Iterator[LogChunk | LogEnd]:
    """Yield what one request for a job's output says, in the order in which Core says it."""
    for line in client.lines(job_path(job_id, "logs"), {**query, "format": "jsonl"}):
        piece = read_piece(line)
        if piece is not None:
            yield piece


def read_piece(line: bytes) -> LogChunk | LogEnd | None:
    """Read one line; empty lines and those of a kind that this version does not know are None."""
    if not line.strip():
        return None
    document = read_json(line)
    try:
        if "end" in document:
            return msgspec.convert(document["end"], LogEnd)
        if document.get("stream") not in ("stdout", "stderr"):
            return None
        coded = document.get("data_b64")
        data = document.get("data", "").encode() if coded is None else base64.b64decode(coded)
        at = document.get("at") or ""
        return LogChunk(document["stream"], document.get("attempt") or 0, document.get("offset") or 0, at, data)
    except (msgspec.ValidationError, TypeError, ValueError, AttributeError) as error:
        raise Unavailable(f"Core sent a line of output that cannot be read: {error}") from None
