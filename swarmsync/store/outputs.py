"""What containers wrote, as the Logger stored it: chunks by (job, fence, stream, start), read in bounded pieces."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import asyncpg
from msgspec import Struct

from swarmsync.store.pool import Store
from swarmsync.store.users import Caller

#: Per read and stream: so many chunks, and no further one behind so many bytes. This bounds the memory of a reader.
CHUNKS_MAX: Final = 256
BYTES_MAX: Final = 1 << 20
STREAMS: Final = {"stdout": 1, "stderr": 2}


class Chunk(Struct, frozen=True):
    stream: int
    start: int
    at: datetime
    data: bytes

    @property
    def end(self) -> int:
        return self.start + len(self.data)

    def cut(self, offset: int) -> "Chunk":
        """Return the part from `offset` on."""
        if offset <= self.start:
            return self
        return Chunk(self.stream, offset, self.at, self.data[offset - self.start :])


class Output(Struct, frozen=True):
    """Whose output is read: one attempt of a job. `oldest` bounds the day partitions that are looked at."""

    job_id: int
    fence: int
    oldest: datetime


_FORWARD: Final = """
SELECT stream, start, at, data FROM (
    SELECT c.*, sum(octet_length(data)) OVER (ORDER BY start) - octet_length(data) AS bytes_before FROM (
        SELECT stream, start, at, data FROM output_chunks
        WHERE job_id = $1 AND fence = $2 AND stream = $3 AND at >= $4 AND start >= COALESCE((
            SELECT max(start) FROM output_chunks
            WHERE job_id = $1 AND fence = $2 AND stream = $3 AND at >= $4 AND start <= $5), 0)
        ORDER BY start LIMIT $6) AS c
) AS d WHERE bytes_before < $7 ORDER BY start
"""
_BACKWARD: Final = """
SELECT stream, start, at, data FROM (
    SELECT c.*, sum(octet_length(data)) OVER (ORDER BY start DESC) - octet_length(data) AS bytes_before FROM (
        SELECT stream, start, at, data FROM output_chunks
        WHERE job_id = $1 AND fence = $2 AND stream = $3 AND at >= $4 AND start < $5
        ORDER BY start DESC LIMIT $6) AS c
) AS d WHERE bytes_before < $7 ORDER BY start DESC
"""
_SINCE: Final = """
SELECT min(start) FROM output_chunks WHERE job_id = $1 AND fence = $2 AND stream = $3 AND at >= $4 AND at >= $5
"""
_LATEST: Final = "SELECT max(fence) FROM output_chunks WHERE job_id = $1 AND at >= $2"
FROM_THE_END: Final = (1 << 63) - 1


async def forward(
    store: Store, caller: Caller, output: Output, offsets: Sequence[tuple[int, int]]
) -> list[tuple[list[Chunk], bool]]:
    """For each (stream, offset) return what is stored from there on, in order, and whether there may be more."""

    async def work(connection: asyncpg.Connection) -> list[tuple[list[Chunk], bool]]:
        found = []
        for stream, offset in offsets:
            values = (output.job_id, output.fence, stream, output.oldest, offset, CHUNKS_MAX, BYTES_MAX)
            rows = await connection.fetch(_FORWARD, *values)
            chunks = [Chunk(*row) for row in rows]
            more = len(chunks) == CHUNKS_MAX or sum(len(chunk.data) for chunk in chunks) >= BYTES_MAX
            found.append((_in_order(chunks, offset), more))
        return found

    return await store.run(work, **caller.settings)


def _in_order(chunks: list[Chunk], offset: int) -> list[Chunk]:
    """Cut away what lies before `offset` and what was stored twice."""
    result = []
    for chunk in chunks:
        if chunk.end > offset:
            result.append(chunk.cut(offset))
            offset = chunk.end
    return result


async def backward(store: Store, caller: Caller, output: Output, stream: int, before: int) -> list[Chunk]:
    """Return the last chunks that begin before an offset, last first, within the bounds of one read."""
    values = (output.job_id, output.fence, stream, output.oldest, before, CHUNKS_MAX, BYTES_MAX)
    rows = await store.fetch(_BACKWARD, *values, **caller.settings)
    return [Chunk(*row) for row in rows]


async def offset_since(store: Store, caller: Caller, output: Output, stream: int, since: datetime) -> int | None:
    """Return where the output written since then begins; None when there is none yet."""
    values = (output.job_id, output.fence, stream, output.oldest, since)
    found: int | None = await store.fetchval(_SINCE, *values, **caller.settings)
    return found


async def latest_attempt(store: Store, caller: Caller, job_id: int, oldest: datetime) -> int | None:
    """Return the newest attempt that has written something."""
    found: int | None = await store.fetchval(_LATEST, job_id, oldest, **caller.settings)
    return found
