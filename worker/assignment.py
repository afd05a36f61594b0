"""One container's life, from the order (or from what an earlier agent left) to its reported end.

Each step may be repeated, so a crash anywhere is made good by running this again from what the runtime shows.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from typing import Any

from swarmsync import ids
from swarmsync.model.job import JobRef
from swarmsync.model.lifecycle import AssignmentState, EndReason
from swarmsync.protocol.messages import Ended, OutputSum, Progress, Report, Started, StopJob, StreamSum
from worker import steps
from worker.collecting import Collector, OutputProblem
from worker.container_runtime import (
    ContainerPlan,
    ContainerRuntime,
    Exit,
    ImageRef,
    Observed,
    RuntimeProblem,
    Seen,
    Usage,
)
from worker.eager import Begun, within
from worker.output import OutputSender, Stream
from worker.steps import End, Step
from worker.stopwatch import Stopwatch
from worker.terms import Terms
from worker.watch import Watch

SLOW_PULL_S = 1.0
FIRST_USAGE_S = 2.0
USAGE_EVERY_S = 10.0
DISK_EVERY_S = 2.0
#: What is cut off still fills the engine's disk until the container is removed: beyond this, truncating is no answer.
FLOOD_BYTES = 1 << 30
KILL_AGAIN_S = 10.0
PULL_MAX_S = 900.0
CREATE_MAX_S = 120.0
_SILENT = StreamSum()


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


class Assignment:
    """Drives one assignment; `say` queues a report."""

    own: asyncio.Task[Any] | None = None
    _started_ms: int | None = None
    _stop: StopJob | None = None
    _cause: EndReason | None = None
    _cause_ms = 0
    _stopping: asyncio.Task[None] | None = None
    _running = False
    _preparing: asyncio.Task[Any] | None = None
    _interrupted = False
    _sampling: asyncio.Task[None] | None = None
    _streams: tuple[Stream, Stream] | None = None
    _image = ""  # the digest that the plan's tag meant here
    _over_limit = False  # what `logs.on_limit: fail` does not forgive

    def __init__(
        self,
        ref: JobRef,
        terms: Terms,
        runtime: ContainerRuntime,
        output: OutputSender,
        say: Callable[[Report], None],
        *,
        plan: ContainerPlan | None = None,
        adopted: Observed | None = None,
        missing: str = "",
        watch: Watch | None = None,
    ) -> None:
        self.ref = ref
        self.terms = terms
        self._runtime = runtime
        self._output = output
        self._say = say
        self._plan = plan
        self._adopted = adopted
        self._missing = missing  # what it needs and Core does not have any more
        self.container_id: str | None = adopted.container_id if adopted else None
        self._seen = adopted.state if adopted else Seen.ABSENT
        self._spent = Stopwatch()
        self._watch_file = watch
        before = watch.cause(*self._name) if watch is not None and adopted is not None else None
        if before is not None:  # an earlier agent was ending it, and did not live to tell
            self._cause, self._cause_ms = before
            if self._seen is Seen.RUNNING:
                self._stop = StopJob(ref, reason=self._cause)

    @property
    def _name(self) -> tuple[str, int]:
        return ids.encode(self.ref.job_id), self.ref.fence

    def _mark(self, cause: EndReason) -> None:
        if self._watch_file is not None:
            self._watch_file.mark(*self._name, cause)

    def stop(self, order: StopJob) -> None:
        """End it: the first cause counts; a kill after a stop only hurries."""
        self._stop = order
        if self._running:
            if self._cause is None:
                self._cause, self._cause_ms = order.reason, wall_ms()
                self._mark(self._cause)
                self._spent.begin("stop_ms")
            if self._stopping is not None:
                self._stopping.cancel()
            self._stopping = asyncio.create_task(self._bring_down(kill=order.kill))
        elif self._preparing is not None and not self._interrupted:
            self._interrupted = True
            self._preparing.cancel()

    def begin(self) -> None:
        """Live in a coroutine of its own, which this object keeps."""
        self.own = asyncio.create_task(self.live())

    async def live(self) -> None:
        """Take it to its end; the last thing said is Ended."""
        if self.own is None:
            self.own = asyncio.current_task()
        may_run = False
        try:
            end, exit_ = await self._steps()
        except RuntimeProblem as problem:
            end, exit_, may_run = steps.problem_end(problem), None, True
        except asyncio.CancelledError:
            raise
        except Exception as problem:  # noqa: BLE001 whatever broke here is the worker's fault, and Core must hear of it
            end, exit_ = (
                End(EndReason.DOCKER_ERROR, f"the worker failed: {type(problem).__name__}: {problem}", None),
                None,
            )
        if may_run:
            self._spent.end()
            self._mark(end.reason)
            await self._surely_down()
        await self._collect(end, exit_)

    async def _surely_down(self) -> None:
        """A call may fail although it worked; what may run is not reported as over, or Core starts it elsewhere."""
        while self.container_id is not None:
            with contextlib.suppress(RuntimeProblem):
                await self._runtime.kill(self.container_id)
                return
            await asyncio.sleep(KILL_AGAIN_S)

    async def _steps(self) -> tuple[End, Exit | None]:
        if self._missing:
            return End(EndReason.INPUT_MISSING, self._missing, None), None
        while True:
            step = steps.next_step(self._seen, stop_wanted=self._stop is not None)
            if step is Step.CREATE:
                await self._prepare(self._create())
            elif step is Step.START:
                await self._prepare(self._start())
            elif step is Step.WATCH or self._seen is Seen.EXITED:
                return await self._watch()
            else:
                reason = self._stop.reason if self._stop is not None else EndReason.CANCELLED_BY_USER
                return steps.never_started(reason), None

    async def _prepare(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a step that a stop may interrupt; our own coroutine is what is cancelled, and it goes on after that."""
        own = self.own
        assert own is not None
        self._preparing = own
        interrupted = False
        try:
            await work
        except asyncio.CancelledError:
            if not self._interrupted:
                raise
            own.uncancel()
            interrupted = True
        finally:
            self._spent.end()
            self._preparing = None
        if interrupted:
            await self._look_again()

    async def _look_again(self) -> None:
        """See what is true after an interrupted step."""
        if self._plan is None:
            return
        for seen in await self._runtime.list():
            if seen.job == self._plan.job and seen.fence == self._plan.fence:
                self.container_id, self._seen = seen.container_id, seen.state

    async def _create(self) -> None:
        assert self._plan is not None
        self._spent.begin("pull_ms")
        try:
            begun = Begun(self._runtime.ensure_image(self._plan.image, self._plan.registry_auth))
            found = await begun.rest() if begun.done else await self._pull(begun)
        except TimeoutError:
            why = f"the image {self._plan.image} was not there after {PULL_MAX_S / 60:g} minutes of pulling"
            raise RuntimeProblem(EndReason.IMAGE_PULL_FAILED, why, retryable=True) from None
        self._image = found.reference if "@" in found.reference else ""
        self._spent.begin("create_ms")
        try:
            self.container_id = await within(CREATE_MAX_S, self._runtime.create(self._plan))
        except TimeoutError:
            why = f"the container was not made within {CREATE_MAX_S:g} s"
            raise RuntimeProblem(EndReason.CREATE_FAILED, why, retryable=True) from None
        self._seen = Seen.CREATED

    async def _pull(self, begun: Begun[ImageRef]) -> ImageRef:
        """Go on with a pull that takes time, and say so when it is slow."""
        slow = asyncio.get_running_loop().call_later(
            SLOW_PULL_S, self._say, Progress(self.ref, AssignmentState.PULLING)
        )
        try:
            async with asyncio.timeout(PULL_MAX_S):
                return await begun.rest()
        finally:
            slow.cancel()

    async def _start(self) -> None:
        assert self.container_id is not None
        self._spent.begin("start_ms")
        await self._runtime.start(self.container_id)
        self._spent.end()
        self._seen = Seen.RUNNING
        self._started_ms = wall_ms()
        self._say(Started(self.ref, self._started_ms, self._image, spent=self._spent.read()))

    async def _watch(self) -> tuple[End, Exit]:
        assert self.container_id is not None
        if self._adopted is not None and self._adopted.started_at is not None and self._started_ms is None:
            self._started_ms = round(self._adopted.started_at * 1000)
            if self._seen is Seen.RUNNING:
                self._say(Started(self.ref, self._started_ms))
        self._running = self._seen is Seen.RUNNING
        timer = self._arm_timeout() if self._running else None
        if self._running and self._stop is not None:
            self.stop(self._stop)  # it came while the container was starting
        sampling: asyncio.TimerHandle | None = None
        copying: asyncio.Task[None] | None = None
        try:
            ending = Begun(self._runtime.wait(self.container_id))
            if not ending.done:  # else it writes nothing more, and there is nothing to do beside reading
                sampling = asyncio.get_running_loop().call_later(FIRST_USAGE_S, self._sample_usage)
                copying = asyncio.create_task(self._copy_output())
            exit_ = await ending.rest()
            self._running = False
            self._spent.begin("collect_ms")
            await (self._copy_output() if copying is None else copying)
        finally:
            self._running = False
            for waiting in (copying, timer, sampling, self._stopping, self._sampling):
                if waiting is not None:
                    waiting.cancel()
        by_itself = exit_.finished_at is not None and round(exit_.finished_at * 1000) < self._cause_ms
        cause = None if by_itself else self._cause  # we may be late to notice: this process can be stopped, too
        if cause is None and self._over_limit:
            cause = EndReason.LOG_LIMIT  # also where it had ended before its output was read
        end = steps.end_of(exit_, cause, memory_bytes=self.terms.need.memory_bytes, timeout_ms=self.terms.timeout_ms)
        return end, exit_

    def _sample_usage(self) -> None:
        """Ask from time to time: an engine may forget what a container used once it has ended."""

        async def sample() -> None:
            while self._running and self.container_id is not None:
                with contextlib.suppress(RuntimeProblem):
                    await self._runtime.usage(self.container_id)
                await asyncio.sleep(await self._watch_disk(self.container_id))

        if self._running:
            self._sampling = asyncio.create_task(sample())

    async def _watch_disk(self, container_id: str) -> float:
        """End a container that wrote more than its disk, where the storage does not; return when to look again."""
        limit = self.terms.need.disk_bytes
        if not limit:
            return USAGE_EVERY_S
        with contextlib.suppress(RuntimeProblem):
            written = await self._runtime.written(container_id)
            if written is not None and written > limit and self._cause is None:
                self.stop(StopJob(self.ref, kill=True, reason=EndReason.OUTPUT_TOO_LARGE))
        return DISK_EVERY_S

    def _arm_timeout(self) -> "asyncio.TimerHandle | None":
        if self.terms.timeout_ms is None or self._started_ms is None:
            return None
        left_s = (self._started_ms + self.terms.timeout_ms - wall_ms()) / 1000
        order = StopJob(self.ref, reason=EndReason.TIMEOUT)
        return asyncio.get_running_loop().call_later(max(0.0, left_s), self._on_timeout, order)

    def _on_timeout(self, order: StopJob) -> None:
        if self._cause is None:
            self.stop(order)

    async def _bring_down(self, *, kill: bool) -> None:
        """Stop the container, and again, until `wait` sees it end."""
        assert self.container_id is not None
        while self._running:
            with contextlib.suppress(RuntimeProblem):
                if kill:
                    await self._runtime.kill(self.container_id)
                else:
                    await self._runtime.stop(self.container_id, self.terms.stop_signal, self.terms.grace_ms / 1000)
            kill = True
            await asyncio.sleep(KILL_AGAIN_S)

    async def _copy_output(self) -> None:
        """Read both streams from their first byte: the hash is over all of it, also after an adoption."""
        assert self.container_id is not None
        self._streams = await self._output.open(self.ref, adopted=self._adopted is not None)
        by_name = {"stdout": self._streams[0], "stderr": self._streams[1]}
        async for piece in self._runtime.logs(self.container_id, skip={}):
            allowance = self.terms.log_max - sum(stream.kept for stream in self._streams)
            await self._output.send(by_name[piece.stream], piece.data, round(piece.at * 1000), allowance)
            over = self.terms.log_fail and allowance < len(piece.data)
            self._over_limit |= over
            flood = sum(stream.size for stream in self._streams) > max(FLOOD_BYTES, 4 * self.terms.log_max)
            if (over or flood) and self._running and self._cause is None:
                self.stop(StopJob(self.ref, kill=True, reason=EndReason.LOG_LIMIT))

    async def _collect_outputs(self, end: End, exit_: Exit | None) -> tuple[End, tuple[OutputSum, ...]]:
        """Bring in the files that the spec wants, also of an attempt that failed; what fails here fails a good one."""
        if (
            not self.terms.outputs
            or exit_ is None
            or exit_.removed
            or exit_.started_at is None
            or self.container_id is None
        ):
            return end, ()
        self._say(Progress(self.ref, AssignmentState.COLLECTING))
        try:
            return end, await Collector(self.ref, self._runtime, self._output).collect(
                self.container_id, self.terms.wanted_outputs()
            )
        except (OutputProblem, RuntimeProblem) as problem:
            reason, message = problem.reason, problem.message
        except Exception as problem:  # noqa: BLE001 as in `live`: a full disk, say
            reason, message = EndReason.DOCKER_ERROR, f"the worker failed: {type(problem).__name__}: {problem}"
        if end.reason is EndReason.COMPLETED:
            return End(reason, message, end.exit_code), ()
        return End(end.reason, f"{end.message}; its outputs are not kept: {message}", end.exit_code), ()

    async def _collect(self, end: End, exit_: Exit | None) -> None:
        """Wait until the output is stored, then report."""
        if self._streams is not None:
            await self._output.flush(self._streams)
            self._output.close(self.ref)
        end, outputs = await self._collect_outputs(end, exit_)
        usage: Usage | None = None
        if self.container_id is not None:
            try:
                usage = await self._runtime.usage(self.container_id)
            except RuntimeProblem:
                usage = None
        stdout, stderr = (self._streams[0].sum, self._streams[1].sum) if self._streams else (_SILENT, _SILENT)
        started_ms, ended_ms = self._started_ms, wall_ms()
        if exit_ is not None:
            started_ms = started_ms if exit_.started_at is None else round(exit_.started_at * 1000)
            ended_ms = ended_ms if exit_.finished_at is None else round(exit_.finished_at * 1000)
        cpu_ms = None if usage is None or usage.cpu_s is None else round(usage.cpu_s * 1000)
        peak = None if usage is None else usage.memory_peak_bytes
        self._spent.end()
        known = (end.reason, end.message, ended_ms, end.exit_code, started_ms, stdout, stderr, cpu_ms, peak)
        self._say(Ended(self.ref, *known, self._spent.read(), outputs))
