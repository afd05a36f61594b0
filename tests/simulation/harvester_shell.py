"""Mirrors `engine/harvester/service.py`: first the Dispatcher's ring, then pulses and joins, reports, and the feed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from module_shells import Shell
from programs import Every, Program
from rows import PLACEDS

from engine.harvester import settlements
from engine.harvester.fresh import Fresh, in_words
from engine.harvester.registry import Effect, Gone, Known, Limits, LivenessChanged, Registry, live_of
from engine.service_channels import Role
from swarmsync.model.job import JobRef, Settlement
from swarmsync.model.lifecycle import FINAL, EndReason, JobState, Liveness
from swarmsync.protocol.messages import (
    AssignmentEnded,
    By,
    Ended,
    Join,
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

if TYPE_CHECKING:
    from core import Core
    from network import Letter

FEED_MAX = 5_000
REPORTS_PER_TURN = 4_000
REFUSED_MS = 1_000


class HarvesterShell(Shell):
    role = Role.HARVESTER

    def __init__(self, core: Core) -> None:
        super().__init__(core)
        self.limits = Limits(*core.settings.limits)
        self.registry = Registry(self.limits)
        self._fast = Every(self.timeline, self.settings.fast_ms)
        self._medium = Every(self.timeline, self.settings.medium_ms)
        self._slow = Every(self.timeline, self.settings.slow_ms)
        self._arrived: list[Letter] = []
        self._look_at_feed = True
        self._must_resync = False
        self._unsaved: set[int] = set()
        self._void: list[int] = []
        self._fresh = Fresh()
        self._in_doubt: set[JobRef] = set()
        self._arrays: set[int] = set()
        self._over: set[int] = set()

    def on_start(self) -> Program:
        self._cursor = yield from self.call("feed_start")
        self.registry = Registry(self.limits)
        now_ms = self.now_ms
        workers = yield from self.call("load_workers")
        placed = yield from self.call("load_placed")
        known = [Known(view, session, now_ms) for view, session in workers]
        self.registry.load(known, [live_of(row, self.limits) for row in placed])
        self._say([Resync()])
        for subject in ("join", "pulse", "reports"):
            self.connection.handlers[subject] = self._on_worker
        self.connection.handlers["changed"] = self._on_changed

    def _on_worker(self, letter: Letter) -> None:
        self._arrived.append(letter)
        self.bell.ring()

    def _on_changed(self, letter: Letter) -> None:
        if letter.word.by not in (By.API, By.SUBMISSION):
            return
        self._look_at_feed |= not self._fresh.hear(letter.word)
        self.bell.ring()

    # ------------------------------------------------ the turn

    def duty(self) -> Program:
        self._say(self._fresh.take(self._cursor))
        settling: list[Settlement] = []
        bounced = self.rings["bounces"].take(64)
        for word in bounced:
            match word:
                case Offered():
                    self.registry.offered(word)
                case Refused():
                    self._tell_room(word.worker_id)
                    gone = [effect for effect in self.registry.refused(word) if isinstance(effect, Gone)]
                    settling += [settlements.of_gone(effect, delay_ms=REFUSED_MS) for effect in gone]
                case PlacementVoid():
                    self._say([word])
                    self._void.append(word.job_id)
        arrived, self._arrived = self._arrived[:REPORTS_PER_TURN], self._arrived[REPORTS_PER_TURN:]
        effects: list[Gone] = []
        if self._in_doubt:
            yield from self._refresh(sorted(self._in_doubt))
            self._in_doubt.clear()
        if self._void:
            rows = yield from self.call("refresh", self._void)
            self._must_resync |= any(row.state == JobState.QUEUED for row in rows.values())
            self._void.clear()
        for letter in arrived:
            if isinstance(letter.word, Pulse):
                effects += self._keep(self._pulse(letter))
            elif isinstance(letter.word, Join):
                effects += self._keep((yield from self._join(letter)))
        if self._medium():
            effects += self._keep(self.registry.tick(self.now_ms))
        yield from self._liveness()
        lost = {effect.ref: effect for effect in effects}
        yield from self._settle_gone([*settling, *(settlements.of_gone(effect) for effect in lost.values())])
        yield from self._reports([letter for letter in arrived if isinstance(letter.word, Reports)])
        fed = yield from self._feed()
        yield from self._sweep()
        return len(bounced) + len(arrived) + fed

    def _pulse(self, letter: Letter) -> list[Any]:
        answer, effects = self.registry.pulse(letter.sender.name, letter.word, self.now_ms)
        self.core.network.reply(self.connection, letter, answer)
        return effects

    def _join(self, letter: Letter) -> Program:
        word: Join = letter.word
        refusal = self.registry.refuses(
            letter.sender.name, word.offer, self.now_ms, boot=word.boot, began_ms=word.began_ms
        )
        if refusal is not None:
            self.core.network.reply(self.connection, letter, Refusal(refusal))
            return []
        view = yield from self.call("join_worker", word.offer, word.session)
        high, stops, effects = self.registry.joined(view, word.session, word.holds, self.now_ms)
        self._say([WorkerJoined(view, self.registry.taken(view.worker_id))])
        lease_ms = self.limits.lease_ms
        welcome = Welcome(view.worker_id, self.settings.pulse_ms, lease_ms, high[0], high[1], tuple(stops))
        self.core.network.reply(self.connection, letter, welcome)
        return effects

    def _keep(self, effects: Sequence[Effect]) -> list[Gone]:
        self._unsaved.update(effect.worker_id for effect in effects if isinstance(effect, LivenessChanged))
        return [effect for effect in effects if isinstance(effect, Gone)]

    def _liveness(self) -> Program:
        if not self._unsaved:
            return
        changed = [self.registry.workers[self.registry.names[worker_id]].view for worker_id in sorted(self._unsaved)]
        yield from self.call("save_liveness", {view.worker_id: view.liveness for view in changed})
        self._unsaved.clear()
        for view in changed:
            self.timeline.note("worker", view.name, view.liveness)
            if view.liveness is Liveness.LOST:
                self._say([WorkerLost(view.worker_id)])
            else:
                self._say([WorkerChanged(view.worker_id, view.liveness, view.eligibility)])

    # ------------------------------------------------ ends

    def _settle_gone(self, batch: Sequence[Settlement]) -> Program:
        if not batch:
            return
        rows = yield from self.call("ends", [entry.ref for entry in batch])
        judged = [
            settlements.judge_gone(entry, rows[entry.ref], self.settings.crash_limit, self.timeline.chance.random())
            for entry in batch
            if entry.ref in rows
        ]
        yield from self._settle(judged)
        yield from self._refresh(sorted({entry.ref for entry in batch} - rows.keys()))

    def _reports(self, letters: Sequence[Letter]) -> Program:
        if not letters:
            return
        starts, steps, ends = settlements.last_words(
            [self.registry.own(letter.sender.name, letter.word) for letter in letters]
        )
        if starts:
            yield from self.call("started", [(start.ref, max(0, self.now_ms - start.at_ms)) for start in starts])
        if steps:
            yield from self.call("progress", steps)
        yield from self._settle((yield from self._judge(ends)))
        for letter in letters:
            if not self.registry.has_open_end(letter.sender.name, letter.word):
                through = letter.word.first_seq + len(letter.word.reports) - 1
                self.core.network.reply(self.connection, letter, ReportsAck(through))

    def _judge(self, ends: Sequence[Ended]) -> Program:
        good = [settlements.succeeded(end) for end in ends if end.reason is EndReason.COMPLETED]
        bad = [end for end in ends if end.reason is not EndReason.COMPLETED]
        if not bad:
            return good
        rows = yield from self.call("ends", [end.ref for end in bad])
        stale = [end.ref for end in bad if end.ref not in rows]
        if stale:
            yield from self.call("supersede", stale)
            yield from self._refresh(stale)
        return good + [
            settlements.judge(end, rows[end.ref], self.settings.crash_limit, self.timeline.chance.random())
            for end in bad
            if end.ref in rows
        ]

    def _settle(self, batch: Sequence[Settlement]) -> Program:
        if not batch:
            return
        unique = {entry.ref: entry for entry in batch}
        self._in_doubt |= unique.keys()
        won = yield from self.call("settle", list(unique.values()))
        self._in_doubt -= unique.keys()
        if won:
            self._say([AssignmentEnded(e.ref.job_id, e.worker_id, unique[e.ref].ran_ms) for e in won])
        for entry in won:
            self.registry.over(entry.ref.job_id, entry.ref.fence)
            if entry.array_id is not None:
                self._arrays.add(entry.array_id)
            if entry.state in (JobState.QUEUED, JobState.SCHEDULED):
                self._look_at_feed = True
            elif entry.waited_for:
                self._over.add(entry.ref.job_id)
        lost = sorted(unique.keys() - {entry.ref for entry in won})
        if lost:
            yield from self.call("supersede", lost)
            yield from self._refresh(lost)

    def _refresh(self, refs: Sequence[JobRef]) -> Program:
        if not refs:
            return
        rows = yield from self.call("refresh", [ref.job_id for ref in refs])
        for ref in refs:
            row = rows.get(ref.job_id)
            live = self.registry.live.get(ref.job_id)
            if live is None or live.ref != ref:
                continue
            if row is None or row.fence != ref.fence or row.state not in PLACEDS:
                self.registry.over(ref.job_id, ref.fence)
                self._say([AssignmentEnded(ref.job_id, live.worker_id)])
                if row is not None and row.state not in FINAL:
                    self._must_resync = True  # it was queued again while the Scheduler took it for placed
            else:
                live.orders = (row.orders_epoch, row.orders_seq)

    # ------------------------------------------------ the feed, and saying things

    def _feed(self) -> Program:
        if not self._look_at_feed and not self._fast():
            return 0
        self._look_at_feed = False
        cursor, entries = yield from self.call("feed", self._cursor, FEED_MAX, self._fresh.told)
        waiting = tuple(entry.waiting for entry in entries if entry.waiting is not None)
        stopped = [entry for entry in entries if entry.waiting is None and entry.state is not JobState.QUEUED]
        for entry in stopped:
            if entry.state is JobState.STOPPING and entry.stop_reason is not None:
                self.registry.stop_wanted(entry.job_id, kill=entry.stop_kill, reason=EndReason(entry.stop_reason))
            else:
                self.registry.stop_over(entry.job_id)
            if entry.array_id is not None:
                self._arrays.add(entry.array_id)
            if entry.state in FINAL:
                self._over.add(entry.job_id)
        blocked = [entry.job_id for entry in stopped if entry.state is JobState.BLOCKED]
        if blocked:
            yield from self.call("renote", blocked)
            self._over.update((yield from self.call("overlooked", blocked)))
        self._cursor = cursor
        self._fresh.read(cursor)
        self._say(in_words(waiting))
        if stopped:
            self._say([StopWanted(tuple(entry.job_id for entry in stopped))])
        more = (yield from self._follow()) or len(entries) >= FEED_MAX
        self._look_at_feed |= more
        return len(entries)

    def _follow(self) -> Program:
        """Mirrors `Ends.follow`, and `dependencies.release`."""
        news, arrays, over = False, frozenset(self._arrays), frozenset(self._over)
        if arrays:
            for array_id in (yield from self.call("finish_arrays", sorted(arrays))):
                self.registry.stop_over(array_id)
                over |= {array_id}
                self._over.add(array_id)
            self._arrays -= arrays
        if over:
            look = sorted(over) if self._any_waits() else []
            while look and (yield from self.call("waited_for", look)):
                won = yield from self.call("release", look)
                look = [job_id for job_id, state in won if state == "cancelled"]
                news |= bool(won)
            self._over -= over
        return news

    def _sweep(self) -> Program:
        if self._must_resync:
            self._must_resync = False
            self._say([Resync()])
        if self._slow():
            yield from self._load_eligibility()
            self._arrays.update((yield from self.call("open_arrays")))
            if self._any_waits():
                self._over.update((yield from self.call("overlooked", None)))

    def _any_waits(self) -> bool:
        """Nobody is asked in worlds without dependencies: that would only make other worlds of their seeds."""
        return bool(self.core.store.tables.needs)

    def _load_eligibility(self) -> Program:
        for view, session in (yield from self.call("load_workers")):
            if view.name not in self.registry.workers:
                self.registry.load([Known(view, session, self.now_ms)], [])

    def _tell_room(self, worker_id: int) -> None:
        known = self.registry.workers.get(self.registry.names.get(worker_id, ""))
        if known is not None:
            self._say([WorkerJoined(known.view, self.registry.taken(worker_id))])

    def _say(self, words: list[ToScheduler]) -> None:
        if not self.rings["inbox"].offer_or_drop(words):
            self._must_resync = True
