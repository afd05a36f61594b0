"""Whom a worker is kept for: the most urgent job that waits for room, and which others may pass it there."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any, Final

from engine.scheduler.backlog import Line
from engine.scheduler.books import Books
from engine.scheduler.cluster_view import Machine, Shape
from engine.scheduler.limits import Gate
from engine.scheduler.patience import Patience
from engine.scheduler.reservation import Reservation, earliest, emptiest, forecast, passes

MANY_WORKERS: Final = 256  # beyond, a worker to keep is looked for less often
TRIED_MAX: Final = 8  # lines in a turn, of those that some worker could run
LOOKS_MAX: Final = 65_536  # workers in a turn, for lines that none may be able to run
MANY_JOBS: Final = 512  # with more of them placed, which worker has room first is worked out only where it matters
REVIEW_MS: Final = 60_000  # so often is looked whether time alone has put another job first


class Keeping:
    """The reservation in force. `woken` is told of shapes that may fit again when it is given up in a turn.

    `stand` puts the first line of a shape's queue aside, at a gate that is closed to it.
    """

    def __init__(self, books: Books, woken: Callable[[Shape], None], stand: Callable[[Line, Gate], None]) -> None:
        self._books = books
        self._woken = woken
        self._stand = stand
        self.reserved: Reservation | None = None
        self.seek = True  # there may be a job to reserve for
        self.reconsider = False  # another job may now be the one to reserve for
        self._seek_ms = 0
        self._review_ms = 0
        self._looked = False  # in this turn, for lines that sleep and go before those that are awake
        self._asleep: tuple[Any, ...] | None = None  # the rank of the first that was not tried yet
        self._looks = TRIED_MAX  # for how many lines this turn may still look at all workers
        self.patience = Patience()
        self._in_vain: dict[int, Line] = {}  # of this turn: whose first job waits for what may never end
        self._workers = 1  # counts what happens to workers: a shape that none could run need not be looked at till then

    def workers_changed(self) -> None:
        self.seek = self.reconsider = True
        self._workers += 1

    def begin(self) -> None:
        """A turn begins."""
        self._looked = False
        self._in_vain.clear()
        self._looks = max(LOOKS_MAX // (len(self._books.cluster.machines) or 1), TRIED_MAX)
        policy, now_ms = self._books.policy, self._books.now_ms
        if policy.ages or (policy.changes and now_ms >= self._review_ms):
            self.reconsider, self._review_ms = True, now_ms + REVIEW_MS
        self.check()

    def check(self) -> None:
        """Give up a reservation whose job or worker is gone, or whose job met a limit."""
        held = self.reserved
        if held is None:
            return
        if held.rough and not self._alone:
            self.release()
            self._seek_ms = 0  # now it matters which worker is kept
            return
        line = self._books.backlog.lines.get(held.line_name)
        machine = self._books.cluster.machines.get(held.worker_id)
        if (
            line is None
            or line.gate is not None
            or self._books.backlog.head(line) is None
            or line.shape is not held.shape
            or machine is None
            or not machine.view.assignable
            or not held.shape.could_run(machine.view)
            or self._books.closed_gate(line) is not None
        ):
            self.release()
            return
        head = self._books.backlog.head(line)
        assert head is not None
        new = head[1] != held.job_id
        self.reconsider |= new  # a line that sleeps may go before its next
        if held.strict and (new or not self._empties(held.job_id, held.shape, machine)):
            self.release()  # which wakes those that may pass again
            self._seek_ms = 0
            return
        held.job_id, held.rank, held.fresh = head[1], self._books.rank(line), False
        if self.reconsider:
            self.reconsider = False
            in_vain = not held.strict and self._that_empties(held.shape, held.job_id)[1]
            self.reserve_for_first(None if in_vain else held.rank)
            self._looked = False

    def started(self, job_id: int) -> None:
        """The job was placed."""
        self.patience.started(job_id)
        if self.reserved is not None and self.reserved.job_id == job_id:
            self.release()

    def release(self) -> None:
        held = self.reserved
        assert held is not None
        self.reserved, self.seek, self._looked = None, True, False
        machine = self._books.cluster.machines.get(held.worker_id)
        if machine is None:
            return
        before = set(self._books.awake)
        self._books.cluster.unreserve(machine)
        for shape in [shape for shape in self._books.awake if shape not in before]:
            self._woken(shape)

    @property
    def _alone(self) -> bool:
        """Whether all that waits is of one line: nobody could pass its first job, whichever worker is kept for it."""
        return len(self._books.backlog.lines) == 1

    def foresee(self) -> None:
        """Keep the right worker, before somebody is told what another job would meet; and see whom it lets pass."""
        held = self.reserved
        if held is None:
            return
        line = self._books.backlog.lines.get(held.line_name) if held.rough else None
        if line is not None and line.rank is not None:
            self.reserve(line, exactly=True)
        held = self.reserved
        machine = None if held is None else self._books.cluster.machines.get(held.worker_id)
        if held is None or machine is None or not self.patience.is_over(held.job_id, self._books.now_ms):
            return
        empties = self._empties(held.job_id, held.shape, machine)
        if held.strict and not empties:
            self.release()
        else:
            held.strict = empties

    def reserve(self, line: Line, *, exactly: bool = False, last: bool = False) -> bool:
        """Keep a worker for the first job of this line, which has no room now; False when no worker could be kept.

        Who may wait for what never ends has one only as the `last`, when nobody else needs one.
        """
        books, held = self._books, self.reserved
        assert line.rank is not None
        if held is not None and held.strict and held.line_name == line.name:
            self.seek = False
            return True  # another may have room sooner by now, but this one empties
        if not exactly:
            if books.now_ms < self._seek_ms or not self._looks or line.shape.nowhere == self._workers:
                return False
            self._looks -= 1
        head = books.backlog.head(line)
        assert head is not None
        rough, strict = self._alone and len(books.assigned) > MANY_JOBS and not exactly, False
        if rough:
            machine = emptiest(line.shape, books.cluster.machines.values())
        else:
            machine, strict = self._worker_for(line, head[1], last=last or exactly)
        if machine is None:
            if line.name not in self._in_vain:
                line.shape.nowhere = self._workers
            return False
        if len(books.cluster.machines) > MANY_WORKERS:
            self._seek_ms = books.now_ms + len(books.cluster.machines) // 8
        if self.reserved is not None:
            self.release()
        books.cluster.reserve(machine)
        self.reserved = Reservation(line.name, head[1], line.rank, line.shape, machine.view.worker_id, rough=rough)
        self.reserved.strict = strict
        self.seek = False
        return True

    def _worker_for(self, line: Line, job_id: int, *, last: bool) -> tuple[Machine | None, bool]:
        """Return which worker to keep for this job, the first of its line, and whether that is to empty."""
        books = self._books
        empties, in_vain = self._that_empties(line.shape, job_id)
        if empties is not None:
            return empties, True
        if in_vain and not last:
            self._in_vain[line.name] = line
            return None, False
        found = earliest(line.shape, books.cluster.machines.values(), books.ends_of, books.now_ms)
        if found is None:
            return None, False
        if books.policy.bounds:
            self.patience.kept(job_id, books.now_ms, found[0], books.backlog)
        return found[1], False

    def _that_empties(self, shape: Shape, job_id: int) -> tuple[Machine | None, bool]:
        """Return the worker that is to empty for this job, and where there is none whether it may wait in vain."""
        books = self._books
        if not self.patience.is_over(job_id, books.now_ms):
            return None, False
        found = earliest(shape, books.cluster.machines.values(), books.latest_ends_of, books.now_ms)
        if found is None:
            return None, False
        if self.patience.empties(job_id, books.now_ms, found[0]):
            return found[1], False
        return None, books.are_guesses(found[1].holds) and self.patience.in_vain(job_id, books.now_ms, found[0])

    def _empties(self, job_id: int, shape: Shape, machine: Machine) -> bool:
        """Whether this worker is to empty for the job, whose patience is over."""
        books = self._books
        seen = forecast(machine, shape.need, books.latest_ends_of, books.now_ms)
        return seen is not None and self.patience.empties(job_id, books.now_ms, seen[0])

    def asleep_before(self, rank: tuple[Any, ...]) -> bool:
        return not self._looked or (self._asleep is not None and self._asleep < rank)

    def reserve_for_first(self, before: tuple[Any, ...] | None = None) -> bool:
        """Reserve for the most urgent of the lines that sleep for want of room (if it goes before this rank)."""
        books = self._books
        self._looked, self._asleep = True, None
        if books.now_ms < self._seek_ms:
            return False
        blocked = [
            (line.rank, place, line)
            for place, shape in enumerate(books.cluster.shapes.values())
            if shape not in books.awake
            and shape.nowhere != self._workers
            and (line := books.top(shape)) is not None
            and line.rank is not None
            and line.name not in self._in_vain
        ]
        heapify(blocked)
        tried = 0
        while blocked and tried < TRIED_MAX and self._looks:
            rank, place, line = heappop(blocked)
            if before is not None and rank > before:
                self._asleep = rank
                return False
            gate = books.closed_gate(line)
            if gate is not None:
                self._stand(line, gate)  # those behind it may not have its limit
                if (following := books.top(line.shape)) is not None and following.rank is not None:
                    heappush(blocked, (following.rank, place, following))
                continue
            if self.reserve(line):
                return True
            tried += line.shape.nowhere != self._workers and line.name not in self._in_vain
        if before is None and self._in_vain and self.reserve(self._first_in_vain(), last=True):
            return True
        if before is None and (self._looks or not blocked):
            self.seek = False
        return False

    def _first_in_vain(self) -> Line:
        return min(self._in_vain.values(), key=self._books.rank)

    def goes_after(self, line: Line) -> bool:
        held = self.reserved
        if held is None or line.rank is None or line.name == held.line_name or line.rank <= held.rank:
            return False
        held.rank = self._books.rank(self._books.backlog.lines[held.line_name])  # it may have changed in this turn
        return line.rank > held.rank

    def fits(self, shape: Shape) -> Machine | None:
        held = self.reserved
        machine = None if held is None else self._books.cluster.machines.get(held.worker_id)
        if machine is None or not machine.view.assignable or not machine.fits(shape.need):
            return None
        return machine if shape.admits(machine.view) else None

    def room(self, line: Line) -> Machine | None:
        """Return the reserved worker for the job it is kept for, and for those that go before it."""
        held = self.reserved
        if held is None or (line.name != held.line_name and (line.rank is None or line.rank > held.rank)):
            return None
        return self.fits(line.shape)

    def may_pass(self, line: Line) -> bool:
        held = self.reserved
        machine = self.fits(line.shape)
        if held is None or machine is None:
            return False
        books = self._books
        if not held.fresh:
            self._look(held, machine)
        end_ms = books.now_ms + books.run_times.bound_ms(line.terms)
        return passes((held.shadow_ms, held.extra), held, machine, line.terms, end_ms)

    def _look(self, held: Reservation, machine: Machine) -> None:
        """See what this turn's forecast is, and whether guesses count."""
        books, need = self._books, held.shape.need
        seen = forecast(machine, need, books.ends_of, books.now_ms)
        assert seen is not None
        self.patience.passing(held.job_id, books.now_ms, seen[0])
        held.strict = False
        if self.patience.is_over(held.job_id, books.now_ms):
            latest = forecast(machine, need, books.latest_ends_of, books.now_ms)
            if latest is not None and self.patience.empties(held.job_id, books.now_ms, latest[0]):
                seen, held.strict = latest, True
        (held.shadow_ms, held.extra), held.fresh = seen, True
