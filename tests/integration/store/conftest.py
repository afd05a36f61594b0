"""A desk of one test: its own user, jobs made the way the API makes them, and hands that play the engine."""

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from swarmsync.ids import IdSource
from swarmsync.model.job import JobRef, Settlement, Waiting
from swarmsync.model.lifecycle import Actor, EndReason, JobState, sources
from swarmsync.protocol.codec import convert_spec
from swarmsync.store import jobs, submit
from swarmsync.store.attempts import ATTEMPTS
from swarmsync.store.pool import ENGINE_PLANS, Store
from swarmsync.store.queries import sql
from swarmsync.store.users import Caller

IDS = IdSource(1_000, lambda: time.time_ns() // 1_000_000)
_TABLES = (
    "job_dependencies", "jobs", "specs", "assignments", "job_events", "output_chunks", "idempotency_keys", "output_tars", "output_tar_chunks",
)  # fmt: skip


class Desk:
    """`engine` and `api` are the stores of these roles; `owner` is a plain connection that sees everything."""

    def __init__(self, engine: Store, api: Store, owner: asyncpg.Connection) -> None:
        self.engine, self.api, self.owner = engine, api, owner
        self.users: list[int] = []
        self.me = self.user()

    def user(self, role: Any = "user") -> Caller:
        caller = Caller(IDS.next(), "someone", role)
        self.users.append(caller.user_id)
        return caller

    async def submit(self, count: int = 1, caller: Caller | None = None, **fields: Any) -> list[int]:
        """Submit `count` jobs of one spec; return the ids of all rows made, members behind their array."""
        drafts = [submit.draft(convert_spec({"image": "alpine", **fields}))] * count
        submission = submit.plan(drafts, datetime.now(UTC), IDS.next)
        await submit.insert(self.api, caller or self.me, submission)
        return [job.job_id for job in submission.jobs]

    async def submit_described(self, **fields: Any) -> tuple[int, tuple[Waiting, ...]]:
        """Submit one job; return how its hint describes it: the transaction, and what the Scheduler needs."""
        submission = submit.plan(
            [submit.draft(convert_spec({"image": "alpine", **fields}))], datetime.now(UTC), IDS.next
        )
        await submit.insert(self.api, self.me, submission)
        return submission.xid, submit.ready([submit.Wanted(self.me, submission)])

    async def submit_all(self, documents: list[dict[str, Any]]) -> list[int]:
        """Submit several specs in one request; return their ids in order."""
        drafts = [submit.draft(convert_spec({"image": "alpine", **fields})) for fields in documents]
        submission = submit.plan(drafts, datetime.now(UTC), IDS.next)
        await submit.insert(self.api, self.me, submission)
        return submission.ids

    async def dispatch(self, *job_ids: int, worker_id: int = 1, seq: int = 1, epoch: int = 1) -> list[JobRef]:
        places = [(job_id, worker_id, seq) for job_id in job_ids]
        won = {entry.ref.job_id: entry.ref for entry in await jobs.dispatch(self.engine, places, epoch)}
        return [won[job_id] for job_id in job_ids if job_id in won]

    async def placed(self, **fields: Any) -> JobRef:
        """Submit one job and dispatch it."""
        (ref,) = await self.dispatch(*await self.submit(**fields))
        return ref

    async def running(self, **fields: Any) -> JobRef:
        ref = await self.placed(**fields)
        await jobs.started(self.engine, [(ref, 0)])
        return ref

    async def cancel(self, job_id: int, *, kill: bool = False) -> None:
        """What the API does to one job; not to arrays."""
        ends, stops = sources(JobState.CANCELLED, by=Actor.API), sources(JobState.STOPPING, by=Actor.API)
        values = (ends, "cancelled", stops, "stopping", "CancelledByUser", "cancelled by someone", kill)
        await self.engine.execute(sql("stop"), job_id, False, *values)

    async def register(self) -> None:
        """Give the user a row, for calls that show its name."""
        await self.owner.execute(
            "INSERT INTO users (id, username) VALUES ($1, $2)", self.me.user_id, f"desk-{self.me.user_id}"
        )

    async def row(self, job_id: int) -> asyncpg.Record:
        return await self.owner.fetchrow("SELECT * FROM jobs WHERE id = $1", job_id)

    async def state(self, job_id: int) -> str:
        return await self.owner.fetchval("SELECT state FROM jobs WHERE id = $1", job_id)

    async def events(self, job_id: int) -> list[tuple[str, int]]:
        """Return (state, fence) of everything that was said of a job, in order."""
        rows = await self.owner.fetch("SELECT state, fence FROM job_events WHERE job_id = $1 ORDER BY xid, seq", job_id)
        return [tuple(row) for row in rows]

    async def assignments(self, job_id: int) -> list[asyncpg.Record]:
        """Attempts that are over, wherever they are kept."""
        return await self.owner.fetch(f"SELECT * FROM {ATTEMPTS} a WHERE job_id = $1 ORDER BY fence", job_id)

    async def clean(self) -> None:
        for table in _TABLES:
            await self.owner.execute(f"DELETE FROM {table} WHERE user_id = ANY ($1::bigint[])", self.users)
        await self.owner.execute("DELETE FROM users WHERE id = ANY ($1::bigint[])", self.users)
        await self.owner.execute("DELETE FROM waiting_lines WHERE message LIKE 'desk:%'")
        await self.owner.execute("DELETE FROM worker_sessions WHERE session LIKE 'desk-%'")
        await self.owner.execute("DELETE FROM workers WHERE name LIKE 'desk-%'")
        await self.owner.execute("DELETE FROM users WHERE username LIKE 'desk-%'")


def verdict(ref: JobRef, state: str = "succeeded", **more: Any) -> Settlement:
    """A settlement; what the test does not name is as for a success."""
    values: dict[str, Any] = {
        "reason": EndReason.COMPLETED, "message": "it ended", "exit_code": 0, "delay_ms": 0, "tries": 0, "crashes": 0,
        "ran_ms": 1_500, "result": {"cpu_ms": 7}, "assignment_state": "ended", "outcome": "succeeded",
        "assignment_reason": EndReason.COMPLETED, "assignment_message": "it ended", "orders": None,
    }  # fmt: skip
    return Settlement(ref, JobState(state), **{**values, **more})


@pytest.fixture(name="verdict")
def _verdict() -> Any:
    return verdict


@pytest.fixture
async def desk(servers: Any) -> AsyncIterator[Desk]:
    engine = await Store.open(servers.engine_url, size=4, application="tests", plans=ENGINE_PLANS)
    api = await Store.open(servers.api_url, size=4, application="tests")
    owner = await asyncpg.connect(servers.database_url, server_settings={"search_path": "swarmsync"})
    made = Desk(engine, api, owner)
    yield made
    await made.clean()
    await owner.close()
    await engine.close()
    await api.close()
