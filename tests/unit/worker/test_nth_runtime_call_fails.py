"""Each call of a worker to its runtime, and each message to Core, fails once, in turn, in ten scenarios.

The worker's own agent runs simulated containers behind an injector. Whatever fails, each job has its one right end, its
output is whole, no two containers of it ran at a time, and none is left. SWARMSYNC_NTH_CALLS=all takes every call.
"""

import asyncio
import errno
import os
import tempfile

import pytest

from swarmsync.model.fields import Duration
from swarmsync.model.files import Output
from swarmsync.model.lifecycle import EndReason
from swarmsync.model.resources import Need
from swarmsync.model.spec import JobSpec, Retry, Stop
from swarmsync.model.worker import WorkerOffer
from tests.unit.worker.failing import DONE, FAILURES, REFUSED, FailingRuntime
from tests.unit.worker.played_core import Core
from worker import agent, assignment, orphans
from worker.agent import Agent
from worker.container_runtime import RuntimeProblem
from worker.ending import cancelled
from worker.watch import Watch

#: How many calls of each kind fail in `make test`, and of those that a worker makes for ever when all do.
FEW, ENDLESS_MAX = 1, 2
EVERY_CALL = os.environ.get("SWARMSYNC_NTH_CALLS") == "all"
GIVES_UP_S = 60
TWICE = Retry(attempts=2, backoff="none")
#: What may go on for ever is called as often as there is time.
ENDLESS = {"say pulse", "list", "images", "usage", "written"}


def spec(*, lives="5ms", image="alpine", **fields):
    """A job that writes two words; the rest is its own."""
    environment = {"SIM_DURATION": lives, "SIM_STDOUT": "out", "SIM_STDERR": "error", **fields.pop("does", {})}
    return JobSpec(image=image, environment=environment, stop=Stop(grace=Duration(20)), **fields)


GOOD, BAD = spec(), spec(does={"SIM_EXIT": "3"})
BAD_TWICE = spec(does={"SIM_EXIT": "3"}, retry=TWICE)


class World:
    """A worker whose process is started again whenever it ends, and Core."""

    def __init__(self, state_dir):
        self.watch = Watch(state_dir, "failing", "w1")
        self.core, self.runtime = Core(), FailingRuntime()
        self.core.changed = self.runtime.changed
        self.agent = self._process = None

    async def _live(self):
        while not self._ends:
            self.agent = Agent(self.core, self.runtime, WorkerOffer("w1", Need(8_000, 8 << 30)), "token", self.watch)
            try:
                await self.agent.run()
            except RuntimeProblem:
                await asyncio.sleep(0)
            self.core.forget_worker()

    def start(self):
        self._ends = False
        self._process = asyncio.create_task(self._live())

    async def kill(self):
        """The agent's process dies, and another one starts."""
        await self.end()
        self.start()

    async def end(self):
        self.core.forget_worker()
        self._ends = True
        await cancelled([self._process])

    async def until(self, condition):
        """Wait; raises what broke the worker, and TimeoutError."""
        async with asyncio.timeout(GIVES_UP_S):
            while not condition():
                await self._change()

    async def until_empty(self):
        async with asyncio.timeout(GIVES_UP_S):
            while await self.runtime.real.list():
                await self._change()

    async def _change(self):
        if self._process.done():
            self._process.result()
        self.runtime.changed.clear()
        await self.runtime.changed.wait()


# ------------------------------------------------ scenarios: each returns how its jobs must end


async def succeeds(world):
    return {world.core.submit(GOOD): "succeeded"}


async def fails(world):
    return {world.core.submit(BAD): "failed"}


async def is_tried_again(world):
    better = spec(retry=TWICE)
    return {world.core.submit(BAD_TWICE, better): "succeeded", world.core.submit(BAD_TWICE): "failed"}


async def is_cancelled_before_it_begins(world):
    job = world.core.submit(spec(image="slow-pull:1h"))
    await world.until(lambda: "ensure_image" in world.runtime.calls)
    world.core.cancel(job)
    return {job: "cancelled"}


async def is_cancelled_while_it_runs(world):
    job = world.core.submit(spec(lives="1h"))
    deaf = world.core.submit(spec(lives="1h", does={"SIM_IGNORE_STOP": "1"}))
    await world.until(lambda: job.state == deaf.state == "running")
    world.core.cancel(job)
    world.core.cancel(deaf)
    return {job: "cancelled", deaf: "cancelled"}


async def times_out(world):
    return {world.core.submit(spec(lives="1h", timeout=Duration(20))): "timed_out"}


async def is_an_array(world):
    return {
        world.core.submit(each): state for each, state in ((GOOD, "succeeded"), (GOOD, "succeeded"), (BAD, "failed"))
    }


async def brings_outputs(world):
    wanted = (Output("/out/**", "results"),)
    job = world.core.submit(spec(does={"SIM_OUTPUT": "/out/a.txt=found"}, outputs=wanted))
    await world.until(lambda: job.state == "succeeded")
    assert [total.files for total in job.end.outputs] == [1]
    assert world.core.checked
    return {job: "succeeded"}


async def loses_its_agent(world):
    """Its container goes on, and the next agent reads its output from the first byte."""
    short, long = world.core.submit(spec(lives="5ms")), world.core.submit(spec(lives="80ms"))
    await world.until(lambda: long.state not in ("queued", "starting"))
    await world.kill()
    return {short: "succeeded", long: "succeeded"}


async def is_drained(world):
    job = world.core.submit(spec(lives="1h"), spec())
    await world.until(lambda: job.state == "running")
    world.core.forget_worker()
    world.agent.stop()
    await world.until(lambda: job.fence > 1 or job.state == "queued")
    world.core.cancel(job)
    return {job: "cancelled"}


SCENARIOS = {
    scenario.__name__: scenario
    for scenario in (
        succeeds, fails, is_tried_again, is_cancelled_before_it_begins, is_cancelled_while_it_runs, times_out,
        is_an_array, brings_outputs, loses_its_agent, is_drained,
    )
}  # fmt: skip


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """What a worker waits for in seconds comes in milliseconds here."""
    for module, names in (
        (assignment, ("KILL_AGAIN_S", "FIRST_USAGE_S", "USAGE_EVERY_S")),
        (agent, ("RETRY_S",)),
        (orphans, ("LOOK_EVERY_S",)),
    ):
        for name in names:
            monkeypatch.setattr(module, name, 0.01)
    monkeypatch.setattr(Watch, "keep", lambda _self: asyncio.Event().wait())
    monkeypatch.setattr(assignment, "CREATE_MAX_S", 0.05)
    monkeypatch.setattr(assignment, "PULL_MAX_S", 0.2)


@pytest.fixture
def play(tmp_path_factory):
    """Play a scenario; returns how often each call was made."""
    return lambda name, fates: _play(World(tmp_path_factory.mktemp("worker")), name, fates)


async def _play(world, name, fates):
    for kind, fate in fates.items():
        world.runtime.fates[kind], world.core.fates[kind] = list(fate), list(fate)
    world.start()
    try:
        ends = await SCENARIOS[name](world)
        await world.until(lambda: world.core.all_ended)
        await world.until_empty()
    finally:
        await world.end()
    assert asyncio.all_tasks() == {asyncio.current_task()}, "something goes on for ever"
    assert {job.id: job.state for job in world.core.jobs.values()} == {job.id: state for job, state in ends.items()}
    for job in ends:
        assert job.crashes <= 1, job.ends
        if job.state == "succeeded":
            assert (world.core.output(job), world.core.output(job, 2)) == (b"out", b"error")
            assert job.end.stdout.kept == 3
    return world.runtime.calls | world.core.calls


@pytest.mark.parametrize("fate", FAILURES)
@pytest.mark.parametrize("name", SCENARIOS)
async def test_each_call_fails_once(play, name, fate):
    for kind, count in (await play(name, {})).items():
        most = FEW if not EVERY_CALL else ENDLESS_MAX if kind in ENDLESS else count
        for nth in range(1, min(count, most) + 1):
            try:
                await play(name, {kind: [DONE] * (nth - 1) + [fate]})
            except BaseException as broken:
                broken.add_note(f"{name}: {kind}, call {nth}, {fate}")
                raise


async def test_a_disk_that_is_full_once_costs_an_attempt_and_no_job(play, monkeypatch):
    """The assignment ended without a word before, and its job never."""
    real, failures = tempfile.TemporaryFile, [OSError(errno.ENOSPC, "No space left on device")]

    def once(**how):
        if failures:
            raise failures.pop()
        return real(**how)

    monkeypatch.setattr("worker.collecting.tempfile.TemporaryFile", once)
    await play("brings_outputs", {})
    assert not failures


@pytest.mark.parametrize("drains", [False, True])
async def test_what_an_agent_ended_and_did_not_live_to_tell_keeps_its_cause(tmp_path, drains):
    """The next one finds exit code 143, which was taken for the job's own failure."""
    world = World(tmp_path)
    world.core.fates["say reports"] = [DONE] + [REFUSED] * 10_000
    job = world.core.submit(spec(lives="1h", timeout=None if drains else Duration(20)), GOOD)
    world.start()
    await world.until(lambda: job.state == "running")
    if drains:
        world.core.forget_worker()
        world.agent.stop()
    await world.until(lambda: job.ref in {end.ref for end in world.agent._reactor.ended()})
    await world.end()
    world.core.fates.clear()
    world.start()
    await world.until(lambda: world.core.all_ended or job.fence > 1)
    await world.end()
    assert [reason for _, reason, _ in job.ends[:1]] == [EndReason.WORKER_DRAINED if drains else EndReason.TIMEOUT]
    assert job.tries == (0 if drains else 1)
