"""Output and journal in PostgreSQL: every byte once, whatever is repeated, and no line that stops all others."""

import time
from datetime import UTC, datetime

import asyncpg
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.logger.sinks import JournalSink, OutputSink
from swarmsync.ids import IdSource
from swarmsync.model.job import JobRef
from swarmsync.protocol.messages import JournalLine, LogChunk
from swarmsync.store.pool import ENGINE_PLANS, Store

pytestmark = pytest.mark.integration

IDS = IdSource(1_001, lambda: time.time_ns() // 1_000_000)


def now_ms():
    return time.time_ns() // 1_000_000


class Archive:
    """Jobs to write output for, and what is stored of it."""

    def __init__(self, store, owner):
        self.store, self.owner = store, owner
        self.user_id = IDS.next()

    async def job(self, fence=1):
        job_id = IDS.next()
        await self.owner.execute(
            "INSERT INTO jobs (id, user_id, queue, name, state, priority, spec_id, shape, cpus_milli, memory_bytes)"
            " VALUES ($1, $2, 'default', '', 'held', 50, 1, 1, 1, 1)",
            job_id,
            self.user_id,
        )
        return JobRef(job_id, fence)

    async def pieces(self, ref, stream=1):
        query = "SELECT start, data FROM output_chunks WHERE job_id = $1 AND fence = $2 AND stream = $3 ORDER BY start"
        return [tuple(row) for row in await self.owner.fetch(query, ref.job_id, ref.fence, stream)]

    async def lines(self, source):
        query = "SELECT at, level, message, job_id, fields FROM log_records WHERE source = $1 ORDER BY id"
        return await self.owner.fetch(query, source)


@pytest.fixture
async def archive(servers):
    store = await Store.open(servers.engine_url, size=2, application="tests", plans=ENGINE_PLANS)
    owner = await asyncpg.connect(servers.database_url, server_settings={"search_path": "swarmsync"})
    made = Archive(store, owner)
    yield made
    await owner.execute("DELETE FROM jobs WHERE user_id = $1", made.user_id)
    await owner.execute("DELETE FROM output_chunks WHERE user_id = $1", made.user_id)
    await owner.execute("DELETE FROM log_records WHERE source LIKE 'sinks-%'")
    await owner.close()
    await store.close()


@pytest.fixture
def sink(archive):
    return OutputSink(archive.store)


def chunk(ref, offset, data, stream=1):
    return LogChunk(ref, stream, offset, now_ms(), data)


# ------------------------------------------------ output


async def test_what_is_new_is_stored_with_its_owner(archive, sink):
    ref = await archive.job()
    assert await sink.write([chunk(ref, 0, b"abc"), chunk(ref, 0, b"error", 2), chunk(ref, 3, b"de")]) == [
        (ref, 1, 5), (ref, 2, 5),
    ]  # fmt: skip
    assert await archive.pieces(ref) == [(0, b"abc"), (3, b"de")]
    query = "SELECT DISTINCT user_id FROM output_chunks WHERE job_id = $1"
    assert await archive.owner.fetchval(query, ref.job_id) == archive.user_id


async def test_what_is_sent_again_is_stored_once(archive, sink):
    ref = await archive.job()
    for _ in range(3):
        assert await sink.write([chunk(ref, 0, b"abc"), chunk(ref, 0, b"abc")]) == [(ref, 1, 3)]
    assert await archive.pieces(ref) == [(0, b"abc")]


async def test_of_an_overlap_only_the_new_part_is_stored(archive, sink):
    ref = await archive.job()
    await sink.write([chunk(ref, 0, b"abc")])
    assert await sink.write([chunk(ref, 1, b"bcdef")]) == [(ref, 1, 6)]
    assert await archive.pieces(ref) == [(0, b"abc"), (3, b"def")]


async def test_behind_a_gap_nothing_is_stored_until_it_is_filled(archive, sink):
    ref = await archive.job()
    assert await sink.write([chunk(ref, 0, b"ab"), chunk(ref, 3, b"de")]) == [(ref, 1, 2)]
    assert await sink.write([chunk(ref, 2, b"c"), chunk(ref, 3, b"de")]) == [(ref, 1, 5)]
    assert b"".join(data for _, data in await archive.pieces(ref)) == b"abcde"


async def test_a_new_logger_goes_on_where_the_last_one_was(archive, sink):
    ref = await archive.job()
    await sink.write([chunk(ref, 0, b"abc"), chunk(ref, 0, b"x", 2)])
    fresh = OutputSink(archive.store)
    assert await fresh.write([chunk(ref, 1, b"bcd")]) == [(ref, 1, 4)]
    assert await archive.pieces(ref) == [(0, b"abc"), (3, b"d")]
    assert await OutputSink(archive.store).ends([ref]) == [(ref, 1, 4), (ref, 2, 1)]


async def test_attempts_and_streams_are_told_apart(archive, sink):
    ref = await archive.job()
    second = JobRef(ref.job_id, 2)
    await sink.write([chunk(ref, 0, b"first"), chunk(second, 0, b"2nd"), chunk(second, 0, b"err", 2)])
    ends = await sink.ends([second, ref])
    assert ends == [(second, 1, 3), (second, 2, 3), (ref, 1, 5), (ref, 2, 0)]


async def test_output_of_an_unknown_job_is_dropped_and_its_worker_may_forget_it(archive, sink):
    ref, unknown = await archive.job(), JobRef(IDS.next(), 1)
    assert (unknown, 1, 4) in await sink.write([chunk(unknown, 0, b"lost"), chunk(ref, 0, b"kept")])
    assert await archive.pieces(unknown) == []
    assert await archive.pieces(ref) == [(0, b"kept")]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
async def test_whatever_is_repeated_cut_or_shuffled_every_byte_is_stored_once(archive, data):
    """A worker sends prefixes again and again, a Logger dies between: the stored stream is always a prefix, at last all."""
    ref, whole = await archive.job(), bytes(range(40))
    sink, end = OutputSink(archive.store), 0
    cuts = st.lists(st.tuples(st.integers(0, 39), st.integers(1, 12)), min_size=1, max_size=6)
    for _ in range(data.draw(st.integers(1, 5))):
        if data.draw(st.booleans()):
            sink = OutputSink(archive.store)
        batch = [chunk(ref, start, whole[start : start + size]) for start, size in data.draw(cuts)]
        for sent in batch:
            if sent.offset <= end < sent.offset + len(sent.data):
                end = sent.offset + len(sent.data)
        assert await sink.write(batch) == [(ref, 1, end)]
    stored = await archive.pieces(ref)
    assert b"".join(piece for _, piece in stored) == whole[:end]
    assert [start for start, _ in stored] == [
        sum(len(piece) for _, piece in stored[:number]) for number in range(len(stored))
    ]


# ------------------------------------------------ the journal


def line(message="a message", **more):
    values = {"at_ms": now_ms(), "source": "sinks-test", "level": "info", **more}
    return JournalLine(message=message, **values)


async def test_a_line_is_stored_as_it_was_said(archive):
    moment = datetime.now(UTC).replace(microsecond=123_000)
    said = line(level="warning", job_id=42, fields={"jobs": "7"}, at_ms=round(moment.timestamp() * 1000))
    await JournalSink(archive.store).write([said])
    (row,) = await archive.lines("sinks-test")
    assert (row["at"], row["level"], row["message"], row["job_id"]) == (moment, "warning", "a message", 42)
    assert msgspec.json.decode(row["fields"]) == {"jobs": "7"}


@pytest.mark.parametrize(
    ("odd", "shown"),
    [
        ({"message": "a\x00b"}, {"message": "a\\0b"}),
        ({"level": "LOUD"}, {"level": "info"}),
        ({"level": ""}, {"level": "info"}),
        ({"fields": {"a\x00": "b\x00c"}}, {"fields": {"a\\0": "b\\0c"}}),
        ({"fields": {"a": "\\u0000"}}, {"fields": {"a": "\\u0000"}}),
        ({"fields": {"a": "\\\\u0000\x00"}}, {"fields": {"a": "\\\\u0000\\0"}}),
        ({"message": "ünïcödé \U0001f600"}, {"message": "ünïcödé \U0001f600"}),
        ({"message": ""}, {"message": ""}),
        ({"message": "x" * 100_000}, {"message": "x" * 100_000}),
    ],
    ids=["NUL", "odd level", "no level", "NUL in fields", "backslash-u", "both", "beyond ASCII", "empty", "long"],
)
async def test_an_odd_line_is_stored_and_does_not_stop_its_neighbours(archive, odd, shown):
    await JournalSink(archive.store).write([line("before"), line(**odd), line("after")])
    before, row, after = await archive.lines("sinks-test")
    assert (before["message"], after["message"]) == ("before", "after")
    for name, value in shown.items():
        assert (msgspec.json.decode(row[name]) if name == "fields" else row[name]) == value


async def test_an_odd_source_does_not_stop_the_journal_either(archive):
    await JournalSink(archive.store).write([line(source="sinks-\x00" + "x" * 99)])
    (found,) = await archive.owner.fetch("SELECT source FROM log_records WHERE source LIKE 'sinks-\\\\0x%'")
    assert len(found["source"]) <= 64
