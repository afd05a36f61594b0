"""The worker's shell: joins Core, keeps the pulse, takes orders, and drives an `Assignment` per container.

After a crash it lists its containers and goes on from what is true; nothing is kept on disk.
"""

import asyncio
import contextlib
import secrets
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import structlog
from nats.aio.msg import Msg

from swarmsync import ids
from swarmsync.bus import Bus
from swarmsync.errors import ConfigError, Unavailable
from swarmsync.model.job import JobRef
from swarmsync.model.lifecycle import AssignmentState
from swarmsync.model.spec import JobSpec
from swarmsync.model.worker import WorkerOffer
from swarmsync.protocol import codec, subjects
from swarmsync.protocol.messages import (
    Ended,
    Join,
    Pulse,
    PulseAnswer,
    Refusal,
    Report,
    Reports,
    ReportsAck,
    RunJob,
    StopJob,
    Welcome,
)
from worker.alarm import Alarm
from worker.assignment import Assignment
from worker.container_runtime import ContainerPlan, ContainerRuntime, RuntimeProblem, Seen
from worker.ending import cancelled, ended_by
from worker.lease_file import boot_id, boot_ms
from worker.leases import key_of
from worker.orphans import remove_orphans
from worker.output import OutputSender
from worker.patience import MAX_S, Patience
from worker.plans import model_of, plan_of, ref_of
from worker.probe import PROBE_JOB, probe
from worker.reactor import Reactor, TermsKey, terms_key
from worker.receipts import Receipts
from worker.steps import as_told
from worker.terms import Terms, read_terms, terms_of
from worker.watch import Watch

RETRY_S: Final = 0.2
DRAIN_S: Final = 7.0
SPECS_KEPT: Final = 256
REMOVERS_MAX: Final = 16
#: Turns of the loop before a message of reports: what ends at once is told as ended, and not as started before.
TURNS_TO_END: Final = 4
IMAGES_EVERY_S: Final = 15.0

log = structlog.get_logger()


monotonic_ms = boot_ms  # leases go on while the machine sleeps


class Agent:
    """One worker. `run` returns after `stop`, or raises ConfigError when Core will not have it."""

    def __init__(
        self,
        bus: Bus,
        runtime: ContainerRuntime,
        offer: WorkerOffer,
        token: str,
        watch: Watch | None = None,
        images_max: int | None = None,
    ) -> None:
        self.name = offer.name
        self.session = secrets.token_hex(8)
        self._boot, self._began_ms = boot_id(), monotonic_ms()
        self._bus = bus
        self._runtime = runtime
        self._offer = offer
        self._token = token
        self._images_max = images_max
        self._images: tuple[str, ...] = ()
        self._images_told: tuple[str, ...] | None = None
        self._probes = 0
        self._probing: asyncio.Task[str] | None = None
        self._watch = watch  # None where containers end with this process
        before = watch.heard_before() if watch is not None else None
        self._reactor = Reactor(offer.capacity, now_ms=monotonic_ms() if before is None else before)
        self._receipts = Receipts(bus, subjects.up(self.name, "receipt"))
        self._output = OutputSender.create(bus, self.name, self.session)
        self._assignments: dict[JobRef, Assignment] = {}
        self._removable: deque[str] = deque()
        self._removers = 0
        self._specs: dict[int, tuple[bytes, JobSpec]] = {}
        self._jobs: set[asyncio.Task[Any]] = set()
        self._alarm = Alarm(lambda: self._reactor.next_due_ms(monotonic_ms()))
        self._patience = {"join": Patience(MAX_S), "pulse": Patience(MAX_S), "reports": Patience()}
        self._stopping = asyncio.Event()
        self._leaving = False
        self._pulse_s = 1.0
        self._pulse_seq = 0

    def stop(self) -> None:
        self._stopping.set()

    def leave(self) -> None:
        """Stop and leave the containers to the next agent of this name; the watchdog ends them with their leases."""
        self._leaving = True
        self._stopping.set()

    @property
    def must_begin_anew(self) -> bool:
        return self._output.lost.is_set()

    async def _begin_anew(self) -> None:
        await self._output.lost.wait()
        log.warning("Core has less output than it had stored: a restored backup; reading it again", worker=self.name)
        self.leave()

    async def close(self) -> None:
        await self._runtime.close()

    async def run(self) -> None:
        works = [self._pulses, self._reports, self._output.run, self._begin_anew, self._look_after_images]
        works += [self._remove_orphans, self._receipts.run]
        if self._watch is not None:
            works.append(self._watch.keep)
        loops: list[asyncio.Task[None]] = []
        stopped = asyncio.create_task(self._stopping.wait())

        async def live() -> set[asyncio.Task[Any]]:
            await self._adopt()
            await self._join()
            await self._bus.subscribe(subjects.orders(self.name), self._on_orders)
            loops.extend(asyncio.create_task(loop()) for loop in works)
            done, _ = await asyncio.wait({*loops, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if stopped in done and not self._leaving:
                await self._drain()
            return done

        async def end() -> None:
            lives = [entry.own for entry in self._assignments.values() if entry.own is not None]
            await cancelled([*loops, stopped, *self._jobs, *lives])

        done = await ended_by(live(), end)
        self._note(closed=not self._reactor.held)
        for ended in done - {stopped}:
            ended.result()  # a loop never ends by itself: raise what broke it

    # ------------------------------------------------ joining

    async def _adopt(self) -> None:
        """Go on with the containers that an earlier agent of this name left."""
        found = await self._runtime.list()
        if self._watch is not None:
            self._watch.file.forget_all_but({key_of(seen.job, seen.fence) for seen in found})
        for seen in sorted(found, key=lambda seen: seen.fence, reverse=True):
            ref = ref_of(seen.job, seen.fence)
            if ref is None:
                if seen.job == PROBE_JOB:
                    with contextlib.suppress(RuntimeProblem):
                        await self._runtime.remove(seen.container_id)
                continue
            state = AssignmentState.RUNNING if seen.state is Seen.RUNNING else AssignmentState.COLLECTING
            if seen.state is Seen.CREATED or ref.job_id in self._reactor.held:
                with contextlib.suppress(RuntimeProblem):  # it never ran, or a newer attempt shows that it is over
                    await self._runtime.remove(seen.container_id)
                continue
            terms = read_terms(seen.note)
            self._reactor.hold(ref, terms, state)
            self._begin(ref, terms, adopted=seen)
        self._note()

    def _note(self, *, closed: bool = False) -> None:
        """Tell the watchdog until when our containers may live without us."""
        if self._watch is not None:
            kill_at = {key_of(ids.encode(ref.job_id), ref.fence): at for ref, at in self._reactor.kill_ats().items()}
            self._watch.note(self._reactor.heard_ms, self._reactor.lease_ms, kill_at, closed=closed)

    async def _join(self) -> None:
        """Ask until Core answers. Raises ConfigError when it refuses."""
        refused = ""
        while True:
            self._stop_all(self._reactor.lease_ends(monotonic_ms()))  # no pulse does it while we wait here
            sent_ms = monotonic_ms()
            holds, began = self._reactor.joining(), (self._boot, self._began_ms)
            word = Join(self.session, self._offer, holds, self._token, *began, self._images)
            try:
                answer = await self._ask("join", word)
            except Unavailable:
                answer = None
            if answer is None:
                await asyncio.sleep(RETRY_S)
                continue
            if isinstance(answer, Welcome):
                break
            if isinstance(answer, Refusal):
                if "token" in answer.message:
                    raise ConfigError(answer.message)
                if answer.message != refused:
                    log.warning("Core does not let this worker join yet", worker=self.name, why=answer.message)
                refused = answer.message
            await asyncio.sleep(1)
        self._pulse_s = answer.pulse_ms / 1000
        self._reactor.welcome((answer.orders_epoch, answer.orders_seq), answer.lease_ms, sent_ms)
        self._note()
        self._want_stopped(answer.stop)
        log.info("joined", worker=self.name, holds=len(self._reactor.held))

    # ------------------------------------------------ the pulse

    async def _pulses(self) -> None:
        while True:
            began = time.monotonic()
            await self._pulse()
            self._stop_all(self._reactor.lease_ends(monotonic_ms()))
            await asyncio.sleep(max(0.0, self._pulse_s - (time.monotonic() - began)))

    async def _pulse(self) -> None:
        sent_ms = monotonic_ms()
        self._pulse_seq += 1
        holds, everything = self._reactor.holds_if_changed(), self._reactor.holds()
        epoch, seq = self._reactor.high
        probed = self._probing.result() if self._probing is not None and self._probing.done() else None
        images = None if self._images == self._images_told else self._images
        word = Pulse(self.session, self._pulse_seq, epoch, seq, holds, self._reactor.draining, probed, images)
        try:
            answer = await self._ask("pulse", word)
        except Unavailable:
            self._reactor.told(None)
            return
        if isinstance(answer, Refusal):
            await self._join()
            await self._output.compare(self._reactor.ended())
        elif isinstance(answer, PulseAnswer):
            self._reactor.heard(sent_ms)
            self._note()
            self._reactor.told(None if answer.send_holds else everything)
            self._images_told = self._images if images is None else images
            if probed is not None:
                self._probing = None
            elif answer.probe and self._probing is None:
                self._probes += 1
                self._probing = asyncio.create_task(probe(self._runtime, answer.probe, self._probes, self.session))
            self._want_stopped(answer.stop)

    async def _look_after_images(self) -> None:
        """Notice which images are here, for placement; give up those beyond the budget."""
        while True:
            with contextlib.suppress(RuntimeProblem):  # another time
                if self._images_max is not None:
                    for image_id in await self._runtime.trim_images(self._images_max):
                        log.info("removed an image: those pulled here took too much disk", image=image_id)
                self._images = await self._runtime.images()
            await asyncio.sleep(IMAGES_EVERY_S)

    async def _remove_orphans(self) -> None:
        await remove_orphans(self._runtime, lambda: {held.ref for held in self._reactor.held.values()})

    # ------------------------------------------------ orders

    async def _on_orders(self, message: Msg) -> None:
        try:
            orders = codec.decode_orders(message.data)
            specs = {number: self._spec_of(number, document) for number, document in orders.specs.items()}
        except codec.DecodeError as problem:
            log.warning("an order message cannot be read", worker=self.name, problem=str(problem))
            return
        terms: dict[TermsKey, Terms] = {}
        for order in orders.orders:
            if isinstance(order, RunJob) and order.spec_id in specs and terms_key(order) not in terms:
                terms[terms_key(order)] = terms_of(specs[order.spec_id], order)
        receipt, begin, stop = self._reactor.take(orders, terms, monotonic_ms())
        if begin:
            self._note()  # before a container exists
        models: dict[TermsKey, ContainerPlan] = {}
        for run in begin:
            key = terms_key(run)
            model = models.get(key)
            if model is None:  # most orders of a message are alike
                model = models[key] = model_of(specs[run.spec_id], terms[key], worker=self.name, session=self.session)
            self._begin(run.ref, terms[key], plan=plan_of(model, run, orders.logins), missing=run.missing)
        await self._receipts.give(receipt)
        self._stop_all(stop)

    def _spec_of(self, number: int, document: bytes) -> JobSpec:
        """Decode a spec, or take it from those that came before: a flood of jobs has few specs."""
        known = self._specs.get(number)
        if known is not None and known[0] == document:
            return known[1]
        while len(self._specs) >= SPECS_KEPT:
            del self._specs[next(iter(self._specs))]
        spec = codec.decode_stored_spec(document)
        self._specs[number] = (document, spec)
        return spec

    def _begin(self, ref: JobRef, terms: Terms, **how: Any) -> None:
        assignment = Assignment(ref, terms, self._runtime, self._output, self._say, watch=self._watch, **how)
        self._assignments[ref] = assignment
        assignment.begin()

    def _run(self, work: Any) -> None:
        job = asyncio.get_running_loop().create_task(work)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    def _want_stopped(self, orders: Sequence[StopJob]) -> None:
        """Core wants these to end; it may say so more than once."""
        for order in orders:
            self._stop_all(self._reactor.stop(order))

    def _stop_all(self, decided: Sequence[StopJob]) -> None:
        for order in decided:
            assignment = self._assignments.get(order.ref)
            if assignment is not None:
                assignment.stop(order)

    # ------------------------------------------------ reports

    def _say(self, report: Report) -> None:
        if isinstance(report, Ended):
            ref, watch = report.ref, self._watch
            put_down = watch is not None and watch.was_put_down(ids.encode(ref.job_id), ref.fence)
            report = as_told(report, put_down=put_down)
        due_ms = self._reactor.report(report, monotonic_ms())
        if due_ms:
            self._alarm.ring_in(due_ms)
        else:
            self._alarm.ring()

    async def _reports(self) -> None:
        while True:
            first_seq, reports = self._reactor.unacknowledged(monotonic_ms())
            if not reports:
                await self._alarm.wait()
                for _ in range(TURNS_TO_END):
                    await asyncio.sleep(0)
                continue
            try:
                answer = await self._ask("reports", Reports(self.session, first_seq, reports))
            except Unavailable:
                answer = None
            if answer is None:
                await asyncio.sleep(RETRY_S)
            elif isinstance(answer, ReportsAck):
                for ref in self._reactor.acknowledged(answer.through_seq, monotonic_ms()):
                    assignment = self._assignments.pop(ref, None)
                    if self._watch is not None:
                        self._watch.forget(ids.encode(ref.job_id), ref.fence)
                    if assignment is not None and assignment.container_id is not None:
                        self._removable.append(assignment.container_id)
                for _ in range(min(len(self._removable), REMOVERS_MAX - self._removers)):
                    self._removers += 1
                    self._run(self._remove())

    async def _remove(self) -> None:
        """Remove containers until none is left to remove; a few at a time, since Docker does a few at a time."""
        try:
            while self._removable:
                try:  # suppressing would make two objects and a frame for each
                    await self._runtime.remove(self._removable.popleft())
                except RuntimeProblem:
                    continue  # the next start of an agent finds and reports it again
        finally:
            self._removers -= 1

    async def _ask(self, kind: str, word: Any) -> Any:
        payload = await self._patience[kind].ask(self._bus, subjects.up(self.name, kind), codec.encode(word))
        try:
            return codec.decode_to_worker(payload)
        except codec.DecodeError as problem:
            raise Unavailable(f"Core's answer cannot be read: {problem}") from problem

    # ------------------------------------------------ the end

    async def _drain(self) -> None:
        """Stop everything, tell Core, wait until it knows; not longer than `DRAIN_S`."""
        deadline = time.monotonic() + DRAIN_S
        stops = self._reactor.drain()
        self._run(self._pulse())  # Core must hear at once that nothing more is taken here
        self._stop_all(stops)
        await self._until_idle(deadline - 2)
        for held in list(self._reactor.held.values()):
            self._want_stopped([StopJob(held.ref, kill=True)])
        await self._until_idle(deadline)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._pulse(), 1)

    async def _until_idle(self, deadline: float) -> None:
        while (self._reactor.held or self._jobs) and time.monotonic() < deadline:  # noqa: ASYNC110 two sources, at the end
            await asyncio.sleep(0.02)
