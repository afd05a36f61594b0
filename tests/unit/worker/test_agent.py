"""The worker's shell where it waits for Core: leases go on ending, and what an earlier agent left is sorted out."""

import asyncio

import pytest

from swarmsync import ids
from swarmsync.errors import Unavailable
from swarmsync.model.job import JobRef
from swarmsync.model.lifecycle import EndReason
from swarmsync.model.resources import Need
from swarmsync.model.worker import WorkerOffer
from swarmsync.protocol import codec
from swarmsync.protocol.messages import Refusal, StopJob, Welcome
from worker import agent as module
from worker.agent import Agent
from worker.container_runtime import ContainerPlan, Seen
from worker.plans import Terms, write_terms
from worker.simulated_runtime import SimulatedRuntime

TERMS = Terms(Need(1_000, 1 << 30), grace_ms=1_000)


def plan(job_id, fence, duration="1h"):
    return ContainerPlan(
        job=ids.encode(job_id), attempt=fence, fence=fence, session="s", image="image", entrypoint=None, command=None,
        environment={"SIM_DURATION": duration}, working_dir=None, user=None, init=True, mounts=(), network="none",
        cpus_milli=1_000, memory_bytes=1 << 30, pids_max=1, gpus=0, disk_bytes=None, stop_signal="SIGTERM",
        stop_grace_s=1, note=write_terms(TERMS),
    )  # fmt: skip


class Bus:
    """Core's answers to joins, in order; an exception is raised."""

    def __init__(self, *answers):
        self.answers = list(answers)

    async def request(self, _subject, _payload, _timeout_s):
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return codec.encode(answer)


@pytest.fixture
def now(monkeypatch):
    clock = [0]
    monkeypatch.setattr(module, "monotonic_ms", lambda: clock[0])
    return clock


def make(bus, runtime=None):
    return Agent(bus, runtime or SimulatedRuntime(), WorkerOffer("w1", Need(4_000, 4 << 30)), "token")


async def leave(runtime, job_id, fence, *, start=True, duration="1h"):
    container_id = await runtime.create(plan(job_id, fence, duration))
    if start:
        await runtime.start(container_id)


@pytest.mark.parametrize("answer", [Unavailable("no answer"), Refusal("not yet")])
async def test_a_lease_ends_also_while_the_worker_waits_to_be_let_in(now, monkeypatch, answer):
    """Core gives the job to another worker in the meantime."""
    agent = make(Bus(*[answer] * 40, Welcome(1, 1_000, 30_000, 0, 0)))
    stopped = []
    monkeypatch.setattr(agent, "_stop_all", stopped.extend)
    agent._reactor.hold(JobRef(7, 1), TERMS)

    async def pass_time(_seconds):
        now[0] += 1_000

    monkeypatch.setattr(asyncio, "sleep", pass_time)
    await agent._join()
    assert stopped == [StopJob(JobRef(7, 1), reason=EndReason.WORKER_LOST)]


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
async def test_of_two_attempts_of_a_job_only_the_newer_is_taken_in(order):
    """The agent died between Core's acknowledgement of the first and its removal; its room must not stay taken."""
    runtime = SimulatedRuntime()
    for fence in order:
        await leave(runtime, 7, fence, duration="0" if fence == 1 else "1h")
    agent = make(Bus(), runtime)
    agent._begin = lambda *_values, **_how: None
    await agent._adopt()
    assert [held.ref for held in agent._reactor.held.values()] == [JobRef(7, 2)]
    assert agent._reactor._used == TERMS.need
    assert [(seen.fence, seen.state) for seen in await runtime.list()] == [(2, Seen.RUNNING)]


async def test_a_container_that_never_ran_is_removed():
    runtime = SimulatedRuntime()
    await leave(runtime, 7, 1, start=False)
    agent = make(Bus(), runtime)
    await agent._adopt()
    assert (agent._reactor.held, await runtime.list()) == ({}, [])
