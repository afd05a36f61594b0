"""Calls that fail as a test wants: refused, never answered and not done, or done with the answer lost."""

import asyncio

from swarmsync.model.lifecycle import EndReason
from worker.container_runtime import RuntimeProblem, Seen
from worker.simulated_runtime import SimulatedRuntime

DONE, REFUSED, LOST, SILENT = "done", "refused", "lost", "silent"
FAILURES = (REFUSED, LOST, SILENT)


def away():
    return RuntimeProblem(EndReason.DOCKER_ERROR, "the engine does not answer", retryable=True)


class Failing:
    """`fates` are used up in order, per name of a call; `changed` is set whenever a call has ended."""

    def __init__(self):
        self.fates, self.calls = {}, {}
        self.changed = asyncio.Event()

    def fate(self, name):
        self.calls[name] = self.calls.get(name, 0) + 1
        planned = self.fates.get(name)
        return planned.pop(0) if planned else DONE

    async def happen(self, name, work, problem, *, hangs=False):
        """Await `work()`, or fail with `problem`; with `hangs` a lost call is one that its caller must give up."""
        fate = self.fate(name)
        try:
            if fate == REFUSED:
                raise problem
            result = await work() if fate in (DONE, SILENT) else None
            if fate in (LOST, SILENT) and hangs:
                await asyncio.Event().wait()
            if fate in (LOST, SILENT):
                await asyncio.sleep(0)
                raise problem
            return result
        finally:
            self.changed.set()


class FailingRuntime(Failing):
    """The simulated runtime behind an injector; of a job at most one container runs at a moment."""

    name = "failing"

    def __init__(self):
        super().__init__()
        self.real = SimulatedRuntime()

    async def _call(self, name, *values, hangs=False):
        return await self.happen(name, lambda: getattr(self.real, name)(*values), away(), hangs=hangs)

    async def close(self):
        pass

    async def ensure_image(self, image, auth=None):
        return await self._call("ensure_image", image, auth, hangs=True)

    async def create(self, plan):
        return await self._call("create", plan, hangs=True)

    async def start(self, container_id):
        try:
            await self._call("start", container_id)
        finally:
            running = [seen.job for seen in await self.real.list() if seen.state is Seen.RUNNING]
            assert len(running) == len(set(running)), f"two containers of one job run: {running}"

    async def wait(self, container_id):
        return await self._call("wait", container_id)

    async def logs(self, container_id, *, skip):
        async for piece in self._stream("logs", self.real.logs(container_id, skip=skip)):
            yield piece

    async def archive(self, container_id, path):
        async for piece in self._stream("archive", self.real.archive(container_id, path)):
            yield piece

    async def _stream(self, name, pieces):
        """A stream is refused, breaks after its first piece, or breaks at its end."""
        fate = self.fate(name)
        if fate == REFUSED:
            raise away()
        async for piece in pieces:
            yield piece
            if fate == LOST:
                raise away()
        if fate in (LOST, SILENT):
            raise away()

    async def stop(self, container_id, signal, grace_s):
        await self._call("stop", container_id, signal, grace_s)

    async def kill(self, container_id):
        await self._call("kill", container_id)

    async def remove(self, container_id):
        await self._call("remove", container_id)

    async def usage(self, container_id):
        return await self._call("usage", container_id)

    async def written(self, container_id):
        return await self._call("written", container_id)

    async def images(self):
        return await self._call("images")

    async def trim_images(self, budget):
        return await self._call("trim_images", budget)

    async def list(self):
        return await self._call("list")
