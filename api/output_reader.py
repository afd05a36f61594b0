"""Reading a job's output: both streams merged by time, from an offset, the last lines or a moment, and on as it grows.

An attempt that is over is read to its end, then the next one is taken up, until the job is final. The state is read
before the output: a verdict is committed only after all output is, so what is read after a verdict is the whole.
"""

from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from msgspec import Struct

from api.endpoint import Call
from api.events_hub import Watch
from api.finding import missing
from api.streams import BACKSTOP_S, Pulse
from swarmsync import ids
from swarmsync.model.lifecycle import FINAL
from swarmsync.store import lists, outputs
from swarmsync.store.lists import Row
from swarmsync.store.outputs import Chunk, Output

TAIL_BYTES_MAX: Final = 16 << 20


class Wanted(Struct, frozen=True):
    """What to read. `offsets` by stream mean: go on there, `attempt` says where that is."""

    streams: tuple[int, ...]
    follow: bool
    attempt: int | None = None
    tail: int | None = None
    since: datetime | None = None
    offsets: dict[int, int] | None = None

    @property
    def one_attempt(self) -> bool:
        return self.attempt is not None and self.offsets is None


class Note(Struct, frozen=True):
    """How the job stands; said when that changes, and now and then."""

    row: Row
    attempt: int


class End(Struct, frozen=True):
    """The last word of a stream."""

    row: Row
    attempt: int


class OutputReader:
    def __init__(self, call: Call, job_id: int, wanted: Wanted) -> None:
        self._call = call
        self._store = call.services.store
        self._caller = call.caller
        self._job_id = job_id
        self._wanted = wanted
        self._attempt = 0
        self._oldest = datetime.now(UTC)
        self._offsets: dict[int, int] = {}

    async def read(self) -> AsyncGenerator[tuple[int, Chunk] | Note | End, None]:
        """Yield (attempt, chunk), a Note at each change of state, and one End. Raises NotFound, Broken."""
        pulse = Pulse(self._call)
        row = await self._state()
        first = await self._begin(row)
        async with self._call.services.hub.watch_output(self._job_id) as watch:
            told: Any = None
            while True:
                await pulse.check()
                row = await self._state()
                if row["state"] != told or pulse.silent_too_long:
                    told = row["state"]
                    pulse.spoke()
                    yield Note(row, self._attempt)
                chunks, more = (first, True) if first else await self._next()
                first = []
                for chunk in chunks:
                    pulse.spoke()
                    yield self._attempt, chunk
                if more or (chunks and self._wanted.follow and row["state"] not in FINAL):
                    continue
                if await self._is_over(row, watch):
                    yield End(row, self._attempt)
                    return

    async def _is_over(self, row: Row, watch: Watch) -> bool:
        """Everything there is was read: go to the next attempt, wait for more, or say that this was the end."""
        if self._attempt < row["fence"]:
            if self._wanted.one_attempt:
                return True
            self._attempt += 1
            self._offsets = dict.fromkeys(self._wanted.streams, 0)
            return False
        if row["state"] in FINAL or not self._wanted.follow:
            return True
        await watch.wait(BACKSTOP_S)
        return False

    async def _state(self) -> Row:
        row = await lists.state_of(self._store, self._caller, self._job_id)
        if row is None:
            raise missing(ids.encode(self._job_id))
        return row

    @property
    def _output(self) -> Output:
        return Output(self._job_id, self._attempt, self._oldest)

    async def _begin(self, row: Row) -> list[Chunk]:
        """Choose the attempt and the offsets; returns the last lines where those are wanted."""
        wanted = self._wanted
        self._oldest = row["submitted_at"] - timedelta(days=1)  # a worker's clock may be late
        latest = wanted.attempt
        if latest is None:
            latest = await outputs.latest_attempt(self._store, self._caller, self._job_id, self._oldest)
        self._attempt = latest or max(row["fence"], 1)
        if wanted.offsets is not None:
            self._offsets = {stream: wanted.offsets.get(stream, 0) for stream in wanted.streams}
            return []
        self._offsets = dict.fromkeys(wanted.streams, 0)
        if wanted.tail is not None:
            return await self._tail(wanted.tail)
        if wanted.since is not None:
            for stream in wanted.streams:
                start = await outputs.offset_since(self._store, self._caller, self._output, stream, wanted.since)
                self._offsets[stream] = start if start is not None else await self._end(stream)
        return []

    async def _end(self, stream: int) -> int:
        last = await self._backward(stream, outputs.FROM_THE_END)
        return last[0].end if last else 0

    async def _backward(self, stream: int, before: int) -> list[Chunk]:
        return await outputs.backward(self._store, self._caller, self._output, stream, before)

    async def _next(self) -> tuple[list[Chunk], bool]:
        """Return what comes next of all streams in the order of its time, and whether more is stored already."""
        found = await outputs.forward(self._store, self._caller, self._output, list(self._offsets.items()))
        chunks = merged([part for part, _ in found], [more for _, more in found])
        for chunk in chunks:
            self._offsets[chunk.stream] = chunk.end
        return chunks, any(more for _, more in found)

    async def _tail(self, lines: int) -> list[Chunk]:
        """Return the last lines of all streams together, and stand behind them."""
        pages = {stream: await self._backward(stream, outputs.FROM_THE_END) for stream in self._wanted.streams}
        self._offsets = {stream: page[0].end if page else 0 for stream, page in pages.items()}
        counter = LastLines(lines)
        while not counter.full and any(pages.values()):
            stream = max((s for s, page in pages.items() if page), key=lambda s: pages[s][0].at)
            chunk = pages[stream].pop(0)
            if self._wanted.since is not None and chunk.at < self._wanted.since:
                pages[stream] = []
                continue
            counter.add(chunk)
            if not pages[stream]:
                pages[stream] = await self._backward(stream, chunk.start)
        return counter.chunks


class LastLines:
    """Takes chunks from the end backwards until it has so many lines."""

    def __init__(self, lines: int) -> None:
        self._left = lines
        self._bytes = 0
        self._taken: list[Chunk] = []
        self.full = lines == 0

    @property
    def chunks(self) -> list[Chunk]:
        """What was kept, in the order in which it was written."""
        return self._taken[::-1]

    def add(self, chunk: Chunk) -> None:
        """Take the chunk before those that were taken; cut it where the wanted lines begin."""
        end = len(chunk.data)
        if not self._taken and chunk.data.endswith(b"\n"):
            end -= 1  # ends the last line, begins none
        while self._left > 0:
            end = chunk.data.rfind(b"\n", 0, end)
            if end < 0:
                break
            self._left -= 1
        self._bytes += len(chunk.data)
        cut = chunk.cut(chunk.start + end + 1) if self._left == 0 else chunk
        if cut.data:
            self._taken.append(cut)
        self.full = self._left == 0 or self._bytes >= TAIL_BYTES_MAX


def merged(parts: Sequence[list[Chunk]], more: Sequence[bool]) -> list[Chunk]:
    """Merge streams by time; stop where one that goes on ends, for its next chunk may be older than the others'."""
    rests = [list(reversed(part)) for part in parts]
    result: list[Chunk] = []
    while any(rests) and not any(goes_on and not rest for rest, goes_on in zip(rests, more, strict=True)):
        earliest = min((rest for rest in rests if rest), key=lambda rest: (rest[-1].at, rest[-1].stream))
        result.append(earliest.pop())
    return result
