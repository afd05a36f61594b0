"""The worker's shell where it waits for Core: leases go on ending, and what an earlier agent left is sorted out."""

import asyncio

import pytest
from nats.aio.msg import Msg

from swarmsync import ids
from swarmsync.errors import Unavailable
from swarmsync.model.job import JobRef
from swarmsync.model.lifecycle import EndReason
from swarmsync.model.resources import Need
from swarmsync.model.spec import JobSpec, need
from swarmsync.model.worker import WorkerOffer
from swarmsync.protocol import codec
from swarmsync.protocol.messages import Ended, Orders, Refusal, RunJob, StopJob, Welcome
from tests.unit.worker.played_core import Core
from worker import agent as module
from worker.agent import Agent
from worker.container_runtime import ContainerPlan, Seen
from worker.leases import Leases, key_of
from worker.simulated_runtime import SimulatedRuntime
from worker.terms import Terms, write_terms
from worker.watch import Watch

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


@pytest.mark.interpreted
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


@pytest.mark.interpreted
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


async def test_what_the_watchdog_put_down_is_no_failure_of_the_job(tmp_path):
    """It ended by our own SIGTERM, while this process stood still."""
    watch = Watch(tmp_path, "process", "w")
    agent = Agent(Bus(), SimulatedRuntime(), WorkerOffer("w1", Need(4_000, 4 << 30)), "token", watch)
    refs = [JobRef(7, 1), JobRef(8, 1)]
    watch.file.mark(key_of(ids.encode(7), 1))
    for ref in refs:
        agent._reactor.hold(ref, TERMS)
        agent._say(Ended(ref, EndReason.SIGNAL, "exit code 143: ended by SIGTERM", 5, 143))
    _, reports = agent._reactor.unacknowledged(now_ms=0)
    assert [report.reason for report in reports] == [EndReason.WORKER_LOST, EndReason.SIGNAL]


@pytest.mark.interpreted
async def test_leases_are_noted_before_a_container_exists_and_count_on_in_the_next_agent(tmp_path, now):
    now[0] = 50_000
    agent = Agent(
        Bus(), SimulatedRuntime(), WorkerOffer("w1", Need(4_000, 4 << 30)), "t", Watch(tmp_path, "process", "w")
    )
    noted = []
    agent._begin = lambda *_values, **_how: noted.append(agent._watch.file.read())
    agent._bus.publish = _publish
    spec = codec.encode_json(JobSpec(image="x"))
    orders = Orders(1, 1, (RunJob(JobRef(7, 1), 5, "", 0),), {5: spec})
    await agent._on_orders(Msg(None, data=codec.encode(orders)))
    assert noted == [
        Leases(agent._watch.file.boot, 50_000, 30_000, {key_of(ids.encode(7), 1): 50_000 + 30_000 - 10_000 - 1_000})
    ]
    now[0] = 90_000
    after = Agent(
        Bus(), SimulatedRuntime(), WorkerOffer("w1", Need(4_000, 4 << 30)), "t", Watch(tmp_path, "process", "w")
    )
    assert after._reactor.heard_ms == 50_000


@pytest.mark.interpreted
async def test_an_attempt_that_got_more_memory_shares_it_with_no_other_of_its_spec():
    """One message may hold a job's retry after it ran out of memory beside a first attempt of the same spec."""
    agent = make(Bus())
    begun = []
    agent._begin = lambda ref, terms, *, plan, **_how: begun.append((ref, terms.need.memory_bytes, plan.memory_bytes))
    agent._bus.publish = _publish
    spec = JobSpec(image="x")
    own = need(spec).memory_bytes
    runs = tuple(RunJob(JobRef(number, 1), 5, "", memory) for number, memory in ((1, own), (2, 2 * own), (3, own)))
    await agent._on_orders(Msg(None, data=codec.encode(Orders(1, 1, runs, {5: codec.encode_json(spec)}))))
    assert begun == [(JobRef(1, 1), own, own), (JobRef(2, 1), 2 * own, 2 * own), (JobRef(3, 1), own, own)]
    assert agent._reactor._used.memory_bytes == 4 * own


async def _publish(*_words):
    pass


async def test_an_agent_that_was_stopped_ends_in_peace_although_its_caller_deals_with_an_exception():
    """Compiled it raised that one as its own, or any other that a coroutine was dealing with at that moment."""
    agent = make(Core())
    agent.stop()
    try:
        int("no number")
    except ValueError:
        await agent.run()
