"""What the Harvester does with ends: judge them, write the verdicts, and believe the row where a write did not pass."""

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from engine.harvester import settlements
from engine.harvester.registry import Registry
from swarmsync.model.job import JobRef, Settlement
from swarmsync.model.lifecycle import FINAL, EndReason, JobState
from swarmsync.protocol.messages import AssignmentEnded, Ended, ToScheduler
from swarmsync.store import dependencies, jobs
from swarmsync.store.pool import Store
from swarmsync.store.queries import sql


class Ends:
    """Verdicts on their way into PostgreSQL, and what the service must do about them afterwards."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        crash_limit: int,
        say: Callable[[list[ToScheduler]], None],
        journal: Callable[..., Any],
        written: Callable[[Iterable[tuple[Settlement, jobs.Settled]]], None] = lambda _: None,
        now_ms: Callable[[], int] = lambda: 0,
    ) -> None:
        self._store, self._registry, self._crash_limit = store, registry, crash_limit
        self._say, self._journal, self._written = say, journal, written
        self._now_ms = now_ms
        self._chance = random.Random()  # noqa: S311 spreads retries; no secret depends on it
        self.in_doubt: set[JobRef] = set()  # their verdicts may have been committed although the answer was lost
        self.arrays: set[int] = set()  # arrays of which a member ended
        self._failed = False  # the last try to release others
        self.changed: list[int] = []  # jobs to hint about
        self.over: set[int] = set()  # jobs that are final now: others may wait for them
        self.requeued = False  # some are queued again: the feed has news
        self.must_resync = False
        self._restored: tuple[int, int] | None = None

    def restored(self, at_ms: int, slack_ms: int) -> None:
        """A backup was restored, and first started then: attempts that it does not know live a lease from there."""
        self._restored = at_ms, slack_ms

    def _quiet(self, entry: Settlement) -> Settlement:
        """Try nothing again while an attempt may live that was begun after the backup."""
        live = self._registry.live.get(entry.ref.job_id)
        if self._restored is None or live is None:
            return entry
        at_ms, slack_ms = self._restored
        return settlements.not_before(entry, at_ms + live.lease_ms + slack_ms - self._now_ms())

    @property
    def hurries(self) -> bool:
        """Whether somebody waits for what has ended: each link of a chain does. After a failure it waits for a beat."""
        return bool(self.over) and not self._failed

    @property
    def follows(self) -> bool:
        """Whether something may follow from what has ended."""
        return bool(self.arrays or self.over)

    async def follow(self) -> bool:
        """See to what ends mean for others: the rest of an array, the array itself, jobs that waited for them.

        Tells whether the feed has news.
        """
        news = False
        arrays = frozenset(self.arrays)
        if arrays:
            news = bool(await jobs.stop_overrun(self._store, sorted(arrays)))
            for array_id in await jobs.finish_arrays(self._store, sorted(arrays)):
                self._registry.stop_over(array_id)
                self.changed.append(array_id)
                self.over.add(array_id)
            self.arrays -= arrays  # only now: a call that fails leaves them for the next turn
        return await self._release() or news

    async def _release(self) -> bool:
        """Let those go on that waited for what has ended. Tells whether the feed has news."""
        over = frozenset(self.over)
        if not over:
            return False
        self._failed = True
        released = await dependencies.release(self._store, sorted(over))
        self._failed = False
        self.over -= over
        self.changed += released.changed
        return bool(released.changed)

    async def settle_gone(self, batch: Sequence[Settlement]) -> None:
        if not batch:
            return
        rows = await jobs.ends(self._store, [entry.ref for entry in batch])
        judged = [
            settlements.judge_gone(entry, rows[entry.ref], self._crash_limit, self._chance.random())
            for entry in batch
            if entry.ref in rows
        ]
        await self.settle(judged)
        lost = {entry.ref for entry in batch} - rows.keys()
        await self.refresh(list(lost))

    async def judge(self, ends: Sequence[Ended]) -> list[Settlement]:
        """Successes need no look at the job; the others are judged with its spec and what it has been through."""
        good = [settlements.succeeded(end) for end in ends if end.reason is EndReason.COMPLETED]
        bad = [end for end in ends if end.reason is not EndReason.COMPLETED]
        if not bad:
            return good
        rows = await jobs.ends(self._store, [end.ref for end in bad])
        stale = [end.ref for end in bad if end.ref not in rows]
        if stale:
            await jobs.supersede(self._store, stale)
            await self.refresh(stale)
        return good + [
            settlements.judge(end, rows[end.ref], self._crash_limit, self._chance.random())
            for end in bad
            if end.ref in rows
        ]

    async def settle(self, batch: Sequence[Settlement]) -> None:
        if not batch:
            return
        unique = {entry.ref: self._quiet(entry) for entry in batch}
        self.in_doubt |= unique.keys()
        won = await jobs.settle(self._store, list(unique.values()))
        self.in_doubt -= unique.keys()
        if won:
            self._say([AssignmentEnded(e.ref.job_id, e.worker_id, unique[e.ref].ran_ms) for e in won])
        for entry in won:
            self._registry.over(entry.ref.job_id, entry.ref.fence)
            if entry.array_id is not None:
                self.arrays.add(entry.array_id)
            self.changed.append(entry.ref.job_id)
            if entry.state in (JobState.QUEUED, JobState.SCHEDULED):
                self.requeued = True
            elif entry.waited_for:  # who comes later is seen by the feed, which is read after this commit
                self.over.add(entry.ref.job_id)
        self._written([(unique[entry.ref], entry) for entry in won])
        passed = {entry.ref for entry in won}
        for row in unique.values():
            if row.crashes and row.ref in passed:
                self._journal("warning", row.assignment_message, job_id=row.ref.job_id, reason=row.assignment_reason)
        lost = unique.keys() - passed
        if lost:
            await jobs.supersede(self._store, list(lost))
            await self.refresh(list(lost))

    async def clear_doubts(self) -> None:
        """Look at the rows of verdicts whose commit is in doubt."""
        await self.refresh(sorted(self.in_doubt))
        self.in_doubt.clear()

    async def refresh(self, refs: Sequence[JobRef]) -> None:
        """A guarded write did not pass: the row knows better than the registry."""
        if not refs:
            return
        rows = {row["id"]: row for row in await self._store.fetch(sql("refresh"), [ref.job_id for ref in refs])}
        for ref in refs:
            row = rows.get(ref.job_id)
            live = self._registry.live.get(ref.job_id)
            if live is None or live.ref != ref:
                continue
            if row is None or row["fence"] != ref.fence or row["state"] not in ("starting", "running", "stopping"):
                self._registry.over(ref.job_id, ref.fence)
                self._say([AssignmentEnded(ref.job_id, live.worker_id)])
                if row is not None and row["state"] not in FINAL:
                    self.must_resync = True  # it was queued again while the Scheduler took it for placed
            else:
                live.orders = (row["orders_epoch"], row["orders_seq"])
