"""The Scheduler's shell: rings in, rings out. It reads PostgreSQL at its start and on Resync; no other network."""

import asyncio
from typing import Any, ClassVar

from engine.scheduler.backlog import Terms
from engine.scheduler.placement import Recalled, Scheduler
from engine.service import Service
from engine.service_channels import Role
from swarmsync.errors import Unavailable
from swarmsync.model.resources import Need
from swarmsync.model.rules import read_rules
from swarmsync.protocol.messages import (
    JobsSubmitted,
    LimitsChanged,
    Place,
    PlanVoid,
    ToDispatcher,
    ToScheduler,
    WorkerJoined,
)
from swarmsync.store import jobs, limits
from swarmsync.store import workers as worker_store
from swarmsync.store.jobs import need_of
from swarmsync.store.pool import Store
from swarmsync.store.queries import sql

BYTES_PER_WORD = 64  # a Place is 30 bytes on the wire; room for sentences
#: Reading it all again takes at most a tenth of the time, and is never put off for longer than this.
RESYNC_SHARE = 10
RESYNC_PAUSE_MIN_MS = 100
RESYNC_PAUSE_MAX_MS = 1_000
RATE_STARTS_MAX = 1_000_000
VOID_PATIENCE_MS = 1_000
VOID_LOOK_S = 0.002


class SchedulerService(Service):
    role: ClassVar[Role] = Role.SCHEDULER

    def __init__(self, store: Store, *, places_max: int, backlog_jobs_max: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._store = store
        self._places_max = places_max
        self._backlog_jobs_max = backlog_jobs_max
        self._core = Scheduler(backlog_jobs_max)
        self._placements = self.wiring.writer("placements")
        self._dispatcher = self._placements.ring.reader_epoch
        self._unsent: list[ToDispatcher] = []
        self._resync_at_ms = 0
        self._plan_is_void = False  # and nothing was placed since
        self._reads = True  # or is about to: until the rows are read there is no plan

    async def on_start(self) -> None:
        await self._load()

    async def duty(self) -> int:
        damaged = sum(reader.damaged for reader in self.readers.values())
        events: list[ToScheduler] = [word for reader in self.readers.values() for word in reader.take()]
        if sum(reader.damaged for reader in self.readers.values()) != damaged:
            self.journal("error", "a ring was damaged and given up; reading PostgreSQL again")
            self._core.wants_resync = True
        if self._placements.ring.reader_epoch != self._dispatcher:
            self._dispatcher = self._placements.ring.reader_epoch
            self._core.wants_resync = True  # the last Dispatcher may have died with placements in its hands
        room = (
            0
            if self._unsent or self._reads
            else min(self._places_max, self._placements.ring.room_bytes() // BYTES_PER_WORD)
        )
        effects = self._core.handle(events, now_ms=self.clock.monotonic_ms(), places_max=room)
        self._unsent += effects
        self._plan_is_void &= not any(isinstance(word, Place) for word in effects)
        sent = self._placements.offer(self._unsent)
        del self._unsent[:sent]
        if self._core.wants_resync and self.clock.monotonic_ms() >= self._resync_at_ms:
            began_ms = self.clock.monotonic_ms()
            await self._load()
            self._resync_at_ms = resync_at_ms(began_ms, self.clock.monotonic_ms())
            return 1
        return len(events) + sent

    def restless(self) -> bool:
        replaced = self._placements.ring.reader_epoch != self._dispatcher
        return replaced or bool(self._unsent) or self._core.restless(self.clock.monotonic_ms() + self.calm_ms)

    async def on_stop(self) -> None:
        await self._store.close()

    async def _void_plan(self) -> None:
        """Have the Dispatcher drop what it has not begun, and wait until it has taken the word: then its turn is over.

        Raises Unavailable where it does not take it in time. Without it nothing would be placed anyway.
        """
        self._unsent = [word for word in self._unsent if not isinstance(word, Place)]
        if not self._placements.ring.records_put:
            return  # nothing was ever placed on this ring
        if not self._plan_is_void:
            self._plan_is_void = True
            self._unsent.append(PlanVoid())
        deadline_ms = self.clock.monotonic_ms() + VOID_PATIENCE_MS
        while self.clock.monotonic_ms() < deadline_ms:
            del self._unsent[: self._placements.offer(self._unsent)]
            if not self._unsent and self._placements.ring.fill() == 0:
                return
            await asyncio.sleep(VOID_LOOK_S)
        raise Unavailable("the Dispatcher does not take words, so what waits is not read again yet")

    async def _load(self) -> None:
        """Begin anew from the rows, once the Dispatcher has nothing of the old plan in its hands.

        What waits is read before what is placed: a job that is dispatched meanwhile is in both, and counts as placed.
        The other way round it would be in neither, and its room would be given to another.
        """
        self._reads = True
        await self._void_plan()
        core = Scheduler(self._backlog_jobs_max)
        known = await limits.load(self._store)
        waiting = await jobs.load_queued(self._store, self._backlog_jobs_max)
        views = await worker_store.load(self._store)
        holds: dict[int, list[tuple[int, Need]]] = {}
        placed = []
        for row in await self._store.fetch(sql("load_placed")):
            holds.setdefault(row["worker_id"], []).append((row["id"], need_of(row)))
            terms = Terms(need_of(row), row["user_id"], row["queue"], read_rules(row["rules"]), row["array_id"])
            placed.append(Recalled(row["id"], row["worker_id"], terms, row["age_ms"]))
        starts = await self._store.fetch(sql("load_rate_starts"), RATE_STARTS_MAX)
        joined = [WorkerJoined(view, tuple(holds.get(view.worker_id, ()))) for view, _ in views]
        now_ms = self.clock.monotonic_ms()
        core.succeed(self._core, now_ms)
        self._unsent += core.handle([LimitsChanged(known.queues, known.users)], now_ms=now_ms, places_max=0)
        core.recall(placed, [(row["key"], row["job_id"], row["ago_ms"]) for row in starts], now_ms)
        core.date((job.job_id for job in waiting), self.clock.wall_ms(), now_ms)
        self._unsent += core.handle([*joined, JobsSubmitted(tuple(waiting))], now_ms=now_ms, places_max=0)
        self._core = core
        self._reads = False
        self.journal("info", "read the backlog", jobs=len(waiting), workers=len(views))


def resync_at_ms(began_ms: int, ended_ms: int) -> int:
    """Return when the rows may be read again after a reading that took that long."""
    return ended_ms + min(RESYNC_PAUSE_MAX_MS, max(RESYNC_PAUSE_MIN_MS, RESYNC_SHARE * (ended_ms - began_ms)))
