"""Outputs on their way: whole and checked, or refused with the reason that the attempt ends with."""

import asyncio
import io
import tarfile
from hashlib import sha256

import pytest

from swarmsync import ids
from swarmsync.model.files import Output
from swarmsync.model.job import JobRef
from swarmsync.model.lifecycle import EndReason
from swarmsync.protocol import codec
from swarmsync.protocol.messages import AskLogEnds, CheckOutput, LogsAck, OutputChecked
from worker.collecting import Collector, OutputProblem
from worker.container_runtime import ContainerPlan
from worker.output import OutputSender
from worker.simulated_runtime import SimulatedRuntime

REF = JobRef(42, 3)
TEXT = "x" * 300_000


class Logger:
    """Stores what comes, one stream after another; `flips` damages that many deliveries on the way."""

    def __init__(self, flips=0, stored=b""):
        self.data, self.flips, self.received, self.checks = {3: stored}, flips, 0, []

    async def request(self, subject, payload, timeout_s):
        word = codec.decode_from_worker(payload)
        if isinstance(word, CheckOutput):
            return codec.encode(self._check(word))
        for chunk in () if isinstance(word, AskLogEnds) else word.chunks:
            stored = self.data.get(chunk.stream, b"")
            assert chunk.offset == len(stored)
            self.received += len(chunk.data)
            data = chunk.data
            if self.flips and not stored:
                self.flips -= 1
                data = bytes([data[0] ^ 1]) + data[1:]
            self.data[chunk.stream] = stored + data
        return codec.encode(LogsAck(tuple((REF, stream, len(data)) for stream, data in self.data.items())))

    def _check(self, word):
        self.checks.append(word)
        stored = self.data.get(word.stream, b"")
        same = (len(stored), sha256(stored).hexdigest()) == (word.total.size, word.total.sha256)
        if not same:
            self.data[word.stream] = b""
        return OutputChecked(same, "" if same else "another SHA-256 arrived")


@pytest.fixture
async def collect():
    """Collect the outputs of a simulated container that wrote /out/a.txt; return the sums."""
    running = []

    async def run(logger, *outputs):
        runtime = SimulatedRuntime()
        environment = {"SIM_OUTPUT": f"/out/a.txt={TEXT}"}
        plan = ContainerPlan(
            ids.encode(REF.job_id), 3, 3, "s1", "alpine", None, None, environment, None, None, True, (), "none",
            1_000, 256 << 20, 64, 0, None, "SIGTERM", 0.02,
        )  # fmt: skip
        container_id = await runtime.create(plan)
        await runtime.start(container_id)
        await runtime.wait(container_id)
        sender = OutputSender.create(logger, "w1", "s1")
        running.append(asyncio.create_task(sender.run()))
        return await Collector(REF, runtime, sender).collect(container_id, outputs)

    yield run
    for sending in running:
        sending.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def test_sums_are_those_of_what_arrived(collect):
    logger = Logger()
    (one, none) = await collect(logger, Output("/out/**", "out"), Output("/none/*", "none"))
    assert (one.name, one.files, one.bytes) == ("out", 1, len(TEXT))
    assert (one.size, one.sha256) == (len(logger.data[3]), sha256(logger.data[3]).hexdigest())
    assert (none.files, none.bytes, len(logger.data[4])) == (0, 0, none.size)
    with tarfile.open(fileobj=io.BytesIO(logger.data[3])) as tar:
        assert tar.extractfile("a.txt").read() == TEXT.encode()


async def test_a_second_agent_sends_only_what_is_not_stored_yet(collect):
    first = Logger()
    (total,) = await collect(first, Output("/out/**", "out"))
    second = Logger(stored=first.data[3][:200_000])
    assert await collect(second, Output("/out/**", "out")) == (total,)
    assert second.received == total.size - 200_000


async def test_a_byte_that_flips_once_is_made_good(collect):
    logger = Logger(flips=1)
    (total,) = await collect(logger, Output("/out/**", "out"))
    assert sha256(logger.data[3]).hexdigest() == total.sha256
    assert len(logger.checks) == 2


async def test_a_byte_that_always_flips_is_a_mismatch_that_names_its_output(collect):
    with pytest.raises(OutputProblem, match="the output out did not arrive as it left") as caught:
        await collect(Logger(flips=9), Output("/out/**", "out"))
    assert caught.value.reason is EndReason.CHECKSUM_MISMATCH


async def test_over_a_limit_nothing_at_all_is_sent(collect):
    logger = Logger()
    with pytest.raises(OutputProblem) as caught:
        await collect(logger, Output("/none", "first"), Output("/out/a.txt", "out", 299_999))
    assert caught.value.reason is EndReason.OUTPUT_TOO_LARGE
    assert (logger.received, logger.checks) == (0, [])
