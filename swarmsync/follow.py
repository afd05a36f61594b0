"""A job's output as a stream that survives restarts of Core: each byte comes once, then the verdict."""

import base64
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal, Protocol

import msgspec
from msgspec import Struct

from swarmsync.calls import FINAL_STATES, Document, Job, job_path
from swarmsync.errors import Unavailable
from swarmsync.wire import Filters, read_json

#: Clean ends without a verdict before the job itself is asked whether there is one.
EARLY_ENDS_MAX: Final = 2
#: A stream that was open this long was a good one, even when it said nothing.
STABLE_S: Final = 5.0
DELAY_MIN_S: Final = 0.05
BROKE_OFF: Final = Unavailable("the stream ended before the job did")
#: Everything that a job writes, through all its attempts.
FROM_THE_START: Final[Filters] = {"attempt": 1, "stdout_from": 0, "stderr_from": 0}


class Source(Protocol):
    """The part of a client that streams come from."""

    def lines(
        self,
        path: str,
        query: Filters | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        on_open: Callable[[], None] = ...,
    ) -> Iterator[bytes]: ...

    def job(self, job_id: str, /) -> Job: ...


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

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._opened_at: float | None = None
        self._deadline = 0.0
        self._delay_s = DELAY_MIN_S

    def opened(self) -> None:
        self._opened_at = time.monotonic()

    def good(self) -> None:
        self._deadline, self._delay_s = 0.0, DELAY_MIN_S

    def broken(self, failure: Unavailable) -> float:
        """Return how many seconds to wait before the next try, more each time, or raise `failure`.

        A stream that was merely silent was good.
        """
        now = time.monotonic()
        if self._opened_at is not None and now - self._opened_at > STABLE_S:
            self.good()
        self._opened_at = None
        self._deadline = self._deadline or now + self._patience_s
        if now + self._delay_s > self._deadline:
            raise failure
        delay_s, self._delay_s = self._delay_s, min(self._delay_s * 2, 1.0)
        return delay_s


class Following:
    """The state of one followed output: what to ask for next, and what of the answer is news. Pure.

    Shared by the follower that blocks and the one that awaits.
    """

    def __init__(self, query: Filters | None, patience_s: float) -> None:
        self._query = query or {}
        self._wanted = self._query.get("attempt") if "stdout_from" not in self._query else None
        self._resume = Resume()
        self._early_ends = 0
        self.patience = Patience(patience_s)

    def query(self) -> Filters:
        return {**self._query, "follow": 1, "format": "jsonl", **self._resume.query()}

    def take(self, line: bytes) -> LogChunk | LogEnd | None:
        """Return what is new in a line of the stream; LogEnd is the last. Raises Unavailable for what is no line."""
        piece = read_piece(line)
        if piece is None:
            return None
        self.patience.good()
        if isinstance(piece, LogEnd):
            return piece
        if self._wanted not in (None, piece.attempt):
            return None  # after a break Core reads on through later attempts
        return self._resume.unseen(piece)

    def ended_early(self) -> bool:
        """Note a clean end without a verdict; True when it is time to ask the job itself."""
        self._early_ends += 1
        return self._early_ends >= EARLY_ENDS_MAX


def verdict_of(job: Mapping[str, Any]) -> LogEnd | None:
    """Return the end of a job that has ended, as its stream would have told it."""
    return msgspec.convert(job, LogEnd) if job["state"] in FINAL_STATES else None


def follow(
    client: Source,
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
    state = Following(query, patience_s)
    while True:
        try:
            for line in client.lines(job_path(job_id, "logs"), state.query(), on_open=state.patience.opened):
                piece = state.take(line)
                on_change(None)
                if piece is not None:
                    yield piece
                if isinstance(piece, LogEnd):
                    return
            if state.ended_early() and (end := verdict_of(client.job(job_id))) is not None:
                yield end
                return
            failure = BROKE_OFF
        except Unavailable as error:
            failure = error
        on_change(failure)
        sleep(state.patience.broken(failure))


def pieces(client: Source, job_id: str, query: Filters) -> Iterator[LogChunk | LogEnd]:
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
