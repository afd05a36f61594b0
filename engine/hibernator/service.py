"""The Hibernator's shell: queues what is due, fires schedules, expires what waited too long, tells the Scheduler.

The wall clock that counts is PostgreSQL's. The next instant is known from the rows; until then the module sleeps, with
an alarm of its own, since the beats are too coarse for being on time.
"""

import asyncio
from typing import Any, ClassVar

from engine.hibernator.due import next_look_ms
from engine.hibernator.schedules import decide
from engine.pulse_system.pulses import Beat
from engine.service import Service
from engine.service_channels import Role
from swarmsync.ids import IdSource
from swarmsync.model.job import Waiting
from swarmsync.protocol.messages import JobsDue
from swarmsync.store import fires, jobs, limits, timetable
from swarmsync.store.pool import Store

BATCH = 2_000
SCHEDULES_BATCH = 500


class HibernatorService(Service):
    role: ClassVar[Role] = Role.HIBERNATOR
    _ids: IdSource

    def __init__(self, store: Store, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._store = store
        self._channel = self.wiring.writer("due")
        self._look_at_ms = 0
        self._alarm: asyncio.TimerHandle | None = None

    async def on_start(self) -> None:
        number = await self._store.fetchval("SELECT nextval('generator_numbers')")
        self._ids = IdSource(number, self.clock.wall_ms)

    async def duty(self) -> int:
        medium = self.due(Beat.MEDIUM)  # something that is due before what we wait for may have come
        done = await self._look(medium=medium) if medium or self.clock.monotonic_ms() >= self._look_at_ms else 0
        if self.due(Beat.SLOW):
            await limits.sweep_rates(self._store)
        return done

    async def _look(self, *, medium: bool) -> int:
        table = await timetable.look(self._store)
        done = 0
        if medium and table.pressing:
            done += len(await jobs.expire(self._store, BATCH))
            done += len(await jobs.stop_late(self._store, BATCH))
            unblocked = await fires.start_waiting(self._store, self._ids.next, SCHEDULES_BATCH)
            self._tell(unblocked.waiting)
            done += unblocked.schedules
        cut_short = False
        if table.due:
            recorded = await fires.record_due(self._store, decide, self._ids.next, SCHEDULES_BATCH)
            self._tell(recorded.waiting)
            waiting = await jobs.due(self._store, BATCH)
            self._tell(waiting)
            done += recorded.schedules + len(waiting)
            cut_short = recorded.more or len(waiting) >= BATCH
            table = await timetable.look(self._store)
        self._sleep_until_due(table.until_ms, cut_short=cut_short)
        return done

    def _tell(self, waiting: list[Waiting]) -> None:
        for first in range(0, len(waiting), BATCH):
            self._channel.offer_or_drop([JobsDue(tuple(waiting[first : first + BATCH]))])

    def _sleep_until_due(self, until_ms: int | None, *, cut_short: bool) -> None:
        """Note when to look again, and set the alarm for it."""
        wait_ms = next_look_ms(until_ms, int(cut_short), 1)
        self._look_at_ms = self.clock.monotonic_ms() + wait_ms
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = asyncio.get_running_loop().call_later((wait_ms + 1) / 1000, self.poke)

    def restless(self) -> bool:
        return False  # it has an alarm, and looks at the medium pulse

    async def on_stop(self) -> None:
        await self._store.close()
