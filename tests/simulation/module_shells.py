"""What all modules' shells share, and the small ones: Scheduler, Hibernator, Logger.

A shell mirrors a `service.py`: the same duties in the same order around the same core, as a generator instead of a
coroutine. What has no influence on jobs (the journal, sentences for people, followers' hints) is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from programs import Bell, Every, Life, Program

from engine.hibernator.due import next_look_ms
from engine.scheduler.backlog import Terms
from engine.scheduler.placement import Recalled, Scheduler
from engine.scheduler.service import VOID_PATIENCE_MS, resync_at_ms
from engine.service_channels import Role
from swarmsync.errors import Unavailable
from swarmsync.protocol.messages import JobsDue, JobsSubmitted, LogsAck, Place, PlanVoid, ToDispatcher, WorkerJoined

if TYPE_CHECKING:
    from core import Core
    from network import Letter


class Shell:
    """Mirrors `engine.service.Service`: start, then turn for ever; sleep when a turn had nothing to do."""

    role: Role

    def __init__(self, core: Core) -> None:
        self.core = core
        self.timeline = core.timeline
        self.rings = core.rings
        self.settings = core.settings
        self.life = Life(core.timeline, self.role.value)
        self.connection = core.network.connect(self.role.value, self.life)
        self.bell = Bell(core.timeline)
        self.errors = 0
        self.started = False
        for name, reader in core.readers.items():
            if reader is self.role:
                core.rings[name].bell = self.bell
                core.rings[name].reader_epoch += 1

    @property
    def now_ms(self) -> int:
        return self.timeline.now_ms

    def call(self, name: str, *values: Any) -> Program:
        return self.core.store.call(self.life, name, *values)

    def on_start(self) -> Program:
        yield 0

    def duty(self) -> Program:
        raise NotImplementedError

    def run(self) -> Program:
        while True:
            try:
                yield from self.on_start()
            except Unavailable:
                yield 200
            else:
                self.started = True
                break
        while True:
            self.bell.clear()
            try:
                done = yield from self.duty()
            except Unavailable:
                self.errors += 1
                yield 100
                continue
            if done == 0:
                yield self.bell.wait(self.settings.fast_ms)
            else:
                yield 1


class SchedulerShell(Shell):
    """Mirrors `engine/scheduler/service.py`."""

    role = Role.SCHEDULER

    def __init__(self, core: Core) -> None:
        super().__init__(core)
        self.scheduler = Scheduler(self.settings.backlog_max)
        self.unsent: list[ToDispatcher] = []
        self._dispatcher = self.rings["placements"].reader_epoch
        self._resync_at_ms = 0
        self._plan_is_void = False
        self._reads = True

    def on_start(self) -> Program:
        yield from self._load()

    def duty(self) -> Program:
        events = self.rings["inbox"].take() + self.rings["due"].take()
        placements = self.rings["placements"]
        if placements.reader_epoch != self._dispatcher:
            self._dispatcher = placements.reader_epoch
            self.scheduler.wants_resync = True
        room = 0 if self.unsent or self._reads else min(self.settings.places_max, placements.room())
        effects = self.scheduler.handle(events, now_ms=self.now_ms, places_max=room)
        self.unsent += effects
        self._plan_is_void &= not any(isinstance(word, Place) for word in effects)
        sent = placements.offer(self.unsent)
        del self.unsent[:sent]
        if events or sent:
            self.timeline.note("scheduler", [type(event).__name__ for event in events[:8]], effects[:8])
        if self.scheduler.wants_resync and self.now_ms >= self._resync_at_ms:
            began_ms = self.now_ms
            yield from self._load()
            self._resync_at_ms = resync_at_ms(began_ms, self.now_ms)
            return 1
        return len(events) + sent

    def _void_plan(self) -> Program:
        self.unsent = [word for word in self.unsent if not isinstance(word, Place)]
        placements = self.rings["placements"]
        if not placements.put_ever:
            return
        if not self._plan_is_void:
            self._plan_is_void = True
            self.unsent.append(PlanVoid())
        deadline_ms = self.now_ms + VOID_PATIENCE_MS
        while self.now_ms < deadline_ms:
            del self.unsent[: placements.offer(self.unsent)]
            if not self.unsent and not placements.words:
                return
            yield 2
        raise Unavailable("the Dispatcher does not take words")

    def _load(self) -> Program:
        self._reads = True
        yield from self._void_plan()
        scheduler = Scheduler(self.settings.backlog_max)
        waiting = yield from self.call("load_queued", self.settings.backlog_max)
        views = yield from self.call("load_workers")
        holds: dict[int, list[Any]] = {}
        placed = []
        for row in (yield from self.call("load_placed")):
            holds.setdefault(row.worker_id, []).append((row.id, row.need))
            placed.append(
                Recalled(row.id, row.worker_id, Terms(row.need), self.now_ms - (row.started_at or self.now_ms))
            )
        joined = [WorkerJoined(view, tuple(holds.get(view.worker_id, ()))) for view, _ in views]
        scheduler.succeed(self.scheduler, self.now_ms)
        scheduler.recall(placed, [], self.now_ms)
        scheduler.date((job.job_id for job in waiting), self.now_ms, self.now_ms)
        self.unsent += scheduler.handle([*joined, JobsSubmitted(tuple(waiting))], now_ms=self.now_ms, places_max=0)
        self.scheduler = scheduler
        self._reads = False
        self.timeline.note("scheduler", "loaded", len(waiting), len(views))


class HibernatorShell(Shell):
    """Mirrors `engine/hibernator/service.py`."""

    role = Role.HIBERNATOR
    batch = 2_000

    def __init__(self, core: Core) -> None:
        super().__init__(core)
        self._medium = Every(self.timeline, self.settings.medium_ms)
        self._look_at_ms = 0

    def duty(self) -> Program:
        medium = self._medium()
        if not medium and self.now_ms < self._look_at_ms:
            return 0
        until_due_ms = yield from self.call("timetable")
        expired: list[int] = []
        if medium:  # whether anything presses is not asked for here
            expired = yield from self.call("expire", self.batch)
        waiting: list[Any] = []
        if until_due_ms is not None and until_due_ms <= 0:
            waiting = yield from self.call("due", self.batch)
            if waiting:
                self.rings["due"].offer_or_drop([JobsDue(tuple(waiting))])
            until_due_ms = yield from self.call("timetable")
        self._look_at_ms = self.now_ms + next_look_ms(until_due_ms, len(waiting), self.batch)
        return len(waiting) + len(expired)


class LoggerShell(Shell):
    """Mirrors `engine/logger/service.py` as far as workers wait for it: output is stored, then acknowledged."""

    role = Role.LOGGER

    def __init__(self, core: Core) -> None:
        super().__init__(core)
        self._arrived: list[Letter] = []
        self.connection.handlers["logs"] = self._on_output

    def _on_output(self, letter: Letter) -> None:
        self._arrived.append(letter)
        self.bell.ring()

    def duty(self) -> Program:
        arrived, self._arrived = self._arrived, []
        if arrived:
            yield from self.call("store_output")
            for letter in arrived:
                self.core.network.reply(self.connection, letter, LogsAck(()))
        return len(arrived)
