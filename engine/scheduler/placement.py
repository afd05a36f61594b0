"""The decision: events in, placements out. Pure; the engine, the bench and the simulation run this same code.

A turn takes what happened, then hands out jobs best-first: the most urgent head among the lines whose shape may fit
somewhere. A line whose head fits nowhere is parked by the index itself (its heap is empty) until room grows.
"""

from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heapreplace
from typing import Final, assert_never

from msgspec import Struct

from engine.scheduler import refusals
from engine.scheduler.backlog import Backlog, Line
from engine.scheduler.cluster_view import ClusterView
from swarmsync.model.job import Waiting
from swarmsync.model.lifecycle import Liveness, WaitReason
from swarmsync.protocol.messages import (
    Ask,
    AssignmentEnded,
    JobsDue,
    JobsSubmitted,
    LimitsChanged,
    LineWaits,
    Place,
    PlacementVoid,
    Resync,
    Revoke,
    StopWanted,
    ToDispatcher,
    ToScheduler,
    WorkerChanged,
    WorkerJoined,
    WorkerLost,
)

REPORT_MS: Final = 1_000  # a shape's sentence is renewed at most this often


class _Told(Struct):
    reason: WaitReason
    message: str
    at_ms: int


class Scheduler:
    """The pure core. `handle` is the only way in while it runs; a replacement starts empty and is told everything."""

    def __init__(self, backlog_jobs_max: int = 5_000_000) -> None:
        self.cluster = ClusterView()
        self.backlog = Backlog(backlog_jobs_max)
        self._backlog_jobs_max = backlog_jobs_max
        self.wants_resync = False  # the shell is to read PostgreSQL again, and to begin anew from it
        self._left_out = False  # the backlog was full: PostgreSQL may have jobs that it has not
        self._told: dict[int, _Told] = {}
        self._stale: set[int] = set()  # shapes whose sentence may have changed

    def handle(self, events: Iterable[ToScheduler], *, now_ms: int, places_max: int) -> list[ToDispatcher]:
        """Take in `events`, then decide at most `places_max` placements; what has no room stays undecided."""
        effects: list[ToDispatcher] = []
        for event in events:
            self._take(event, effects)
        if places_max > 0:
            self._place(places_max, effects)
        if self._left_out and len(self.backlog) <= self._backlog_jobs_max // 2:
            self._left_out, self.wants_resync = False, True
        self._tell(now_ms, effects)
        return effects

    # ------------------------------------------------ what happened

    def _take(self, event: ToScheduler, effects: list[ToDispatcher]) -> None:
        match event:
            case JobsSubmitted() | JobsDue():
                self._add(event.jobs)
            case AssignmentEnded():
                self.cluster.end(event.job_id, event.worker_id)
            case PlacementVoid():
                self.cluster.end(event.job_id, event.worker_id)
            case StopWanted():
                for job_id in event.job_ids:
                    if job_id in self.cluster.placed:
                        effects.append(Revoke(job_id))
                    else:
                        self.backlog.remove(job_id)
            case WorkerJoined():
                self.cluster.join(event.worker, event.holds)
                self._stale.update(self.backlog.lines)
            case WorkerChanged():
                self.cluster.change(event.worker_id, event.liveness, event.eligibility)
                self._stale.update(self.backlog.lines)
            case WorkerLost():
                machine = self.cluster.machines.get(event.worker_id)
                if machine is not None:
                    self.cluster.change(event.worker_id, Liveness.LOST, machine.view.eligibility)
                self._stale.update(self.backlog.lines)
            case LimitsChanged() | Ask():
                pass
            case Resync():
                self.wants_resync = True
            case _:
                assert_never(event)

    def _add(self, jobs: Sequence[Waiting]) -> None:
        for job in jobs:
            if job.job_id in self.cluster.placed:
                continue  # a repeat of old news; were it requeued, AssignmentEnded would have come first
            line = self.backlog.add(job)
            if line is None or len(self.backlog) >= self._backlog_jobs_max:
                self._left_out = True
            if line is not None and line.jobs == 1:
                self.cluster.open_shape(line.shape, job.need)
                self._stale.add(line.shape)

    # ------------------------------------------------ the decision

    def _place(self, places_max: int, effects: list[ToDispatcher]) -> None:
        heads: list[tuple[int, int, int]] = []  # (-priority, job id, shape)
        for line in list(self.backlog.lines.values()):
            head = self.backlog.head(line)
            if head is None:
                self._close(line, effects)
            elif self.cluster.may_fit(line.shape):
                heads.append((*head, line.shape))
        heapify(heads)
        while heads and places_max > 0:
            shape = heads[0][2]
            line = self.backlog.lines[shape]
            machine = self.cluster.choose(shape, line.need)
            if machine is None:
                heappop(heads)
                self._stale.add(shape)
                continue
            job_id = self.backlog.take(line)
            self.cluster.place(job_id, line.need, machine)
            effects.append(Place(job_id, machine.view.worker_id))
            places_max -= 1
            head = self.backlog.head(line)
            if head is None:
                heappop(heads)
                self._close(line, effects)
            else:
                heapreplace(heads, (*head, shape))

    def _close(self, line: Line, effects: list[ToDispatcher]) -> None:
        self.backlog.close(line)
        self.cluster.close_shape(line.shape)
        self._stale.discard(line.shape)
        if self._told.pop(line.shape, None) is not None:
            effects.append(LineWaits(line.shape, None, ""))

    # ------------------------------------------------ why not

    def _tell(self, now_ms: int, effects: list[ToDispatcher]) -> None:
        for shape in list(self._stale):
            line = self.backlog.lines.get(shape)
            if line is None or self.cluster.may_fit(shape):
                self._stale.discard(shape)
                continue
            told = self._told.get(shape)
            if told is not None and now_ms - told.at_ms < REPORT_MS:
                continue  # stays stale: looked at again in a later turn
            self._stale.discard(shape)
            reason, message = refusals.explain(line.need, self.cluster.machines.values())
            self._told[shape] = _Told(reason, message, now_ms)
            if told is None or (told.reason, told.message) != (reason, message):
                effects.append(LineWaits(shape, reason, message, line.jobs))
