"""Schedules of one test, with a clock that the test sets: what the Hibernator does, turn by turn."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from engine.hibernator.schedules import decide
from swarmsync.ids import IdSource
from swarmsync.protocol.codec import convert_schedule
from swarmsync.store import fires, schedules
from swarmsync.store.users import Caller

IDS = IdSource(1_001, lambda: time.time_ns() // 1_000_000)
MINUTE = timedelta(minutes=1)
#: A whole hour far enough ahead that nothing else of the tests is due then.
NOON = datetime(2031, 5, 7, 12, 0, tzinfo=UTC)


class Calendar:
    """`now` is the time of the next turn. Schedules are moved to begin behind NOON, whatever the real time is."""

    def __init__(self, desk: Any) -> None:
        self.desk = desk
        self.now = NOON

    async def known(self, caller: Caller, name: str) -> Caller:
        """Give the caller a row of its own among the users."""
        await self.desk.owner.execute(
            "INSERT INTO users (id, username) VALUES ($1, $2) ON CONFLICT DO NOTHING", caller.user_id, name
        )
        return Caller(caller.user_id, name, caller.role)

    async def alone(self) -> None:
        """Remove what earlier tests have left: a turn records whatever is due, whosever it is."""
        await self.desk.owner.execute("DELETE FROM schedules")

    async def add(self, caller: Caller | None = None, **fields: Any) -> int:
        """Make a schedule whose instants begin behind NOON."""
        document = {"name": f"s{IDS.next():x}", "job": {"image": "alpine"}, "cron": "* * * * *", **fields}
        spec = convert_schedule(document)
        row = await schedules.create(self.desk.api, caller or self.desk.me, IDS.next, spec)
        await self.begin(row["id"], NOON)
        return row["id"]

    async def begin(self, schedule_id: int, after: datetime) -> None:
        document = await self.desk.owner.fetchval("SELECT document FROM schedules WHERE id = $1", schedule_id)
        spec = fires.decode_stored_schedule(document)
        found = schedules.next_fires(spec, after, 1, name_hash_source=spec.name)
        await self.desk.owner.execute("UPDATE schedules SET next_fire_at = $2 WHERE id = $1", schedule_id, found[0])

    async def turn(self, at: datetime | None = None, limit: int = 500) -> fires.Recorded:
        self.now = at or self.now
        return await fires.record_due(self.desk.engine, decide, IDS.next, limit, now=self.now)

    async def start_waiting(self) -> fires.Recorded:
        return await fires.start_waiting(self.desk.engine, IDS.next, 100, now=self.now)

    async def lines(self, schedule_id: int) -> list[Any]:
        query = "SELECT * FROM schedule_fires WHERE schedule_id = $1 ORDER BY due_at, id"
        return await self.desk.owner.fetch(query, schedule_id)

    async def outcomes(self, schedule_id: int) -> list[tuple[float, str]]:
        """(minutes after NOON, outcome) of every line, oldest first."""
        return [((line["due_at"] - NOON) / MINUTE, line["outcome"]) for line in await self.lines(schedule_id)]

    async def jobs(self, schedule_id: int) -> list[Any]:
        query = "SELECT * FROM jobs WHERE schedule_id = $1 AND array_id IS NULL ORDER BY id"
        return await self.desk.owner.fetch(query, schedule_id)

    async def states(self, schedule_id: int) -> list[str]:
        return [job["state"] for job in await self.jobs(schedule_id)]

    async def end(self, job_id: int) -> None:
        await self.desk.owner.execute(
            "UPDATE jobs SET state = 'succeeded', assignment_state = NULL, finished_at = clock_timestamp()"
            " WHERE id = $1",
            job_id,
        )

    async def clean(self) -> None:
        for table in ("schedule_fires", "schedules"):
            await self.desk.owner.execute(f"DELETE FROM {table} WHERE user_id = ANY ($1::bigint[])", self.desk.users)
        await self.desk.owner.execute("DELETE FROM users WHERE id = ANY ($1::bigint[])", self.desk.users)
