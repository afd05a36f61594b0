"""All that the Scheduler knows: workers, waiting lines, who is placed, limits, shares, run times; and how lines queue.

A waiting line stands in one place: in the queue of its shape, under its rank, or at a closed gate. Shapes that may have
room are awake; a turn looks at no others, so parked lines cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush, heapreplace
from typing import Any, Final

from engine.scheduler.backlog import Backlog, Line, Terms
from engine.scheduler.cluster_view import ClusterView, Machine, Shape
from engine.scheduler.fair_share import FairShare, dominant
from engine.scheduler.limits import Gate, Limits
from engine.scheduler.ranking import Policy, Standing, width
from engine.scheduler.run_times import GUESS_MS, NEVER_MS, OVERDUE, RunTimes
from swarmsync.model.job import Waiting
from swarmsync.model.limits import QueueLimits, UserLimits

#: With so many waiting lines per millisecond between two renewals of all ranks, renewing costs a tenth of the time.
LINES_PER_MS: Final = 64

Entry = tuple[tuple[Any, ...], int, Line]


class Assigned:
    """A job that is placed, and what it counts against."""

    __slots__ = ("at_ms", "bound_ms", "gates", "terms", "worker_id")

    def __init__(self, worker_id: int, terms: Terms, gates: tuple[Gate, ...], at_ms: int, bound_ms: int) -> None:
        self.worker_id = worker_id
        self.terms = terms
        self.gates = gates
        self.at_ms = at_ms
        self.bound_ms = bound_ms


class Books:
    def __init__(self, backlog_jobs_max: int, policy: Policy) -> None:
        self.policy = policy
        self.backlog = Backlog(backlog_jobs_max)
        self.awake: dict[Shape, None] = {}
        self.cluster = ClusterView(self.wake)
        self.limits = Limits()
        self.shares = FairShare()
        self.run_times = RunTimes(learn=policy.learns)
        self.assigned: dict[int, Assigned] = {}
        self.now_ms = 0
        self._order = 0
        self._renew_ms = 0
        self._levels: dict[int, float] = {}

    # ------------------------------------------------ waiting

    def add(self, job: Waiting) -> Line | None:
        """Take a waiting job in; None when the backlog is full."""
        line = self.backlog.add(job, self.now_ms)
        if line is None:
            return None
        if line.jobs == 1 and line.rank is None and line.gate is None:
            self.open(line)
        elif line.gate is None and line.first is not None and line.first.heap[0] == job.job_id:
            self.queue(line)  # the new one may be its first; were it behind one that is gone, `top` would notice
        return line

    def open(self, line: Line) -> None:
        """Give a line its shape and gates, and put it into the queue."""
        line.shape = self.cluster.open_shape(line.terms, spread=self.limits.spreads(line.terms.queue))
        line.gates = self.limits.gates_for(line.terms)
        for gate in line.gates:
            gate.lines += 1
        self.queue(line)

    def remove(self, job_id: int) -> Line | None:
        """Forget a waiting job; return the line in which it stood."""
        return self.backlog.remove(job_id)

    def emptied(self, line: Line) -> bool:
        """Drop a line that has no job left; False when it has some."""
        if line.jobs or self.backlog.lines.get(line.name) is not line:
            return False
        self.backlog.close(line)
        self.cluster.close_shape(line.shape)
        if line.shape.lines == 0:
            self.awake.pop(line.shape, None)
        self.limits.close_line(line.gates)
        line.rank = line.standing = line.gate = None
        return True

    def wake(self, shape: Shape) -> None:
        if shape.lines:
            self.awake[shape] = None

    # ------------------------------------------------ the queue of a shape

    def rank(self, line: Line) -> tuple[Any, ...]:
        return self.policy.order(self.standing(line))

    def _rank_anew(self, line: Line) -> tuple[Any, ...]:
        """Give a line the rank that it has now; the line keeps what that was made from."""
        line.standing = self.standing(line)
        line.rank = rank = self.policy.order(line.standing)
        return rank

    def standing(self, line: Line) -> Standing:
        head = self.backlog.head(line)
        assert head is not None
        terms = line.terms
        estimate_ms, line.bound_ms = self.run_times.both_ms(terms)
        return Standing(
            head[0],
            head[1],
            self.backlog.since(head[1]),
            estimate_ms,
            line.bound_ms,
            terms.timed,
            dominant(terms.need, self.cluster.total),
            self._level(terms.user_id) if self.policy.changes else 0.0,
            self.now_ms,
            width(terms.need),
        )

    def _level(self, user_id: int) -> float:
        """Return what a user has had, as of the last renewal: ranks of one renewal can be compared."""
        level = self._levels.get(user_id)
        if level is None:
            weight = self.limits.weight_of(user_id)
            level = self._levels[user_id] = self.shares.level(user_id, weight, self.now_ms)
        return level

    def queue(self, line: Line) -> None:
        """Put a line into its shape's queue; what stood there of it before counts no more."""
        rank = self._rank_anew(line)
        self._order += 1
        heappush(line.shape.queue, (rank, self._order, line))
        self.awake[line.shape] = None

    def top(self, shape: Shape) -> Line | None:
        """Return the first line of a shape's queue, under its present rank; None when none stands there."""
        queue = shape.queue
        while queue:
            rank, _, line = queue[0]
            if line.rank is not rank or line.jobs == 0:
                heappop(queue)
                continue
            head = self.backlog.head(line)
            assert head is not None
            if head[1] == rank[-1] and head[0] == -rank[0]:
                return line
            self.requeue(line)  # it has another head than when it came here
        return None

    def requeue(self, line: Line) -> None:
        """Rank the line that stands first in its shape's queue anew, for its head is another; else it is as it was."""
        head, standing, rank = self.backlog.head(line), line.standing, line.rank
        assert head is not None
        assert standing is not None
        assert rank is not None
        priority, job_id = head
        since_ms, now_ms = self.backlog.since(job_id), self.now_ms
        standing.job_id = job_id
        if since_ms == standing.since_ms and now_ms == standing.now_ms and priority == standing.priority:
            rank = (*rank[:-1], job_id)  # what a policy would make of it
        else:
            standing.priority, standing.since_ms, standing.now_ms = priority, since_ms, now_ms
            rank = self.policy.order(standing)
        line.rank = rank
        self._order += 1
        heapreplace(line.shape.queue, (rank, self._order, line))

    def unqueue(self, line: Line) -> None:
        """Take out the line that `top` has just shown."""
        heappop(line.shape.queue)
        line.rank = None

    def renew(self) -> None:
        """Rank all queued lines anew, where ranks change with time; the more there are, the less often."""
        if not self.policy.changes or self.now_ms < self._renew_ms or not self.awake:
            return
        self._renew_ms = self.now_ms + len(self.backlog.lines) // LINES_PER_MS
        self._levels.clear()
        for shape in self.cluster.shapes.values():
            lines = [line for rank, _, line in shape.queue if line.rank is rank and line.jobs]
            shape.queue = []
            for line in lines:
                rank = self._rank_anew(line)
                self._order += 1
                shape.queue.append((rank, self._order, line))
            heapify(shape.queue)

    def closed_gate(self, line: Line) -> Gate | None:
        for gate in line.gates:
            if gate.closed(line.terms, self.now_ms):
                return gate
        return None

    # ------------------------------------------------ placed

    def place(self, line: Line, job_id: int, machine: Machine) -> None:
        terms = line.terms
        self.backlog.take(job_id)
        self.cluster.place(job_id, terms.need, machine)
        if job_id in self.assigned:
            self.left(job_id)
        self._enter(job_id, Assigned(machine.view.worker_id, terms, line.gates, self.now_ms, line.bound_ms))
        if line.gates:
            self.limits.started(job_id, terms, line.gates, self.now_ms)

    def recall(self, job_id: int, worker_id: int, terms: Terms, at_ms: int) -> None:
        """A job that was placed before this core began."""
        self.left(job_id)
        gates = self.limits.gates_for(terms)
        self._enter(job_id, Assigned(worker_id, terms, gates, at_ms, self.run_times.bound_ms(terms)))

    def _enter(self, job_id: int, known: Assigned) -> None:
        self.assigned[job_id] = known
        if known.gates:
            self.limits.enter(job_id, known.terms, known.gates)
        self.shares.hold(known.terms.user_id, known.terms.need, self.cluster.total, self.now_ms)

    def end(self, job_id: int, worker_id: int, ran_ms: int | None, *, void: bool = False) -> None:
        self.cluster.end(job_id, worker_id)
        known = self.assigned.get(job_id)
        if known is None or known.worker_id != worker_id:
            return
        if ran_ms is not None:
            self.run_times.learn(known.terms, ran_ms)
        self.left(job_id, void=void)

    def left(self, job_id: int, *, void: bool = False) -> None:
        known = self.assigned.pop(job_id, None)
        if known is not None:
            if known.gates:
                self.limits.leave(job_id, known.gates, void=void)
            self.shares.release(known.terms.user_id, known.terms.need, self.cluster.total, self.now_ms)

    def ends_of(self, job_ids: Iterable[int]) -> list[tuple[int, int]]:
        """Return when placed jobs are expected to end, and which they are; none is expected to have ended."""
        return self._ends(job_ids, latest=False)

    def latest_ends_of(self, job_ids: Iterable[int]) -> list[tuple[int, int]]:
        """Return the same at the worst: until their timeout, or as long as the longest of their users' last ones."""
        return self._ends(job_ids, latest=True)

    def _ends(self, job_ids: Iterable[int], *, latest: bool) -> list[tuple[int, int]]:
        assigned, now_ms = self.assigned, self.now_ms
        ends = []
        for job_id in job_ids:
            known = assigned.get(job_id)
            if known is None:
                end_ms = now_ms + (NEVER_MS if latest else GUESS_MS)
            else:
                bound_ms = max(known.bound_ms, self.run_times.longest_ms(known.terms)) if latest else known.bound_ms
                end_ms = known.at_ms + bound_ms
                if end_ms <= now_ms:
                    end_ms = known.at_ms + OVERDUE * max(now_ms - known.at_ms, 1)
            ends.append((end_ms, job_id))
        return ends

    def are_guesses(self, job_ids: Iterable[int]) -> bool:
        """Whether it is a guess when some of these placed jobs end."""
        return any((known := self.assigned.get(job_id)) is None or not known.terms.timed for job_id in job_ids)

    # ------------------------------------------------ limits

    def change_limits(self, queues: tuple[QueueLimits, ...], users: tuple[UserLimits, ...]) -> None:
        """Take over new limits: who counts against what is found anew for every line and every placed job."""
        self.limits.replace(queues, users)
        for job_id, known in self.assigned.items():
            known.gates = self.limits.gates_for(known.terms)
            self.limits.enter(job_id, known.terms, known.gates)
        for line in self.backlog.lines.values():
            if line.shape.spread != self.limits.spreads(line.terms.queue):
                old, line.rank = line.shape, None
                self.cluster.close_shape(old)
                if old.lines == 0:
                    self.awake.pop(old, None)
                line.shape = self.cluster.open_shape(line.terms, spread=not old.spread)
            line.gate, line.gates = None, self.limits.gates_for(line.terms)
            for gate in line.gates:
                gate.lines += 1
            self.queue(line)
