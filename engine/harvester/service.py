"""The Harvester's shell: what workers, the API and the Dispatcher say becomes rows, replies and news for the Scheduler.

A turn takes everything that has arrived, in an order that matters: first the Dispatcher's ring (an order is announced
there before it is sent, so a worker can never tell of an assignment that is unknown here), then pulses, joins, reports,
and last the feed of committed changes. Replies go out after the commit.
"""

import contextlib
import hmac
from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec
from nats.aio.msg import Msg

from engine.harvester import settlements
from engine.harvester.ends import Ends
from engine.harvester.enrolment import Enrolment
from engine.harvester.fresh import Fresh, in_words
from engine.harvester.hints import Hints
from engine.harvester.questions import Questions
from engine.harvester.registry import Effect, Gone, Known, Limits, LivenessChanged, Registry, live_of
from engine.harvester.standing import Standing
from engine.pulse_system.pulses import Beat
from engine.service import Service
from engine.service_channels import Role
from swarmsync.bus import Bus
from swarmsync.errors import Unavailable
from swarmsync.ids import IdSource
from swarmsync.model.job import Settlement
from swarmsync.model.lifecycle import FINAL, EndReason, JobState, Liveness
from swarmsync.nats_config import NatsConfig
from swarmsync.protocol import codec, subjects
from swarmsync.protocol.messages import (
    By,
    Changed,
    Join,
    LimitsChanged,
    Offered,
    PlacementVoid,
    Pulse,
    Refusal,
    Refused,
    Reports,
    ReportsAck,
    Resync,
    StopWanted,
    ToScheduler,
    Welcome,
    WorkerChanged,
    WorkerJoined,
    WorkerLost,
)
from swarmsync.store import dependencies, jobs, limits, whole
from swarmsync.store import workers as worker_store
from swarmsync.store.limits import AllLimits
from swarmsync.store.pool import Store
from swarmsync.store.queries import sql

FEED_MAX = 5_000
FEED_EVERY_MS = 500
REPORTS_PER_TURN = 4_000
MESSAGES_WAITING_MAX = 100_000
_decode_changed = codec.decoder_of(Changed)
REFUSED_MS = 1_000  # a job that a worker refused waits so long


class HarvesterService(Service):
    role: ClassVar[Role] = Role.HARVESTER

    def __init__(
        self,
        store: Store,
        nats_url: str,
        *,
        limits: Limits,
        pulse_ms: int,
        crash_limit: int,
        quarantine_jobs: int = 5,
        join_token: str,
        nats_config: NatsConfig | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._store = store
        self._nats_url = nats_url
        self._limits, self._pulse_ms, self._join_token = limits, pulse_ms, join_token
        self._inbox = self.wiring.writer("inbox")
        self._arrived: list[tuple[Msg, Any]] = []
        self._questions = Questions(self._inbox, self.poke)
        self._look_at_feed = True
        self._feed_at_ms = 0
        self._check_workers = False
        self._check_limits = True
        self._limits_told: AllLimits | None = None
        self._must_resync = False
        self._unsaved: set[int] = set()  # workers whose liveness is not yet in their rows
        self._enrolment = Enrolment(store, nats_config, self.journal)
        self._registry = Registry(limits)
        self._standing = Standing(store, self._registry, quarantine_jobs, self._say, self.journal)
        self._ends = Ends(
            store, self._registry, crash_limit, self._say, self.journal, self._standing.ended, self.clock.monotonic_ms
        )
        self._hints, self._fresh = Hints(), Fresh()
        self._void: list[int] = []  # jobs of void placements, which may have been queued again meanwhile

    # ------------------------------------------------ start

    async def on_start(self) -> None:
        number = await self._store.fetchval("SELECT nextval('generator_numbers')")
        self._ids = IdSource(number, self.clock.wall_ms)
        self._cursor = await jobs.feed_start(self._store)
        now_ms = self.clock.monotonic_ms()
        if (passed_ms := await whole.quiet_for_ms(self._store)) is not None:
            self._ends.restored(now_ms - passed_ms, self._limits.lease_slack_ms)
        known = [Known(view, session, now_ms) for view, session in await worker_store.load(self._store)]
        placed = await self._store.fetch(sql("load_placed"))
        self._registry.load(known, [live_of(row, self._limits) for row in placed])
        self._say([Resync()])
        self._bus = await Bus.connect(self._nats_url, "harvester", echo=False)
        for subject in (subjects.ALL_JOINS, subjects.ALL_PULSES, subjects.ALL_REPORTS):
            await self._bus.subscribe(subject, self._on_worker)
        await self._enrolment.refresh()
        await self._enrolment.listen(self._bus)
        for subject in (subjects.CHANGED, subjects.SUBMITTED):
            await self._bus.subscribe(subject, self._on_changed)
        await self._questions.listen(self._bus)
        await self._bus.subscribe(subjects.WORKERS_CHANGED, self._on_workers_changed)
        await self._bus.subscribe(subjects.LIMITS_CHANGED, self._on_limits_changed)

    # ------------------------------------------------ what arrives

    async def _on_worker(self, message: Msg) -> None:
        if len(self._arrived) >= MESSAGES_WAITING_MAX:
            return  # the worker asks again; its lease outlives this
        try:
            self._arrived.append((message, codec.decode_from_worker(message.data)))
        except codec.DecodeError as problem:
            name = subjects.worker_of(message.subject)
            self.journal("warning", f"{name} sent what is no message: {problem}")
            if message.subject == subjects.up(name, "join") and message.reply:
                await self._reply(message, Refusal(f"the join cannot be read: {problem}"))
        self.poke()

    async def _on_changed(self, message: Msg) -> None:
        try:
            word = _decode_changed(message.data)
        except codec.DecodeError:
            return  # the feed is read soon all the same
        if word.by in (By.API, By.SUBMISSION):
            self._look_at_feed |= not self._fresh.hear(word)
            self.poke()

    async def _on_workers_changed(self, _message: Msg) -> None:
        self._check_workers = True
        self.poke()

    async def _on_limits_changed(self, _message: Msg) -> None:
        self._check_limits = True
        self.poke()

    # ------------------------------------------------ the turn

    async def duty(self) -> int:
        self._say(self._fresh.take(self._cursor))
        settling: list[Settlement] = []
        bounced = self.readers["bounces"].take(64)
        for word in bounced:
            match word:
                case Offered():
                    self._registry.offered(word)
                    self._hints.begun.append(word.ref.job_id)
                case Refused():
                    self._tell_room(word.worker_id)
                    gone = [effect for effect in self._registry.refused(word) if isinstance(effect, Gone)]
                    settling += [settlements.of_gone(effect, delay_ms=REFUSED_MS) for effect in gone]
                case PlacementVoid():
                    self._say([word])
                    self._void.append(word.job_id)
        await self._questions.pass_on(self.clock.monotonic_ms())
        arrived, self._arrived = self._arrived[:REPORTS_PER_TURN], self._arrived[REPORTS_PER_TURN:]
        effects: list[Gone] = []
        try:
            await self._ends.clear_doubts()
            if self._void:
                rows = await self._store.fetch(sql("refresh"), self._void)
                self._must_resync |= any(row["state"] == JobState.QUEUED for row in rows)
                self._void.clear()
            for message, word in arrived:
                if isinstance(word, Pulse):
                    effects += self._keep(await self._pulse(message, word))
                elif isinstance(word, Join):
                    effects += self._keep(await self._join(message, word))
            medium = self.due(Beat.MEDIUM)  # true once per beat, so it is asked once a turn
            if medium:
                effects += self._keep(self._registry.tick(self.clock.monotonic_ms()))
            await self._liveness()
            lost = {effect.ref: effect for effect in effects}
            await self._ends.settle_gone([*settling, *(settlements.of_gone(effect) for effect in lost.values())])
            if reports := [(m, w) for m, w in arrived if isinstance(w, Reports)]:
                await self._reports(reports)
            await self._hint()  # who waits for an end need not wait for what follows from it
            fed = await self._feed()
            await self._sweep(medium=medium)
        finally:
            await self._hint()
        return len(bounced) + len(arrived) + fed

    def restless(self) -> bool:
        waits = self._look_at_feed or self._must_resync or bool(self._hints.begun) or self._ends.follows
        return waits or self.clock.monotonic_ms() >= self._feed_at_ms

    async def on_stop(self) -> None:
        await self._bus.close()
        await self._store.close()

    # ------------------------------------------------ workers

    async def _pulse(self, message: Msg, word: Pulse) -> list[Any]:
        name = subjects.worker_of(message.subject)
        answer, effects = self._registry.pulse(name, word, self.clock.monotonic_ms())
        await self._reply(message, answer)
        return effects

    async def _join(self, message: Msg, word: Join) -> list[Any]:
        name = subjects.worker_of(message.subject)
        now_ms = self.clock.monotonic_ms()
        known = self._enrolment.knows(name) or hmac.compare_digest(word.token.encode(), self._join_token.encode())
        refusal = None if known else "the join token is wrong"
        refusal = refusal or self._registry.refuses(name, word.offer, now_ms, boot=word.boot, began_ms=word.began_ms)
        if refusal is not None:
            self.journal("warning", f"worker {name} may not join: {refusal}")
            await self._reply(message, Refusal(refusal))
            return []
        view = await worker_store.join(self._store, self._ids.next(), word.offer, word.session)
        view.images = word.images
        self._standing.joined(view.worker_id)
        high, stops, effects = self._registry.joined(view, word.session, word.holds, self.clock.monotonic_ms())
        self._say([WorkerJoined(view, self._registry.taken(view.worker_id))])
        welcome = Welcome(view.worker_id, self._pulse_ms, self._limits.lease_ms, high[0], high[1], tuple(stops))
        await self._reply(message, welcome)
        self.journal("info", f"worker {name} joined", runtime=word.offer.runtime, holds=len(word.holds))
        return effects

    def _keep(self, effects: Sequence[Effect]) -> list[Gone]:
        """Note whose liveness changed, until it is saved and told, whatever fails meanwhile; return the rest."""
        self._standing.note(effects)
        self._unsaved.update(effect.worker_id for effect in effects if isinstance(effect, LivenessChanged))
        return [effect for effect in effects if isinstance(effect, Gone)]

    async def _liveness(self) -> None:
        """Save, then tell: a Scheduler that reads the rows meanwhile finds the new word there or on its ring."""
        if not self._unsaved:
            return
        changed = [self._registry.workers[self._registry.names[worker_id]].view for worker_id in sorted(self._unsaved)]
        # The last pulse of one that falls silent comes first: from it people are told by when its containers are gone.
        await worker_store.save_pulses(self._store, self._registry.ages(self.clock.monotonic_ms(), self._unsaved))
        await worker_store.save_liveness(self._store, {view.worker_id: view.liveness for view in changed})
        self._unsaved.clear()
        for view in changed:
            if view.liveness is Liveness.LOST:
                self._say([WorkerLost(view.worker_id)])
            else:
                self._say([WorkerChanged(view.worker_id, view.liveness, view.eligibility)])
            level = "info" if view.liveness in (Liveness.READY, Liveness.OFFLINE) else "warning"
            self.journal(level, f"worker {view.name} is {view.liveness}")

    # ------------------------------------------------ ends

    async def _reports(self, messages: Sequence[tuple[Msg, Reports]]) -> None:
        starts, steps, ends = settlements.last_words(
            [self._standing.own(subjects.worker_of(message.subject), word) for message, word in messages]
        )
        now_ms = self.clock.wall_ms()
        self._standing.began(starts)
        if starts:
            fresh = [(start.ref, max(0, now_ms - start.at_ms)) for start in starts]
            spent = {start.ref: settlements.spent_of(start.spent) for start in starts}
            images = {start.ref: start.image for start in starts if start.image}
            self._hints.begun += await jobs.started(self._store, fresh, spent, images)
        if steps:
            await jobs.progress(self._store, steps)
        await self._ends.settle(await self._ends.judge(ends))
        for message, word in messages:
            if not self._registry.has_open_end(subjects.worker_of(message.subject), word):
                await self._reply(message, ReportsAck(word.first_seq + len(word.reports) - 1))

    # ------------------------------------------------ the feed of committed changes

    async def _feed(self) -> int:
        now_ms = self.clock.monotonic_ms()
        follows = self._ends.hurries or (self._ends.follows and self.due(Beat.FAST))
        if not (self._look_at_feed or self._ends.requeued or follows) and now_ms < self._feed_at_ms:
            return 0  # hints may be lost: it looks each half second to second all the same, and more often without NATS
        self._look_at_feed = self._ends.requeued = False
        cursor, entries = await jobs.feed(self._store, self._cursor, FEED_MAX, self._fresh.told)
        waiting = [entry.waiting for entry in entries if entry.waiting is not None]
        stopped = [entry for entry in entries if entry.waiting is None and entry.state is not JobState.QUEUED]
        for entry in stopped:
            if entry.state is JobState.STOPPING and entry.stop_reason is not None:
                self._registry.stop_wanted(entry.job_id, kill=entry.stop_kill, reason=EndReason(entry.stop_reason))
            else:
                self._registry.stop_over(entry.job_id)
            if entry.array_id is not None:
                self._ends.arrays.add(entry.array_id)
            if entry.state in FINAL:
                self._ends.over.add(entry.job_id)
        if blocked := [entry.job_id for entry in stopped if entry.state is JobState.BLOCKED]:
            self._ends.over.update(await dependencies.overlooked(self._store, blocked))
        self._cursor = cursor  # only now: where a call fails, all of these are read again
        self._fresh.read(cursor)
        self._feed_at_ms = now_ms + (FEED_EVERY_MS if self._bus.connected else 0)
        self._say(in_words(waiting))
        if stopped:
            self._say([StopWanted(tuple([entry.job_id for entry in stopped]))])
        more = await self._ends.follow() or len(entries) >= FEED_MAX
        self._look_at_feed |= more  # not at once: a hint that comes while it is awaited counts
        return len(entries)

    async def _sweep(self, *, medium: bool) -> None:
        if self._must_resync or self._ends.must_resync:
            self._must_resync = self._ends.must_resync = False
            self._say([Resync()])
        drained, stopped = await self._standing.finish_drains(look_at_deadlines=medium)
        self._check_workers |= drained
        self._ends.changed += stopped
        self._look_at_feed |= bool(stopped)
        await self._standing.act(self.clock.monotonic_ms())
        await self._standing.save_images(self._tell_room)
        slow = self.due(Beat.SLOW)
        if slow or self._check_workers:
            self._check_workers = False
            try:
                await self._load_eligibility()
            except Unavailable:
                self._check_workers = True
                raise
            await self._enrolment.refresh()
        if slow or self._check_limits:
            await self._load_limits()
        if slow:
            if ages := self._registry.ages(self.clock.monotonic_ms()):
                await worker_store.save_pulses(self._store, ages)
            await self._standing.ask_for_probes()
            self._ends.arrays.update(row["id"] for row in await self._store.fetch(sql("open_arrays")))
            self._ends.over.update(await dependencies.overlooked(self._store))

    async def _load_eligibility(self) -> None:
        rows = await worker_store.load(self._store)
        for name in self._registry.workers.keys() - {view.name for view, _ in rows}:
            self._say([WorkerLost(self._registry.forget(name))])
            self._must_resync = True  # a worker that was deleted counts no more
        for view, session in rows:
            known = self._registry.workers.get(view.name)
            if known is None:  # it joined, but the answer of PostgreSQL was lost
                self._registry.load([Known(view, session, self.clock.monotonic_ms())], [])
            elif known.view.eligibility is not view.eligibility:
                self._registry.changed(view.worker_id, view.eligibility)
                self._standing.changed(view.worker_id, view.eligibility)
                self._say([WorkerChanged(view.worker_id, known.view.liveness, view.eligibility)])
            if known is not None and known.view.labels != view.labels:
                known.view.labels = view.labels
                self._tell_room(view.worker_id)

    async def _load_limits(self) -> None:
        """Tell the Scheduler what limits there are, when they changed; one that begins anew reads them itself."""
        self._check_limits = False
        try:
            found = await limits.load(self._store)
        except Unavailable:
            self._check_limits = True
            raise
        if found != self._limits_told:
            self._limits_told = found
            self._say([LimitsChanged(found.queues, found.users)])

    # ------------------------------------------------ saying things

    def _tell_room(self, worker_id: int) -> None:
        """The Scheduler thinks that there is room: say again what takes it, or the same is tried for ever."""
        known = self._registry.workers.get(self._registry.names.get(worker_id, ""))
        if known is not None:
            self._say([WorkerJoined(known.view, self._registry.taken(worker_id))])

    def _say(self, words: Sequence[ToScheduler]) -> None:
        """Tell the Scheduler. This edge never waits: what does not fit is made good by one Resync."""
        if not self._inbox.offer_or_drop(words):
            self._must_resync = True

    async def _reply(self, message: Msg, word: msgspec.Struct) -> None:
        with contextlib.suppress(Unavailable):  # it asks again
            await self._bus.publish(message.reply, codec.encode(word))

    async def _hint(self) -> None:
        changed, self._ends.changed = self._ends.changed, []
        with contextlib.suppress(Unavailable):  # followers poll
            for word in self._hints.take(changed, self.clock.monotonic_ms()):
                await self._bus.publish(subjects.CHANGED if word.job_ids else subjects.BEGUN, codec.encode(word))
