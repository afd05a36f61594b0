"""Outputs in PostgreSQL: whole or not at all, one attempt's at a time, and dropped when their time is over."""

import time
from hashlib import sha256

import asyncpg
import pytest

from engine.logger.keeping import Keeper
from engine.logger.sinks import OutputSink
from engine.logger.tar_sink import TarSink
from swarmsync.ids import IdSource
from swarmsync.model.job import JobRef
from swarmsync.protocol.messages import CheckOutput, LogChunk, OutputSum
from swarmsync.store.pool import ENGINE_PLANS, Store

pytestmark = pytest.mark.integration

IDS = IdSource(1_003, lambda: time.time_ns() // 1_000_000)
TABLES = ("jobs", "specs", "output_chunks", "output_tars", "output_tar_chunks")


class Desk:
    def __init__(self, store, owner):
        self.store, self.owner = store, owner
        self.user_id = IDS.next()
        self.sink, self.tars = OutputSink(store), TarSink(store)

    async def job(self, document='{"image":"a"}', ended="NULL"):
        job_id, spec_id = IDS.next(), IDS.next()
        await self.owner.execute(
            "INSERT INTO specs (id, user_id, document, sha256) VALUES ($1, $2, $3, $4)",
            spec_id, self.user_id, document, bytes(32),
        )  # fmt: skip
        state = "held" if ended == "NULL" else "succeeded"
        await self.owner.execute(
            "INSERT INTO jobs (id, user_id, queue, name, state, priority, spec_id, shape, cpus_milli, memory_bytes,"
            f" finished_at) VALUES ($1, $2, 'default', '', $4, 50, $3, 1, 1, 1, {ended})",
            job_id, self.user_id, spec_id, state,
        )  # fmt: skip
        return JobRef(job_id, 1)

    async def send(self, ref, data, stream=3, size=1_000):
        chunks = [LogChunk(ref, stream, at, 0, data[at : at + size]) for at in range(0, len(data), size)]
        await self.sink.write(chunks)

    async def check(self, ref, data, stream=3):
        total = OutputSum("out", len(data), sha256(data).hexdigest(), 1, 5)
        return await self.tars.check(CheckOutput("s", ref, stream, total))

    async def count(self, table, ref):
        return await self.owner.fetchval(f"SELECT count(*) FROM {table} WHERE job_id = $1", ref.job_id)


@pytest.fixture
async def desk(servers):
    store = await Store.open(servers.engine_url, size=2, application="tests", plans=ENGINE_PLANS)
    owner = await asyncpg.connect(servers.database_url, server_settings={"search_path": "swarmsync"})
    made = Desk(store, owner)
    yield made
    for table in TABLES:
        await owner.execute(f"DELETE FROM {table} WHERE user_id = $1", made.user_id)
    await owner.close()
    await store.close()


async def test_what_arrived_as_it_left_is_kept_and_asked_for_twice_is_the_same(desk):
    ref, data = await desk.job(), bytes(range(256)) * 100
    await desk.send(ref, data)
    for _ in range(2):
        assert (await desk.check(ref, data)).same
    row = await desk.owner.fetchrow("SELECT * FROM output_tars WHERE job_id = $1", ref.job_id)
    assert (row["name"], row["size"], row["sha256"], row["user_id"]) == (
        "out", len(data), sha256(data).digest(), desk.user_id,
    )  # fmt: skip


async def test_a_flipped_byte_is_noticed_thrown_away_and_sent_anew(desk):
    ref, data = await desk.job(), b"x" * 5_000
    await desk.send(ref, data[:2_500] + b"y" + data[2_501:])
    answer = await desk.check(ref, data)
    assert (answer.same, sha256(data).hexdigest() in answer.message) == (False, True)
    assert await desk.count("output_tar_chunks", ref) == 0
    desk.sink.forget(ref)
    assert (ref, 3, 0) not in await desk.sink.ends([ref])
    await desk.send(ref, data)
    assert (await desk.check(ref, data)).same


async def test_a_new_logger_goes_on_where_the_old_one_was(desk):
    ref, data = await desk.job(), b"abcdefgh" * 500
    await desk.send(ref, data[:1_500])
    desk.sink = OutputSink(desk.store)
    assert (ref, 3, 1_500) in await desk.sink.ends([ref])
    await desk.send(ref, data)
    assert (await desk.check(ref, data)).same


async def test_a_later_attempts_outputs_replace_the_earlier_ones(desk):
    ref, data = await desk.job(), b"first"
    await desk.send(ref, data)
    await desk.check(ref, data)
    second = JobRef(ref.job_id, 2)
    await desk.send(second, b"second")
    assert (await desk.check(second, b"second")).same
    assert [
        row["fence"] for row in await desk.owner.fetch("SELECT fence FROM output_tars WHERE job_id = $1", ref.job_id)
    ] == [2]
    assert await desk.count("output_tar_chunks", ref) == 1


async def test_outputs_of_a_deleted_job_are_waved_through(desk):
    assert (await desk.check(JobRef(IDS.next(), 1), b"x")).same


async def test_output_is_dropped_as_long_after_the_end_as_the_spec_says(desk):
    keeps = '{"image":"a","logs":{"keep":"1h"}}'
    old = await desk.job(keeps, "clock_timestamp() - interval '61 minutes'")
    young = await desk.job(keeps, "clock_timestamp() - interval '59 minutes'")
    other = await desk.job('{"image":"a"}', "clock_timestamp() - interval '61 minutes'")
    for ref in (old, young, other):
        await desk.send(ref, b"written", stream=1)
        await desk.send(ref, b"a tar")
    keeper = Keeper(desk.store)
    while await keeper.step():
        pass
    for table in ("output_chunks", "output_tar_chunks"):
        assert [await desk.count(table, ref) for ref in (old, young, other)] == [0, 1, 1]
