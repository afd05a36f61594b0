"""What the output sink remembers between batches: bounded, and never more than PostgreSQL has confirmed."""

import pytest

from engine.logger import sinks
from engine.logger.sinks import OutputSink
from swarmsync.errors import Unavailable
from swarmsync.model.job import JobRef
from swarmsync.protocol.messages import LogChunk

A, B, C = JobRef(1, 1), JobRef(2, 1), JobRef(3, 1)


class Rows:
    """A store that keeps the chunks of one sink; `problem` breaks the next write before or after its commit."""

    def __init__(self):
        self.chunks, self.looks, self.problem = [], 0, None

    async def fetch(self, _query, job_ids, fences):
        self.looks += 1
        ends = {}
        for job_id, fence, stream, start, data in self.chunks:
            if (job_id, fence) in zip(job_ids, fences, strict=True):
                key = (job_id, fence, stream)
                ends[key] = max(ends.get(key, 0), start + len(data))
        return [{"job_id": k[0], "fence": k[1], "stream": k[2], "stored": end} for k, end in ends.items()]

    async def run(self, work):
        return await work(self)

    async def execute(self, _query, job_ids, fences, streams, starts, _at_ms, data):
        problem, self.problem = self.problem, None
        if problem == "before":
            raise Unavailable("away")
        self.chunks += zip(job_ids, fences, streams, starts, data, strict=True)
        if problem == "after":
            raise Unavailable("the answer to the commit was lost")

    def text(self, ref, stream=1):
        pieces = sorted((start, data) for *key, start, data in self.chunks if key == [ref.job_id, ref.fence, stream])
        return b"|".join(data for _, data in pieces)


def chunk(ref, offset, data, stream=1):
    return LogChunk(ref, stream, offset, 0, data)


@pytest.fixture
def rows():
    return Rows()


@pytest.fixture
def sink(rows):
    return OutputSink(rows)


async def test_a_stream_is_looked_up_once_and_then_known(sink, rows):
    for offset in range(5):
        await sink.write([chunk(A, offset, b"x")])
    assert rows.looks == 1


async def test_both_streams_of_an_assignment_are_known_after_its_memory_was_cut(sink, rows, monkeypatch):
    monkeypatch.setattr(sinks, "STREAMS_KNOWN_MAX", 3)
    await sink.write([chunk(A, 0, b"a"), chunk(B, 0, b"b")])
    await sink.write([chunk(C, 0, b"c")])  # only one of C's two streams has been seen yet
    assert await sink.write([chunk(C, 0, b"error", stream=2)]) == [(C, 2, 5)]
    assert await sink.ends([C, A]) == [(C, 1, 1), (C, 2, 5), (A, 1, 1), (A, 2, 0)]


async def test_its_memory_is_bounded(sink, monkeypatch):
    monkeypatch.setattr(sinks, "STREAMS_KNOWN_MAX", 10)
    for job_id in range(100):
        await sink.write([chunk(JobRef(job_id, 1), 0, b"x")])
    assert len(sink._ends) <= 12


@pytest.mark.parametrize("problem", ["before", "after"])
async def test_a_write_in_doubt_stores_each_byte_once_all_the_same(sink, rows, problem):
    await sink.write([chunk(A, 0, b"ab")])
    rows.problem = problem
    with pytest.raises(Unavailable):
        await sink.write([chunk(A, 2, b"cd")])
    assert await sink.write([chunk(A, 2, b"cd"), chunk(A, 4, b"e")]) == [(A, 1, 5)]
    assert rows.text(A) == b"ab|cd|e"
