"""The fake store's rows with their indexes, open transactions and job events."""

from bisect import insort
from collections.abc import Callable
from heapq import heappush
from typing import Any

from rows import Dependency, Record, Row, change, check

from swarmsync.model.job import JobRef, Settlement
from swarmsync.model.lifecycle import Actor
from swarmsync.model.worker import WorkerView

WAKES = frozenset({"queued", "stopping", "held", "cancelled", "expired", "blocked"})


class Ledger:
    """The rows, the indexes that the statements use, and the events that the feed reads."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self.jobs: dict[int, Row] = {}
        self.placed: dict[int, Row] = {}
        self.queued: dict[int, Row] = {}
        self.unfinished: dict[int, Row] = {}
        self.members: dict[int, list[Row]] = {}
        self.records: dict[JobRef, Record] = {}
        self.needs: dict[tuple[int, int], Dependency] = {}  # by (job, the job it waits for)
        self.workers: dict[str, tuple[WorkerView, str]] = {}
        self.epoch = 0
        self.open_xids: set[int] = set()
        self._xid = 100
        self._seq = 0
        self._wakes: list[tuple[int, int, int]] = []  # (xid, seq, job id)
        self._runs: list[tuple[int, int]] = []  # (run_at, job id)
        self._expiring: dict[int, Row] = {}
        self._worker_ids = 0
        self.on_dispatch: Callable[[Row], None] = lambda _row: None
        self.on_settle: Callable[[Row, Settlement, str], None] = lambda _row, _entry, _before: None
        self.on_final: Callable[[Row], None] = lambda _row: None

    # ------------------------------------------------ transactions and events

    def begin(self) -> int:
        """A transaction that stays open for a while: its events appear with the number it got now."""
        self._xid += 1
        self.open_xids.add(self._xid)
        return self._xid

    def end(self, xid: int) -> None:
        self.open_xids.discard(xid)

    def next_xid(self) -> int:
        self._xid += 1
        return self._xid

    def xmin(self) -> int:
        return min(self.open_xids, default=self._xid + 1)

    def tell(self, xid: int, row: Row) -> None:
        """Insert the job event of a change."""
        if row.state in WAKES:
            self._seq += 1
            insort(self._wakes, (xid, self._seq, row.id))

    def write(self, row: Row, by: Actor, **new: Any) -> None:
        """Change a row under all rules, and keep the indexes."""
        before = row.state
        change(row, by, **new)
        if row.state != before:
            self._index(row)

    def _index(self, row: Row) -> None:
        for index, belongs in (
            (self.queued, row.state == "queued" and not row.is_array),
            (self.placed, row.assignment_state is not None),
            (self.unfinished, row.finished_at is None),
        ):
            if belongs:
                index[row.id] = row
            else:
                index.pop(row.id, None)
        if row.state == "scheduled" and row.run_at is not None:
            heappush(self._runs, (row.run_at, row.id))
        if row.finished_at is not None:
            self.on_final(row)

    def insert(self, row: Row, xid: int) -> None:
        check(row)
        self.jobs[row.id] = row
        if row.array_id is not None:
            self.members.setdefault(row.array_id, []).append(row)
        for parent_id, condition in row.after:
            self.needs[row.id, parent_id] = Dependency(condition)
        if row.expires_at is not None:
            self._expiring[row.id] = row
        self._index(row)
        self.tell(xid, row)
