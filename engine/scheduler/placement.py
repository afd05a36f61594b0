"""The decision: events in, placements out. Pure; the engine, the bench and the simulation run this same code.

A turn takes what happened, then hands out room in two phases. In order: the most urgent line among those whose shape
may fit somewhere is next, until one finds no room; for that one a worker is reserved. Filling: all others may use what
is left, the reserved worker only where that does not delay the job it is kept for. A line whose limit is used up stands
at its gate; a shape that fits nowhere sleeps until room grows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, assert_never

from engine.scheduler import why
from engine.scheduler.backlog import Backlog, Line, Terms
from engine.scheduler.books import Books
from engine.scheduler.cluster_view import ClusterView
from engine.scheduler.decision import Decision
from engine.scheduler.ranking import DEFAULT, Policy
from engine.scheduler.reservation import Reservation
from engine.scheduler.telling import REPORT_MS, Telling
from swarmsync.ids import made_ms
from swarmsync.model.job import Waiting
from swarmsync.model.lifecycle import Liveness
from swarmsync.protocol.messages import (
    Answer,
    Ask,
    AssignmentEnded,
    JobsDue,
    JobsSubmitted,
    LimitsChanged,
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

__all__ = ["REPORT_MS", "Scheduler"]

DATED_MS: Final = 1_000  # so fine is what ids tell a core that begins anew


class Recalled(NamedTuple):
    """A placed job, as its row says."""

    job_id: int
    worker_id: int
    terms: Terms
    age_ms: int


class Scheduler:
    """The pure core. `handle` is the only way in while it runs; a replacement starts empty and is told everything."""

    def __init__(self, backlog_jobs_max: int = 5_000_000, policy: Policy = DEFAULT) -> None:
        self.books = Books(backlog_jobs_max, policy)
        self._backlog_jobs_max = backlog_jobs_max
        self.wants_resync = False  # the shell is to read PostgreSQL again, and to begin anew from it
        self._left_out = False  # the backlog was full: PostgreSQL may have jobs that it has not
        self._telling = Telling(self.books)
        self._decision = Decision(self.books, self._telling)

    @property
    def reserved(self) -> Reservation | None:
        return self._decision.keeping.reserved

    def restless(self, now_ms: int) -> bool:
        """Whether a turn at that time may do what the last one left undone; all else has a second."""
        if self.wants_resync or self._telling.due(now_ms):
            return True
        if not len(self.backlog):
            return False
        return bool(self.books.awake) or self._decision.keeping.seek or self.books.limits.due(now_ms)

    @property
    def cluster(self) -> ClusterView:
        return self.books.cluster

    @property
    def backlog(self) -> Backlog:
        return self.books.backlog

    def succeed(self, old: Scheduler, now_ms: int) -> None:
        """Begin anew, but keep what no row says: run times learned, and what users have had."""
        self.books.now_ms = now_ms
        self.books.run_times = old.books.run_times
        self.books.shares.inherit(old.books.shares, now_ms)
        self._decision.keeping.patience.inherit(old._decision.keeping.patience)

    def recall(self, placed: Iterable[Recalled], starts: Iterable[tuple[str, int, int]], now_ms: int) -> None:
        """Learn of jobs placed before this core began, and of starts (key, job, ms ago; oldest first) that still count.

        Comes after the limits, and before the workers that hold these jobs.
        """
        self.books.now_ms = now_ms
        for entry in placed:
            self.books.recall(entry.job_id, entry.worker_id, entry.terms, now_ms - entry.age_ms)
        for key, job_id, ago_ms in starts:
            self.books.limits.recall_start(key, job_id, now_ms - ago_ms)

    def date(self, job_ids: Iterable[int], wall_ms: int, now_ms: int) -> None:
        """Learn how long jobs have waited that this core has not heard of yet: their ids, oldest first, tell it."""
        marked_ms = came_ms = job_id = None
        for job_id in job_ids:
            came_ms = now_ms - max(wall_ms - made_ms(job_id), 0)
            if marked_ms is None or came_ms >= marked_ms + DATED_MS:
                marked_ms = came_ms
                self.books.backlog.mark(job_id, came_ms)
        if job_id is not None and marked_ms is not None and came_ms is not None:
            self.books.backlog.mark(job_id, max(came_ms, marked_ms + 1))  # else the last would seem to come now

    def handle(self, events: Iterable[ToScheduler], *, now_ms: int, places_max: int) -> list[ToDispatcher]:
        """Take in `events`, then decide at most `places_max` placements; what has no room stays undecided."""
        books = self.books
        books.now_ms = max(now_ms, books.now_ms)
        effects: list[ToDispatcher] = []
        asked: list[Ask] = []
        for event in events:
            self._take(event, effects, asked)
        books.cluster.offer_freed()
        for line in books.limits.wake(books.now_ms):
            if line.jobs:
                books.queue(line)
        if places_max > 0:
            self._decision.place(places_max, effects)
        if self._left_out and len(books.backlog) <= self._backlog_jobs_max // 2:
            self._left_out, self.wants_resync = False, True
        self._telling.tell(self.reserved, effects)
        if asked:
            self._decision.keeping.foresee()
        effects += [Answer(ask.reply, why.answer(books, self.reserved, ask)) for ask in asked]
        return effects

    # ------------------------------------------------ what happened

    def _take(self, event: ToScheduler, effects: list[ToDispatcher], asked: list[Ask]) -> None:
        books = self.books
        match event:
            case JobsSubmitted() | JobsDue():
                self._add(event.jobs, effects)
            case AssignmentEnded():
                books.end(event.job_id, event.worker_id, event.ran_ms)
            case PlacementVoid():
                books.end(event.job_id, event.worker_id, None, void=True)
            case StopWanted():
                for job_id in event.job_ids:
                    if job_id in books.cluster.placed:
                        effects.append(Revoke(job_id))
                    elif (line := books.remove(job_id)) is not None:
                        self._emptied(line, effects)
            case WorkerJoined():
                books.cluster.join(event.worker, event.holds)
                self._workers_changed()
            case WorkerChanged():
                books.cluster.change(event.worker_id, event.liveness, event.eligibility)
                self._workers_changed()
            case WorkerLost():
                machine = books.cluster.machines.get(event.worker_id)
                if machine is not None:
                    books.cluster.change(event.worker_id, Liveness.LOST, machine.view.eligibility)
                self._workers_changed()
            case LimitsChanged():
                books.change_limits(event.queues, event.users)
                self._workers_changed()
            case Ask():
                asked.append(event)
            case Resync():
                self.wants_resync = True
            case _:
                assert_never(event)

    def _workers_changed(self) -> None:
        self._decision.keeping.workers_changed()
        self._telling.all_may_have_changed()

    def _add(self, jobs: Sequence[Waiting], effects: list[ToDispatcher]) -> None:
        if len(jobs) >= self._backlog_jobs_max:
            self._left_out = True  # all that was asked for: there may be more, though some of these are placed already
        books, backlog, placed = self.books, self.backlog, self.cluster.placed
        for job in jobs:
            if job.job_id in placed:
                continue  # a repeat of old news; were it requeued, AssignmentEnded would have come first
            old = backlog.line_of(job.job_id)
            line = books.add(job)
            if line is None or len(backlog) >= self._backlog_jobs_max:
                self._left_out = True
            if line is not None and line.jobs == 1:
                self._telling.may_have_changed(line)
            if old is not None and old is not line:
                self._emptied(old, effects)

    def _emptied(self, line: Line, effects: list[ToDispatcher]) -> None:
        if self.books.emptied(line):
            self._telling.forget(line, effects)
