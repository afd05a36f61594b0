"""A fake must not lie: the same calls, at random, on PostgreSQL and on the fake store, and then the same rows."""

import contextlib
import random
import time
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from rows import Row
from scenes import Scene

from swarmsync.errors import Conflict
from swarmsync.ids import IdSource
from swarmsync.model.job import JobRef, Settlement
from swarmsync.model.lifecycle import AssignmentState, JobState
from swarmsync.protocol.codec import convert_spec
from swarmsync.protocol.messages import Progress
from swarmsync.store import actions, jobs, submit
from swarmsync.store.pool import Store
from swarmsync.store.queries import sql
from swarmsync.store.users import Caller

pytestmark = pytest.mark.integration

IDS = IdSource(1_001, lambda: time.time_ns() // 1_000_000)
STEPS = 150
SAME = (
    "state", "fence", "worker_id", "assignment_state", "orders_epoch", "orders_seq", "exit_code", "tries", "crashes",
    "stop_reason", "stop_kill",
)  # fmt: skip
HELD = [state.value for state in AssignmentState][:-2]


class Pair:
    """Both stores, and one method per kind of call."""

    def __init__(self, engine, api, owner, seed):
        self.engine, self.api, self.owner = engine, api, owner
        self.chance = random.Random(seed)
        self.me = Caller(IDS.next(), f"simulation-{seed}", "user")
        self.scene = Scene(seed, workers=0)
        self.tables = self.scene.store.tables
        self.ids = []

    async def begin(self):
        await self.owner.execute("INSERT INTO users (id, username) VALUES ($1, $2)", self.me.user_id, self.me.username)
        self.cursor = await jobs.feed_start(self.engine)
        self.fake_cursor = self.tables.feed_start()
        for count, array, start in (
            (5, None, None),
            (1, "0-2", None),
            (3, None, -1),
            (2, None, 3_600),
            (1, "0-1", 3_600),
        ):
            await self.submit(count, array, start)

    async def submit(self, count, array, start_s):
        """`start_s` is when the jobs are due; expired ones have waited too long already."""
        now = datetime.now(UTC)
        fields = {"array": {"range": array}} if array else {}
        spec = convert_spec({"image": "alpine", **fields})
        drafts = [submit.draft(spec)] * count
        submission = submit.plan(drafts, now, IDS.next)
        run_at = None if start_s is None else now + timedelta(seconds=start_s)
        for spec_id, (draft, start) in submission.specs.items():
            state = JobState.QUEUED if run_at is None else JobState.SCHEDULED
            submission.specs[spec_id] = (draft, submit.Start(state, start.reason, "", run_at, None))
        await submit.insert(self.api, self.me, submission)
        xid = self.tables.next_xid()
        draft = submission.specs[submission.jobs[0].spec_id][0]
        for job in submission.jobs:
            row = Row(job.job_id, draft.shape, draft.need, draft.document, int(spec.stop.grace))
            row.state = "queued" if run_at is None else "scheduled"
            row.run_at = None if start_s is None else self.scene.timeline.now_ms + start_s * 1_000
            row.array_id, row.array_index = job.array_id, job.array_index
            row.array_size = len(spec.array.indexes()) if spec.array else None
            self.scene.people.remember(row, spec)
            self.tables.insert(row, xid)
            self.ids.append(job.job_id)

    def some(self, most=4):
        return sorted(self.chance.sample(self.ids, self.chance.randint(1, most)))

    def refs(self):
        """Some assignments, a few of them out of date."""
        return [
            JobRef(i, max(0, self.tables.jobs[i].fence - (self.chance.random() < 0.15)))
            for i in self.some()
            if not self.tables.jobs[i].is_array
        ]

    # ------------------------------------------------ calls

    async def dispatch(self):
        places = [
            (i, self.chance.randint(1, 3), self.chance.randint(1, 9))
            for i in self.some()
            if not self.tables.jobs[i].is_array
        ]
        if places:
            assert await jobs.dispatch(self.engine, places, 2) is not None
            self.tables.dispatch(places, 2)

    async def resend(self):
        orders = [(ref, self.chance.randint(10, 19)) for ref in self.refs()]
        real = await jobs.resend(self.engine, orders, 3)
        assert sorted(entry.ref for entry in real) == [entry.ref for entry in self.tables.resend(orders, 3)]

    async def started(self):
        rows = [(ref, 5) for ref in self.refs()]
        assert sorted(await jobs.started(self.engine, rows)) == sorted(self.tables.started(rows))

    async def progress(self):
        steps = [Progress(ref, AssignmentState(self.chance.choice(HELD))) for ref in self.refs()]
        await jobs.progress(self.engine, steps)
        self.tables.progress(steps)

    async def settle(self):
        batch = [self._settlement(ref) for ref in self.refs()]
        real = await jobs.settle(self.engine, batch)
        assert sorted(entry.ref for entry in real) == [entry.ref for entry in self.tables.settle(batch)]

    def _settlement(self, ref):
        state = JobState(self.chance.choice(("succeeded", "failed", "timed_out", "cancelled", "queued", "scheduled")))
        row = self.tables.jobs[ref.job_id]
        orders = self.chance.choice((None, None, (row.orders_epoch, row.orders_seq), (9, 9)))
        lost = self.chance.random() < 0.3
        delay_ms = self.chance.choice((0, 3_600_000)) if state == "scheduled" else 0
        return Settlement(
            ref, state, "", "", 1, delay_ms, 0, int(lost), 7, None, "lost" if lost else "ended", "", "", "", orders
        )

    async def ends(self):
        refs = self.refs()
        assert (await jobs.ends(self.engine, refs)).keys() == self.tables.ends(refs).keys()

    async def supersede(self):
        refs = self.refs()
        await jobs.supersede(self.engine, refs)
        self.tables.supersede(refs)

    async def finish_arrays(self):
        arrays = sorted(i for i in self.ids if self.tables.jobs[i].is_array)
        real = await jobs.finish_arrays(self.engine, arrays)
        assert sorted(real) == self.tables.finish_arrays(arrays)

    async def due(self):
        real = await jobs.due(self.engine, 1_000)
        assert sorted(entry.job_id for entry in real) == sorted(entry.job_id for entry in self.tables.due(1_000))

    async def stop(self):
        (job_id, *_), kill = self.some(), self.chance.random() < 0.3
        with contextlib.suppress(Conflict):
            await actions.stop(self.api, self.me, job_id, kill=kill, message="")
        self.scene.people.stop(job_id, kill=kill)

    async def hold(self):
        job_id = self.some()[0]
        with contextlib.suppress(Conflict):
            await actions.hold(self.api, self.me, job_id)
        self.scene.people.hold(job_id)

    async def release(self):
        job_id = self.some()[0]
        with contextlib.suppress(Conflict):
            await actions.release(self.api, self.me, job_id)
        self.scene.people.release(job_id)

    # ------------------------------------------------ the comparison

    async def compare(self, after):
        rows = {row["id"]: row for row in await self.owner.fetch("SELECT * FROM jobs WHERE id = ANY ($1)", self.ids)}
        for job_id in self.ids:
            real, fake = rows[job_id], self.tables.jobs[job_id]
            names = [name for name in SAME if real[name] != getattr(fake, name)]
            assert not names, f"after {after}: {[(name, real[name], getattr(fake, name)) for name in names]}"
            assert (real["started_at"] is None) == (fake.started_at is None), f"after {after}: started"
        placed = [row["id"] for row in await self.engine.fetch(sql("load_placed")) if row["id"] in self.tables.jobs]
        assert placed == [row.id for row in self.tables.load_placed()]
        self.cursor, entries = await jobs.feed(self.engine, self.cursor, 5_000)
        self.fake_cursor, fakes = self.tables.feed(self.fake_cursor, 5_000)
        told = [(e.job_id, e.state, e.stop_kill, e.waiting is None) for e in entries if e.job_id in self.tables.jobs]
        told_by_fake = [(e.job_id, e.state, e.stop_kill, e.waiting is None) for e in fakes]
        assert sorted(told) == sorted(told_by_fake), f"after {after}: the feed"


@pytest.mark.parametrize("seed", range(4))
async def test_the_fake_store_does_what_postgresql_does(servers, seed):
    engine = await Store.open(servers.engine_url, size=2, application="simulation")
    api = await Store.open(servers.api_url, size=2, application="simulation")
    owner = await asyncpg.connect(servers.database_url, server_settings={"search_path": "swarmsync"})
    try:
        pair = Pair(engine, api, owner, seed)
        await pair.begin()
        await pair.compare("the submissions")
        calls = [pair.dispatch, pair.dispatch, pair.resend, pair.started, pair.progress, pair.settle, pair.settle, pair.ends,
                 pair.supersede, pair.finish_arrays, pair.due, pair.stop, pair.hold, pair.release]  # fmt: skip
        for _ in range(STEPS):
            call = pair.chance.choice(calls)
            await call()
            await pair.compare(call.__name__)
    finally:
        await owner.execute("DELETE FROM jobs WHERE id = ANY ($1)", pair.ids)
        await owner.execute("DELETE FROM users WHERE id = $1", pair.me.user_id)
        await owner.close()
        await engine.close()
        await api.close()
