"""Many jobs that end at once: few messages, few decoded specs, few removals at a time."""

import asyncio
import contextlib

import pytest
from nats.aio.msg import Msg

from swarmsync.model.job import JobRef
from swarmsync.model.resources import Need
from swarmsync.model.spec import JobSpec
from swarmsync.model.worker import WorkerOffer
from swarmsync.protocol import codec
from swarmsync.protocol.messages import Ended, Orders, Reports, ReportsAck, RunJob, Started
from worker import agent as module
from worker.agent import REMOVERS_MAX, SPECS_KEPT, Agent
from worker.simulated_runtime import SimulatedRuntime

JOBS = 50


class Bus:
    def __init__(self):
        self.messages = []
        self.complete = asyncio.Event()

    async def publish(self, *_words):
        pass

    async def request(self, _subject, payload, _timeout_s):
        word = codec.decode_from_worker(payload)
        assert isinstance(word, Reports)
        self.messages.append(word)
        if sum(isinstance(one, Ended) for message in self.messages for one in message.reports) == JOBS:
            self.complete.set()
        return codec.encode(ReportsAck(word.first_seq + len(word.reports) - 1))


class CountingRuntime(SimulatedRuntime):
    """Says how many removals were under way at once, and lets each take two turns of the loop."""

    def __init__(self):
        super().__init__()
        self.removing = self.removing_most = 0

    async def remove(self, container_id):
        self.removing += 1
        self.removing_most = max(self.removing_most, self.removing)
        await asyncio.sleep(0)
        await super().remove(container_id)
        self.removing -= 1


def orders(seq, spec, jobs, spec_id=5):
    runs = tuple(RunJob(JobRef(job_id, 1), spec_id, "", 0) for job_id in jobs)
    return Msg(None, data=codec.encode(Orders(1, seq, runs, {spec_id: codec.encode_json(spec)})))


def make(bus, runtime):
    return Agent(bus, runtime, WorkerOffer("w1", Need(400_000, 400 << 30)), "token")


async def test_jobs_that_end_at_once_are_told_in_one_message_and_removed_a_few_at_a_time():
    bus, runtime = Bus(), CountingRuntime()
    agent = make(bus, runtime)
    reporting = asyncio.create_task(agent._reports())
    await agent._on_orders(orders(1, JobSpec(image="x"), range(1, JOBS + 1)))
    await asyncio.wait_for(bus.complete.wait(), 10)
    (message,) = bus.messages
    assert sum(isinstance(report, Started) for report in message.reports) == JOBS
    while agent._jobs:
        await asyncio.gather(*agent._jobs)
    assert await runtime.list() == []
    assert 1 < runtime.removing_most <= REMOVERS_MAX
    assert (agent._removers, agent._reactor.held) == (0, {})
    reporting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await reporting


@pytest.mark.interpreted
async def test_a_spec_is_decoded_once_and_what_is_kept_is_bounded(monkeypatch):
    agent = make(Bus(), SimulatedRuntime())
    agent._begin = lambda *_values, **_how: None
    decoded = []
    real = codec.decode_stored_spec
    monkeypatch.setattr(module.codec, "decode_stored_spec", lambda text: decoded.append(text) or real(text))
    for seq in (1, 2):
        await agent._on_orders(orders(seq, JobSpec(image="x"), [seq]))
    assert len(decoded) == 1
    await agent._on_orders(orders(3, JobSpec(image="another under the same number"), [3]))
    assert len(decoded) == 2
    for seq in range(4, SPECS_KEPT + 10):
        await agent._on_orders(orders(seq, JobSpec(image="x"), [seq], spec_id=seq))
    assert len(agent._specs) == SPECS_KEPT
