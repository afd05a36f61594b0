"""The decision: events in, placements out. Pure; the engine, the bench and the simulation run this same code.

A turn takes what happened, then hands out room in two phases. In order: the most urgent line among those whose shape
may fit somewhere is next, until one finds no room; for that one a worker is reserved. Filling: all others may use what
is left, the reserved worker only where that does not delay the job it is kept for. A line whose limit is used up stands
at its gate; a shape that fits nowhere sleeps until room grows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush, heapreplace
from typing import Any, Final, assert_never

from msgspec import Struct

from engine.scheduler import why
from engine.scheduler.backlog import Backlog, Line, Terms
from engine.scheduler.books import Books
from engine.scheduler.cluster_view import ClusterView, Machine, Shape
from engine.scheduler.ranking import DEFAULT, Policy
from engine.scheduler.reservation import Reservation, earliest, forecast
from engine.scheduler.telling import REPORT_MS, Telling
from swarmsync.model.job import Waiting
from swarmsync.model.lifecycle import Liveness
from swarmsync.protocol.messages import (
    Answer,
    Ask,
    AssignmentEnded,
    JobsDue,
    JobsSubmitted,
    LimitsChanged,
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

__all__ = ["REPORT_MS", "Scheduler"]

FILLING_LINES_MAX: Final = 1_000  # how many lines may try to pass a blocked job in one turn
MANY_WORKERS: Final = 256  # beyond, a worker to reserve is looked for less often


class Recalled(Struct, frozen=True):
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
        self.reserved: Reservation | None = None
        self._seek = True  # there may be a job to reserve for
        self._reconsider = False  # another job may now be the one to reserve for
        self._seek_ms = 0
        self._looked = False  # in this turn, for lines that sleep and go before those that are awake
        self._asleep: tuple[Any, ...] | None = None  # the rank of the first that was not tried yet
        self._heads: list[tuple[tuple[Any, ...], int, Shape]] = []
        self._order = 0

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

    def recall(self, placed: Iterable[Recalled], starts: Iterable[tuple[str, int, int]], now_ms: int) -> None:
        """Learn of jobs placed before this core began, and of starts (key, job, ms ago; oldest first) that still count.

        Comes after the limits, and before the workers that hold these jobs.
        """
        self.books.now_ms = now_ms
        for entry in placed:
            self.books.recall(entry.job_id, entry.worker_id, entry.terms, now_ms - entry.age_ms)
        for key, job_id, ago_ms in starts:
            self.books.limits.recall_start(key, job_id, now_ms - ago_ms)

    def handle(self, events: Iterable[ToScheduler], *, now_ms: int, places_max: int) -> list[ToDispatcher]:
        """Take in `events`, then decide at most `places_max` placements; what has no room stays undecided."""
        books = self.books
        books.now_ms = max(now_ms, books.now_ms)
        effects: list[ToDispatcher] = []
        asked: list[Ask] = []
        for event in events:
            self._take(event, effects, asked)
        for line in books.limits.wake(books.now_ms):
            if line.jobs:
                books.queue(line)
        if places_max > 0:
            self._place(places_max, effects)
        if self._left_out and len(books.backlog) <= self._backlog_jobs_max // 2:
            self._left_out, self.wants_resync = False, True
        self._telling.tell(self.reserved, effects)
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
        self._seek = self._reconsider = True
        self._telling.all_may_have_changed()

    def _add(self, jobs: Sequence[Waiting], effects: list[ToDispatcher]) -> None:
        for job in jobs:
            if job.job_id in self.cluster.placed:
                continue  # a repeat of old news; were it requeued, AssignmentEnded would have come first
            old = self.backlog.line_of(job.job_id)
            line = self.books.add(job)
            if line is None or len(self.backlog) >= self._backlog_jobs_max:
                self._left_out = True
            if line is not None and line.jobs == 1:
                self._telling.may_have_changed(line)
            if old is not None and old is not line:
                self._emptied(old, effects)

    def _emptied(self, line: Line, effects: list[ToDispatcher]) -> None:
        if self.books.emptied(line):
            self._telling.forget(line, effects)

    # ------------------------------------------------ the decision

    def _place(self, places_max: int, effects: list[ToDispatcher]) -> None:
        books = self.books
        books.renew()
        self._looked = False
        self._check_reservation()
        self._heads = []
        for shape in list(books.awake):
            self._enlist(shape)
        heapify(self._heads)
        left = self._in_order(places_max, effects)
        if left > 0 and self.reserved is None and self._seek:
            self._reserve_for_first()
        if left > 0 and self._heads and books.policy.backfill:
            self._fill(left, effects)

    def _enlist(self, shape: Shape) -> None:
        line = self.books.top(shape)
        if line is None or line.rank is None:
            self.books.awake.pop(shape, None)
        else:
            self._order += 1
            self._heads.append((line.rank, self._order, shape))

    def _in_order(self, places: int, effects: list[ToDispatcher]) -> int:
        """Place best-first until the first line that has no room; return how many placements are left."""
        books, heads = self.books, self._heads
        while heads and places > 0:
            rank, _, shape = heads[0]
            line = books.top(shape)
            if line is None or line.rank is None:
                heappop(heads)
                books.awake.pop(shape, None)
                continue
            if line.rank > rank:
                self._order += 1
                heapreplace(heads, (line.rank, self._order, shape))
                continue
            if self._goes_after_reserved(line):
                return places
            if (
                self.reserved is None
                and self._seek
                and self._asleep_before(line.rank)
                and self._reserve_for_first(line.rank)
            ):
                return places
            gate = books.closed_gate(line)
            if gate is not None:
                self._stand(line, gate)
                continue
            machine = books.cluster.choose(shape) or self._reserved_room(line)
            if machine is None:
                heappop(heads)
                books.awake.pop(shape, None)
                self._telling.may_have_changed(line)
                self._seek = True
                self._reserve(line)
                continue
            self._put(line, machine, effects)
            places -= 1
        return places

    def _put(self, line: Line, machine: Machine, effects: list[ToDispatcher]) -> None:
        """Place the head of the first line of its shape's queue."""
        books = self.books
        head = books.backlog.head(line)
        assert head is not None
        job_id, rules = head[1], line.terms.rules
        books.unqueue(line)
        books.place(line, job_id, machine)
        effects.append(Place(job_id, machine.view.worker_id, rules is not None and rules.limited))
        if line.jobs:
            books.queue(line)
        else:
            self._emptied(line, effects)
        if self.reserved is not None and self.reserved.job_id == job_id:
            self._release()

    def _stand(self, line: Line, gate: Any) -> None:
        rank = line.rank
        assert rank is not None
        self.books.unqueue(line)
        self.books.limits.stand(line, gate, rank)
        self._telling.may_have_changed(line)

    # ------------------------------------------------ filling

    def _fill(self, places: int, effects: list[ToDispatcher]) -> None:
        """Let others use what is left, in the policy's order, where they do not delay the blocked job."""
        books = self.books
        candidates = self._candidates()
        heapify(candidates)
        full: set[Shape] = set()
        waiting: list[Line] = []
        while candidates and places > 0:
            rank, _, line = candidates[0]
            if line.shape in full:
                waiting.append(heappop(candidates)[2])
                continue
            if books.policy.changes and (now := books.policy.filling(books.standing(line))) > rank:
                self._order += 1
                heapreplace(candidates, (now, self._order, line))
                continue
            gate = books.closed_gate(line)
            if gate is not None:
                heappop(candidates)
                books.limits.stand(line, gate, books.rank(line))
                self._telling.may_have_changed(line)
                continue
            machine = books.cluster.choose(line.shape)
            if machine is None:
                if self._may_pass(line):
                    assert self.reserved is not None
                    machine = books.cluster.machines[self.reserved.worker_id]
                else:
                    waiting.append(heappop(candidates)[2])
                    self._telling.may_have_changed(line)
                    if not self._reserved_fits(line.shape):
                        full.add(line.shape)
                    continue
            self._pass(line, machine, effects)
            places -= 1
            if line.jobs:
                self._order += 1
                heapreplace(candidates, (books.policy.filling(books.standing(line)), self._order, line))
            else:
                heappop(candidates)
        for line in waiting:
            books.queue(line)
        for shape in {line.shape for line in waiting}:
            books.awake.pop(shape, None)
        for _, _, line in candidates:
            books.queue(line)
        for _, _, shape in self._heads:
            books.wake(shape)

    def _candidates(self) -> list[tuple[tuple[Any, ...], int, Line]]:
        """Take so many lines out of the queues of the awake shapes, the most urgent first."""
        books, heads = self.books, self._heads
        found: list[tuple[tuple[Any, ...], int, Line]] = []
        blocked = None if self.reserved is None else self.reserved.line_name
        kept: list[Line] = []
        while heads and len(found) < FILLING_LINES_MAX:
            shape = heads[0][2]
            line = books.top(shape)
            if line is None:
                heappop(heads)
                books.awake.pop(shape, None)
                continue
            books.unqueue(line)
            if line.name == blocked:
                kept.append(line)
            else:
                self._order += 1
                found.append((books.policy.filling(books.standing(line)), self._order, line))
            following = books.top(shape)
            if following is None or following.rank is None:
                heappop(heads)
            else:
                self._order += 1
                heapreplace(heads, (following.rank, self._order, shape))
        for line in kept:
            awake = line.shape in books.awake
            books.queue(line)
            if not awake:
                books.awake.pop(line.shape, None)
        return found

    def _pass(self, line: Line, machine: Machine, effects: list[ToDispatcher]) -> None:
        """Place the head of a line that was taken out of its queue."""
        books = self.books
        head = books.backlog.head(line)
        assert head is not None
        if machine.reserved and self.reserved is not None:
            self.reserved.admit(line.terms.need, books.now_ms + books.run_times.estimate_ms(line.terms))
        rules = line.terms.rules
        books.place(line, head[1], machine)
        effects.append(Place(head[1], machine.view.worker_id, rules is not None and rules.limited))
        if not line.jobs:
            self._emptied(line, effects)

    # ------------------------------------------------ the reservation

    def _check_reservation(self) -> None:
        """Give up a reservation whose job or worker is gone, or whose job met a limit."""
        held = self.reserved
        if held is None:
            return
        line = self.backlog.lines.get(held.line_name)
        machine = self.cluster.machines.get(held.worker_id)
        if (
            line is None
            or line.gate is not None
            or self.backlog.head(line) is None
            or line.shape is not held.shape
            or machine is None
            or not machine.view.assignable
            or not held.shape.could_run(machine.view)
            or self.books.closed_gate(line) is not None
        ):
            self._release()
            return
        head = self.backlog.head(line)
        assert head is not None
        held.job_id, held.rank, held.fresh = head[1], self.books.rank(line), False
        if self._reconsider:
            self._reconsider = False
            self._reserve_for_first(held.rank)
            self._looked = False

    def _release(self) -> None:
        held = self.reserved
        assert held is not None
        self.reserved, self._seek, self._looked = None, True, False
        machine = self.cluster.machines.get(held.worker_id)
        if machine is None:
            return
        before = set(self.books.awake)
        self.cluster.unreserve(machine)
        for shape in self.books.awake:
            if shape not in before:
                line = self.books.top(shape)
                if line is not None and line.rank is not None:
                    self._order += 1
                    heappush(self._heads, (line.rank, self._order, shape))

    def _reserve(self, line: Line) -> bool:
        """Keep a worker for the first job of this line, which has no room now; False when no worker could be kept."""
        books = self.books
        assert line.rank is not None
        if books.now_ms < self._seek_ms:
            return False
        if len(books.cluster.machines) > MANY_WORKERS:
            self._seek_ms = books.now_ms + len(books.cluster.machines) // 8
        found = earliest(line.shape, books.cluster.machines.values(), books.end_of, books.now_ms)
        if found is None:
            return False
        if self.reserved is not None:
            self._release()
        head = books.backlog.head(line)
        assert head is not None
        machine = found[1]
        books.cluster.reserve(machine)
        self.reserved = Reservation(line.name, head[1], line.rank, line.shape, machine.view.worker_id)
        self._seek = False
        return True

    def _asleep_before(self, rank: tuple[Any, ...]) -> bool:
        return not self._looked or (self._asleep is not None and self._asleep < rank)

    def _reserve_for_first(self, before: tuple[Any, ...] | None = None) -> bool:
        """Reserve for the most urgent of the lines that sleep for want of room (if it goes before this rank)."""
        books = self.books
        self._looked, self._asleep = True, None
        if books.now_ms < self._seek_ms:
            return False
        blocked = [
            (line.rank, place, line)
            for place, shape in enumerate(books.cluster.shapes.values())
            if shape not in books.awake and (line := books.top(shape)) is not None and line.rank is not None
        ]
        heapify(blocked)
        tried = 0
        while blocked and tried < 8:
            rank, _, line = heappop(blocked)
            if before is not None and rank > before:
                self._asleep = rank
                return False
            tried += 1
            if books.closed_gate(line) is None and self._reserve(line):
                return True
        if before is None:
            self._seek = False
        return False

    def _goes_after_reserved(self, line: Line) -> bool:
        held = self.reserved
        if held is None or line.rank is None or line.name == held.line_name or line.rank <= held.rank:
            return False
        held.rank = self.books.rank(self.backlog.lines[held.line_name])  # it may have changed in this turn
        return line.rank > held.rank

    def _reserved_fits(self, shape: Shape) -> Machine | None:
        held = self.reserved
        machine = None if held is None else self.cluster.machines.get(held.worker_id)
        if machine is None or not machine.view.assignable or not machine.fits(shape.need):
            return None
        return machine if shape.admits(machine.view) else None

    def _reserved_room(self, line: Line) -> Machine | None:
        """Return the reserved worker for the job it is kept for, and for those that go before it."""
        held = self.reserved
        if held is None or (line.name != held.line_name and (line.rank is None or line.rank > held.rank)):
            return None
        return self._reserved_fits(line.shape)

    def _may_pass(self, line: Line) -> bool:
        held = self.reserved
        machine = self._reserved_fits(line.shape)
        if held is None or machine is None:
            return False
        books = self.books
        if not held.fresh:
            seen = forecast(machine, held.shape.need, books.end_of, books.now_ms)
            assert seen is not None
            (held.shadow_ms, held.extra), held.fresh = seen, True
        return held.allows(line.terms.need, books.now_ms + books.run_times.estimate_ms(line.terms))
