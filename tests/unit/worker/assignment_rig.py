"""An assignment with a Logger and a runtime that do what a test says."""

import asyncio

from swarmsync import ids
from swarmsync.model.job import JobRef
from swarmsync.model.resources import Need
from swarmsync.protocol import codec
from swarmsync.protocol.messages import AskLogEnds, Ended, LogsAck, Started
from worker.assignment import Assignment
from worker.container_runtime import ContainerPlan
from worker.output import OutputSender
from worker.simulated_runtime import SimulatedRuntime
from worker.terms import Terms

REF = JobRef(42, 3)


class Storage:
    """A Logger that stores at once whatever it is sent."""

    def __init__(self):
        self.ends, self.data = {}, {}

    async def request(self, subject, payload, timeout_s):
        word = codec.decode_from_worker(payload)
        if isinstance(word, AskLogEnds):
            keys = [(ref, stream) for ref in word.refs for stream in (1, 2)]
        else:
            keys = [(chunk.ref, chunk.stream) for chunk in word.chunks]
            for chunk in word.chunks:
                self.data[chunk.stream] = self.data.get(chunk.stream, b"") + chunk.data
                self.ends[chunk.ref, chunk.stream] = chunk.offset + len(chunk.data)
        return codec.encode(LogsAck(tuple((*key, self.ends.get(key, 0)) for key in keys)))


class Runtime(SimulatedRuntime):
    """Simulated containers with a gate before each call, which a test may close, and calls that a test lets fail."""

    def __init__(self):
        super().__init__()
        self.reached = {name: asyncio.Event() for name in ("ensure_image", "create", "start", "stop", "kill")}
        self.gates = {}  # call -> event to wait for
        self.problems = {}  # call -> problems to raise, one per call
        self.calls = []

    async def _pass(self, call):
        self.calls.append(call)
        self.reached[call].set()
        if call in self.gates:
            await self.gates[call].wait()
        if self.problems.get(call):
            raise self.problems[call].pop(0)

    async def ensure_image(self, image, auth=None):
        await self._pass("ensure_image")
        return await super().ensure_image(image, auth)

    async def create(self, plan):
        container_id = await super().create(plan)
        await self._pass("create")
        return container_id

    async def start(self, container_id):
        await super().start(container_id)
        await self._pass("start")

    async def stop(self, container_id, signal, grace_s):
        await self._pass("stop")
        await super().stop(container_id, signal, grace_s)

    async def kill(self, container_id):
        await self._pass("kill")
        await super().kill(container_id)


class Rig:
    def __init__(self):
        self.runtime, self.storage, self.said = Runtime(), Storage(), []
        self.sender = OutputSender.create(self.storage, "w1", "s1")
        self.started = asyncio.Event()

    def say(self, report):
        self.said.append(report)
        if isinstance(report, Started):
            self.started.set()

    def make(self, environment=None, terms=None, adopted=None):
        terms = terms or Terms(Need(), grace_ms=20)
        made = None if adopted else plan(environment or {})
        return Assignment(REF, terms, self.runtime, self.sender, self.say, plan=made, adopted=adopted)

    async def ended(self, made):
        """Let it live to its end; return what was said last."""
        await made.live()
        assert [type(report) for report in self.said].count(Ended) == 1
        return self.said[-1]

    async def leave(self, environment, *, until_end=False):
        """Run a container as an earlier agent would, and return what `list` shows of it."""
        container_id = await self.runtime.create(plan(environment))
        await self.runtime.start(container_id)
        if until_end:
            await self.runtime.wait(container_id)
        (seen,) = await self.runtime.list()
        return seen


def plan(environment):
    return ContainerPlan(
        ids.encode(REF.job_id), REF.fence, REF.fence, "s1", "alpine", None, None, environment, None, None, True, (), "none",
        1_000, 256 << 20, 64, 0, None, "SIGTERM", 0.02,
    )  # fmt: skip
