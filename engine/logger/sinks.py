"""Where lines and bytes end up: batches into PostgreSQL. The one file beside `service.py` that touches the world."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import asyncpg
import msgspec

from swarmsync.errors import Unavailable
from swarmsync.model.files import FIRST_OUTPUT_STREAM, OUTPUTS_MAX
from swarmsync.model.job import JobRef
from swarmsync.protocol.messages import JournalLine, LogChunk
from swarmsync.store.pool import Store
from swarmsync.store.queries import sql

STREAMS_KNOWN_MAX = 20_000


class JournalSink:
    """System log records, by COPY."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def write(self, lines: Sequence[JournalLine]) -> None:
        rows = [
            (
                datetime.fromtimestamp(line.at_ms / 1000, UTC),
                _storable(line.source)[:64],
                line.level if line.level in ("debug", "info", "warning", "error") else "info",
                _storable(line.message),
                line.job_id,
                msgspec.json.encode({_storable(k): _storable(v) for k, v in line.fields.items()}).decode(),
            )
            for line in lines
        ]
        async with self._store.connection() as connection:
            await connection.copy_records_to_table(
                "log_records", records=rows, columns=["at", "source", "level", "message", "job_id", "fields"]
            )


def _storable(text: str) -> str:
    """PostgreSQL's text and jsonb hold every character but NUL; one line of that kind must not stop all others."""
    return text.replace("\x00", "\\0")


class OutputSink:
    """Output of jobs, each byte of a stream once: chunks are cut to what is not stored yet; a gap is not stored.

    The Logger is the only writer, so how far a stream is stored is known here, and read from the rows for a stream that
    was not seen since the start.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._ends: dict[tuple[int, int, int], int] = {}
        self._changed: set[tuple[int, int]] = set()

    async def ends(self, refs: Sequence[JobRef]) -> list[tuple[JobRef, int, int]]:
        """Return (assignment, stream, offset up to which everything is stored): stdout, stderr, and outputs begun."""
        await self._load(refs)
        return [
            (ref, stream, self._ends[key])
            for ref in refs
            for stream in range(1, FIRST_OUTPUT_STREAM + OUTPUTS_MAX)
            if (key := (ref.job_id, ref.fence, stream)) in self._ends
        ]

    def forget(self, ref: JobRef) -> None:
        """What is stored of this assignment was changed by others: look at the rows before the next write."""
        self._changed.add((ref.job_id, ref.fence))

    async def write(self, chunks: Sequence[LogChunk]) -> list[tuple[JobRef, int, int]]:
        """Store what is new of these chunks; return how far each stream is stored then."""
        await self._load([chunk.ref for chunk in chunks])
        ends = dict(self._ends)
        rows: list[tuple[int, int, int, int, int, bytes]] = []
        touched = set()
        for chunk in chunks:
            key = (chunk.ref.job_id, chunk.ref.fence, chunk.stream)
            touched.add(key)
            end = ends.get(key, 0)
            if chunk.offset <= end < chunk.offset + len(chunk.data):
                data = chunk.data[end - chunk.offset :]
                rows.append((*key, end, chunk.at_ms, data))
                ends[key] = end + len(data)
        if rows:
            try:
                await self._store.run(lambda connection: _insert(connection, rows))
            except Unavailable:
                for job_id, fence, _ in touched:  # the commit may have passed: look at the rows before the next write
                    self._ends.pop((job_id, fence, 1), None)
                raise
        if len(ends) > STREAMS_KNOWN_MAX:
            kept = {key[:2] for key in touched}
            ends = {key: end for key, end in ends.items() if key[:2] in kept}
        self._ends = ends
        return [(JobRef(*key[:2]), key[2], ends.get(key, 0)) for key in sorted(touched)]

    async def _load(self, refs: Sequence[JobRef]) -> None:
        if self._changed:
            self._ends = {key: end for key, end in self._ends.items() if key[:2] not in self._changed}
            self._changed.clear()
        new = sorted({ref for ref in refs if (ref.job_id, ref.fence, 1) not in self._ends})
        if not new:
            return
        stored = await self._store.fetch(sql("output_ends"), [r.job_id for r in new], [r.fence for r in new])
        for ref in new:
            self._ends[ref.job_id, ref.fence, 1] = self._ends[ref.job_id, ref.fence, 2] = 0
        for row in stored:
            self._ends[row["job_id"], row["fence"], row["stream"]] = row["stored"]


async def _insert(connection: asyncpg.Connection, rows: Sequence[tuple[int, int, int, int, int, bytes]]) -> None:
    """Store chunks of streams, and of outputs' tars, which have a table of their own and no time."""
    written = [row for row in rows if row[2] < FIRST_OUTPUT_STREAM]
    tars = [(*row[:4], row[5]) for row in rows if row[2] >= FIRST_OUTPUT_STREAM]
    if written:
        await connection.execute(sql("store_output"), *_columns(written))
    if tars:
        await connection.execute(sql("store_tars"), *_columns(tars))


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]
