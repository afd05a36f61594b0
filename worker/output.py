"""Output of all containers on its way to Core: hashed whole, cut at the limit, sent in batches, kept until stored.

One request is under way at a time; what arrives meanwhile makes the next batch. Core answers with the offset up to
which each stream is in PostgreSQL; all beyond is sent again. Memory is bounded: a stream that is far ahead waits.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any, Final

from msgspec import Struct

from swarmsync.bus import Bus
from swarmsync.errors import Unavailable
from swarmsync.model.files import FIRST_OUTPUT_STREAM
from swarmsync.model.job import JobRef
from swarmsync.model.result import EMPTY_SHA256
from swarmsync.protocol import codec, subjects
from swarmsync.protocol.messages import (
    AskLogEnds,
    CheckOutput,
    Ended,
    LogChunk,
    LogChunks,
    LogsAck,
    OutputChecked,
    StreamSum,
)
from worker.patience import Patience

PIECE_MAX: Final = 256 << 10
MESSAGE_MAX: Final = 512 << 10
CHUNKS_MAX: Final = 256
AHEAD_MAX: Final = 2 << 20
REFS_MAX: Final = 500
CHECK_S: Final = 30.0
_SILENT: Final = StreamSum(0, 0, EMPTY_SHA256)


class Stream:
    """One stream of one assignment: how much there was, how much of it is kept, and its hash."""

    __slots__ = ("_hash", "_kept_sha256", "_moved", "kept", "number", "ref", "size", "stored")

    def __init__(self, ref: JobRef, number: int, stored: int) -> None:
        self.ref = ref
        self.number = number
        self.size = 0
        self.kept = 0
        self.stored = stored  # in PostgreSQL, as far as we know
        self._kept_sha256 = ""  # of the part that is kept, once something was left out
        self._hash: Any = None  # made with the first byte: most containers leave one stream empty
        self._moved: asyncio.Event | None = None  # most are never waited for

    async def move(self) -> None:
        """Wait until more is stored than was."""
        if self._moved is None:
            self._moved = asyncio.Event()
        self._moved.clear()
        await self._moved.wait()

    def stored_to(self, end: int) -> None:
        """PostgreSQL has all up to here."""
        if end > self.stored:
            self.stored = end
            if self._moved is not None:
                self._moved.set()

    def add(self, data: bytes, allowance: int) -> tuple[int, bytes]:
        """Count `data`; return (offset, the part that is to be sent): what is within the limit and not stored yet."""
        if self._hash is None:
            self._hash = sha256()
        offset = self.kept
        cut = self.kept < self.size  # once something was left out, all that follows is too
        self.size += len(data)
        kept, rest = (b"", data) if cut else (data[: max(allowance, 0)], data[max(allowance, 0) :])
        self._hash.update(kept)
        if rest and not cut:
            self._kept_sha256 = self._hash.hexdigest()
        self._hash.update(rest)
        if not kept:
            return offset, b""
        data = kept
        self.kept += len(data)
        known = max(0, min(self.stored - offset, len(data)))
        return offset + known, data[known:]

    @property
    def sum(self) -> StreamSum:
        if self._hash is None:
            return _SILENT
        return StreamSum(self.size, self.kept, self._hash.hexdigest(), self._kept_sha256)


class OutputSender(Struct):
    """The worker's one way to the Logger."""

    bus: Bus
    worker: str
    session: str
    waiting: deque[LogChunk]
    streams: dict[tuple[JobRef, int], Stream]
    wake: asyncio.Event
    lost: asyncio.Event  # Core has less than it had acknowledged
    patience: Patience

    @classmethod
    def create(cls, bus: Bus, worker: str, session: str) -> "OutputSender":
        return cls(bus, worker, session, deque(), {}, asyncio.Event(), asyncio.Event(), Patience())

    async def open(self, ref: JobRef, *, adopted: bool) -> tuple[Stream, Stream]:
        """Begin the two streams of an assignment; for an adopted one, ask Core what it has already."""
        ends = {stream: end for _, stream, end in (await self._ends((ref,))).ends} if adopted else {}
        pair = Stream(ref, 1, ends.get(1, 0)), Stream(ref, 2, ends.get(2, 0))
        self.streams[ref, 1], self.streams[ref, 2] = pair
        return pair

    async def compare(self, ended: Iterable[Ended]) -> None:
        """Ask whether all is stored that once was, after Core did not know our session: it may be a restored one."""
        stored = {(stream.ref, stream.number): stream.stored for stream in self.streams.values()}
        for end in ended:
            sums = ((1, end.stdout.kept), (2, end.stderr.kept))
            tars = ((number, total.size) for number, total in enumerate(end.outputs, FIRST_OUTPUT_STREAM))
            stored |= {(end.ref, number): size for number, size in (*sums, *tars)}
        refs = sorted({ref for ref, _ in stored})
        for start in range(0, len(refs), REFS_MAX):
            answer = await self._ends(tuple(refs[start : start + REFS_MAX]))
            ends = {(ref, number): end for ref, number, end in answer.ends}
            if any(ends.get(key, 0) < end for key, end in stored.items() if key[0] in refs[start : start + REFS_MAX]):
                self.lost.set()

    async def _ends(self, refs: tuple[JobRef, ...]) -> LogsAck:
        """Ask, for as long as it takes, up to where these are stored."""
        while True:
            try:
                return await self._ask(AskLogEnds(self.session, refs))
            except Unavailable:
                await asyncio.sleep(0.2)

    async def send(self, stream: Stream, data: bytes, at_ms: int, allowance: int) -> None:
        """Queue bytes; wait while this stream is too far ahead of what is stored."""
        for start in range(0, len(data), PIECE_MAX):
            piece = data[start : start + PIECE_MAX]
            offset, fresh = stream.add(piece, allowance - start)
            if not fresh:
                continue
            self.waiting.append(LogChunk(stream.ref, stream.number, offset, at_ms, fresh))
            self.wake.set()
            while stream.kept - stream.stored > AHEAD_MAX:
                await stream.move()

    async def open_one(self, ref: JobRef, number: int) -> Stream:
        """Begin the stream of an output; what Core has of it already is not sent again."""
        ends = {stream: end for _, stream, end in (await self._ends((ref,))).ends}
        stream = self.streams[ref, number] = Stream(ref, number, ends.get(number, 0))
        return stream

    def close_one(self, ref: JobRef, number: int) -> None:
        self.streams.pop((ref, number), None)

    async def check(self, word: CheckOutput) -> OutputChecked:
        """Ask, for as long as it takes, whether an output is stored as it was sent."""
        while True:
            try:
                payload = await self.bus.request(subjects.up(self.worker, "logs"), codec.encode(word), CHECK_S)
                answer = codec.decode_to_worker(payload)
            except (Unavailable, codec.DecodeError):
                await asyncio.sleep(0.2)
                continue
            if isinstance(answer, OutputChecked):
                return answer
            await asyncio.sleep(0.2)

    async def flush(self, streams: Sequence[Stream]) -> None:
        """Return when PostgreSQL has all that is kept of these streams."""
        for stream in streams:
            while stream.stored < stream.kept:
                await stream.move()

    def close(self, ref: JobRef) -> None:
        for number in (1, 2):
            self.streams.pop((ref, number), None)

    async def run(self) -> None:
        """Send for ever; ends when cancelled."""
        while True:
            while not self.waiting:
                self.wake.clear()
                await self.wake.wait()
            batch = self._batch()
            try:
                answer = await self._ask(LogChunks(self.session, tuple(batch)))
            except Unavailable:
                self._return(batch)
                await asyncio.sleep(0.2)
                continue
            ends = {(ref, stream): end for ref, stream, end in answer.ends}
            self._return([chunk for chunk in batch if ends.get((chunk.ref, chunk.stream), 0) < _end(chunk)])
            for key, end in ends.items():
                stream = self.streams.get(key)
                if stream is not None and end < stream.stored:
                    self.lost.set()
                    await asyncio.sleep(0.2)  # what follows would be sent for ever: it does not fit to what is stored
                elif stream is not None:
                    stream.stored_to(end)

    def _batch(self) -> list[LogChunk]:
        batch: list[LogChunk] = []
        size = 0
        while self.waiting and len(batch) < CHUNKS_MAX and size < MESSAGE_MAX:
            chunk = self.waiting.popleft()
            batch.append(chunk)
            size += len(chunk.data)
        return batch

    def _return(self, chunks: list[LogChunk]) -> None:
        """Put back, in order, what has to be sent again; output of assignments that are over is not needed."""
        self.waiting.extendleft(reversed([chunk for chunk in chunks if (chunk.ref, chunk.stream) in self.streams]))

    async def _ask(self, word: LogChunks | AskLogEnds) -> LogsAck:
        payload = await self.patience.ask(self.bus, subjects.up(self.worker, "logs"), codec.encode(word))
        try:
            answer = codec.decode_to_worker(payload)
        except codec.DecodeError as problem:
            raise Unavailable(f"the Logger's answer cannot be read: {problem}") from problem
        if not isinstance(answer, LogsAck):
            raise Unavailable("the Logger gave no answer")
        return answer


def _end(chunk: LogChunk) -> int:
    return chunk.offset + len(chunk.data)
