"""The Hibernator's shell: queues what is due, expires what waited too long, and tells the Scheduler."""

from typing import Any, ClassVar

from engine.hibernator.due import next_look_ms
from engine.pulse_system.pulses import Beat
from engine.service import Service
from engine.service_channels import Role
from swarmsync.protocol.messages import JobsDue
from swarmsync.store import jobs
from swarmsync.store.pool import Store
from swarmsync.store.queries import sql

BATCH = 2_000


class HibernatorService(Service):
    role: ClassVar[Role] = Role.HIBERNATOR

    def __init__(self, store: Store, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._store = store
        self._channel = self.wiring.writer("due")
        self._look_at_ms = 0

    async def duty(self) -> int:
        now_ms = self.clock.monotonic_ms()
        expired: list[int] = []
        if self.due(Beat.MEDIUM):
            expired = await jobs.expire(self._store, BATCH)
            self._look_at_ms = 0  # a job that is due before the one we wait for may have come
        if now_ms < self._look_at_ms:
            return len(expired)
        waiting = await jobs.due(self._store, BATCH)
        if waiting:
            self._channel.offer_or_drop([JobsDue(tuple(waiting))])
        until_due_ms = await self._store.fetchval(sql("next_due"))
        self._look_at_ms = self.clock.monotonic_ms() + next_look_ms(until_due_ms, len(waiting), BATCH)
        return len(waiting) + len(expired)

    async def on_stop(self) -> None:
        await self._store.close()
