"""A Hibernator that is killed -9 at each marked point of a fire, 20 times each: no instant is missed, none runs twice.

The victim is a forked process that runs the same transactions as the real service, with the tests' clock.
"""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from engine.hibernator.schedules import decide
from swarmsync.ids import IdSource
from swarmsync.protocol.codec import convert_schedule
from swarmsync.store import fires, schedules
from swarmsync.store.pool import ENGINE_PLANS, Store
from swarmsync.store.users import Caller

pytestmark = [pytest.mark.process, pytest.mark.integration]

KILLS = 20
IDS = IdSource(1_002, lambda: time.time_ns() // 1_000_000)
MINUTE = timedelta(minutes=1)
NOON = datetime(2031, 5, 7, 12, 0, tzinfo=UTC)
FIRE_MARKS = (
    "begun",
    "locked",
    "decided",
    "lines written",
    "earlier jobs stopped",
    "jobs written",
    "moved",
    "committed",
)
WAITING_MARKS = ("waiting locked", "waiting jobs written", "waiting lines written", "waiting committed")


class Bench:
    """Three schedules that fire every minute, one per policy that is more than an insert."""

    def __init__(self, servers: Any) -> None:
        self.servers = servers
        self.caller = Caller(IDS.next(), f"k{IDS.next():x}", "user")
        self.schedules: dict[str, int] = {}

    async def make(self) -> None:
        owner = await self.owner()
        await owner.execute(
            "INSERT INTO users (id, username) VALUES ($1, $2)", self.caller.user_id, self.caller.username
        )
        api = await Store.open(self.servers.api_url, size=1, application="tests")
        for overlap in ("allow", "replace", "queue"):
            document = {"name": overlap, "job": {"image": "alpine"}, "cron": "* * * * *", "overlap": overlap}
            row = await schedules.create(api, self.caller, IDS.next, convert_schedule(document))
            self.schedules[overlap] = row["id"]
        mine = list(self.schedules.values())
        await owner.execute("UPDATE schedules SET next_fire_at = $2 WHERE id = ANY ($1::bigint[])", mine, NOON + MINUTE)
        await api.close()
        await owner.close()

    async def owner(self) -> asyncpg.Connection:
        return await asyncpg.connect(self.servers.database_url, server_settings={"search_path": "swarmsync"})

    async def turn(self, now: datetime, mark: fires.Mark = lambda place: None) -> int:
        return await self._with_store(lambda s: fires.record_due(s, decide, IDS.next, 100, now=now, mark=mark))

    async def start_waiting(self, now: datetime, mark: fires.Mark = lambda place: None) -> int:
        return await self._with_store(lambda s: fires.start_waiting(s, IDS.next, 100, now=now, mark=mark))

    async def _with_store(self, work: Callable[[Store], Awaitable[fires.Recorded]]) -> int:
        store = await Store.open(self.servers.engine_url, size=1, application="tests", plans=ENGINE_PLANS)
        recorded = await work(store)
        await store.close()
        return recorded.schedules

    async def complete(self, now: datetime) -> None:
        """Be the Hibernator that comes after: turns until nothing is due; the dead one's locks may last a moment."""
        owner = await self.owner()
        behind = "SELECT count(*) FROM schedules WHERE next_fire_at <= $1 AND user_id = $2"
        async with asyncio.timeout(60):
            while await owner.fetchval(behind, now, self.caller.user_id):
                await self.turn(now)
        await owner.close()

    async def end_job_before_the_waiting(self) -> None:
        owner = await self.owner()
        await owner.execute(
            "UPDATE jobs SET state = 'succeeded', finished_at = clock_timestamp()"
            " WHERE schedule_id = $1 AND finished_at IS NULL",
            self.schedules["queue"],
        )
        await owner.close()

    async def ledger(self, overlap: str) -> list[tuple[int, str]]:
        """(minute, outcome) of each line, after proving that lines and jobs belong together one to one."""
        owner = await self.owner()
        schedule_id = self.schedules[overlap]
        lines = await owner.fetch("SELECT * FROM schedule_fires WHERE schedule_id = $1 ORDER BY due_at", schedule_id)
        jobs = await owner.fetch("SELECT id FROM jobs WHERE schedule_id = $1", schedule_id)
        events = await owner.fetch(
            "SELECT e.job_id FROM job_events e JOIN jobs j ON j.id = e.job_id"
            " WHERE schedule_id = $1 AND e.state = 'queued'",
            schedule_id,
        )
        await owner.close()
        made = sorted(line["job_id"] for line in lines if line["job_id"] is not None)
        assert made == sorted(job["id"] for job in jobs) == sorted(event["job_id"] for event in events)
        return [(round((line["due_at"] - NOON) / MINUTE), line["outcome"]) for line in lines]

    async def clean(self) -> None:
        owner = await self.owner()
        for table in ("schedule_fires", "schedules", "job_events", "jobs", "specs"):
            await owner.execute(f"DELETE FROM {table} WHERE user_id = $1", self.caller.user_id)
        await owner.execute("DELETE FROM users WHERE id = $1", self.caller.user_id)
        await owner.close()


@pytest.fixture
def bench(servers) -> Iterator[Bench]:
    made = Bench(servers)
    asyncio.run(made.make())
    yield made
    asyncio.run(made.clean())


def killed_at(place: str, work: Callable[[fires.Mark], Awaitable[Any]]) -> bool:
    """Run `work` in a forked process that kills itself at this mark; False when it never came there."""

    def mark(reached: str) -> None:
        if reached == place:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        status = 1
        try:
            asyncio.run(work(mark))
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in (0, -signal.SIGKILL)
    return os.waitstatus_to_exitcode(status) == -signal.SIGKILL


@pytest.mark.parametrize("place", FIRE_MARKS)
def test_a_kill_in_a_fire_misses_nothing_and_adds_nothing(bench: Bench, place: str):
    asyncio.run(bench.turn(NOON + MINUTE))  # from now on there is a job to replace
    minutes = range(2, KILLS + 2)
    for minute in minutes:
        now = NOON + minute * MINUTE
        assert killed_at(place, lambda mark, now=now: bench.turn(now, mark))
        asyncio.run(bench.complete(now))
    expected = [(minute, "fired") for minute in (1, *minutes)]
    assert asyncio.run(bench.ledger("allow")) == expected
    assert asyncio.run(bench.ledger("replace")) == expected
    queued = asyncio.run(bench.ledger("queue"))
    assert queued == [(1, "fired"), (2, "waiting"), *((minute, "skipped") for minute in minutes[1:])]


@pytest.mark.parametrize("place", WAITING_MARKS)
def test_a_kill_while_waiting_instants_start_misses_nothing_and_adds_nothing(bench: Bench, place: str):
    asyncio.run(bench.turn(NOON + MINUTE))
    minutes = range(2, KILLS + 2)
    for minute in minutes:
        now = NOON + minute * MINUTE
        asyncio.run(bench.turn(now))  # one instant waits
        asyncio.run(bench.end_job_before_the_waiting())
        assert killed_at(place, lambda mark, now=now: bench.start_waiting(now, mark))

        async def complete(now: datetime = now) -> None:
            owner = await bench.owner()
            waits = "SELECT count(*) FROM schedule_fires WHERE outcome = 'waiting' AND user_id = $1"
            async with asyncio.timeout(60):
                while await owner.fetchval(waits, bench.caller.user_id):
                    await bench.start_waiting(now)
            await owner.close()

        asyncio.run(complete())
    assert asyncio.run(bench.ledger("queue")) == [(1, "fired"), *((minute, "late") for minute in minutes)]
