"""One turn's placements: first in order, then filling what is left. `placement.py` tells it what happened."""

from __future__ import annotations

from heapq import heapify, heappop, heappush, heapreplace
from typing import Any, Final

from engine.scheduler.backlog import Line
from engine.scheduler.books import Books
from engine.scheduler.cluster_view import Machine, Shape
from engine.scheduler.keeping import Keeping
from engine.scheduler.limits import Gate
from engine.scheduler.telling import Telling
from swarmsync.protocol.messages import Place, ToDispatcher

FILLING_LINES_MAX: Final = 1_000  # how many lines may try to pass a blocked job in one turn


class Decision:
    def __init__(self, books: Books, telling: Telling) -> None:
        self._books = books
        self._telling = telling
        self.keeping = Keeping(books, self._woken, self._stand)
        self._heads: list[tuple[tuple[Any, ...], int, Shape, Line]] = []  # of each awake shape its first line
        self._order = 0

    def _woken(self, shape: Shape) -> None:
        line = self._books.top(shape)
        if line is not None and line.rank is not None:
            self._order += 1
            heappush(self._heads, (line.rank, self._order, shape, line))

    def _emptied(self, line: Line, effects: list[ToDispatcher]) -> None:
        if self._books.emptied(line):
            self._telling.forget(line, effects)

    def place(self, places_max: int, effects: list[ToDispatcher]) -> None:
        books = self._books
        books.renew()
        self.keeping.begin()
        self._heads = []
        for shape in list(books.awake):
            self._enlist(shape)
        heapify(self._heads)
        left = self._in_order(places_max, effects)
        if left > 0 and self.keeping.reserved is None and self.keeping.seek:
            self.keeping.reserve_for_first()
        if left > 0 and self._heads and books.policy.backfill:
            self._fill(left, effects)

    def _enlist(self, shape: Shape) -> None:
        line = self._books.top(shape)
        if line is None or line.rank is None:
            self._books.awake.pop(shape, None)
        else:
            self._order += 1
            self._heads.append((line.rank, self._order, shape, line))

    def _in_order(self, places: int, effects: list[ToDispatcher]) -> int:
        """Place best-first until the first line that has no room; return how many placements are left."""
        books, heads, keeping = self._books, self._heads, self.keeping
        while heads and places > 0:
            rank, _, shape, line = heads[0]
            if line.rank is not rank:
                self._renew_first(shape)
                continue
            if keeping.reserved is not None:
                if keeping.goes_after(line):
                    return places
            elif keeping.seek and keeping.asleep_before(line.rank) and keeping.reserve_for_first(line.rank):
                return places
            gate = books.closed_gate(line) if line.gates else None
            if gate is not None:
                self._stand(line, gate)
                continue
            machine = books.cluster.choose(shape) or keeping.room(line)
            if machine is None:
                heappop(heads)
                books.awake.pop(shape, None)
                self._telling.may_have_changed(line)
                keeping.seek = True
                keeping.reserve(line)
                continue
            self._put(line, machine, effects)
            places -= 1
            if heads and heads[0][2] is shape:
                self._go_on(shape, line)
        return places

    def _go_on(self, shape: Shape, line: Line) -> None:
        """Rank the shape that stands first anew, of whose line a job was placed."""
        first = shape.queue[0] if shape.queue else None
        if first is not None and first[2] is line and first[0] is line.rank:  # as most often: its next job
            self._order += 1
            heapreplace(self._heads, (first[0], self._order, shape, line))
        else:
            self._renew_first(shape)

    def _renew_first(self, shape: Shape) -> None:
        """Rank the shape that stands first by the line that is its first by now."""
        line = self._books.top(shape)
        if line is None or line.rank is None:
            heappop(self._heads)
            self._books.awake.pop(shape, None)
        else:
            self._order += 1
            heapreplace(self._heads, (line.rank, self._order, shape, line))

    def _put(self, line: Line, machine: Machine, effects: list[ToDispatcher]) -> None:
        """Place the head of the first line of its shape's queue."""
        books = self._books
        assert line.rank is not None
        job_id, rules = line.rank[-1], line.terms.rules
        books.place(line, job_id, machine)
        effects.append(Place(job_id, machine.view.worker_id, rules is not None and rules.limited))
        if line.jobs:
            books.requeue(line)
        else:
            books.unqueue(line)
            self._emptied(line, effects)
        self.keeping.started(job_id)

    def _stand(self, line: Line, gate: Gate) -> None:
        rank = line.rank
        assert rank is not None
        self._books.unqueue(line)
        self._books.limits.stand(line, gate, rank)
        self._telling.may_have_changed(line)

    # ------------------------------------------------ filling

    def _fill(self, places: int, effects: list[ToDispatcher]) -> None:
        """Let others use what is left, in the policy's order, where they do not delay the blocked job."""
        books = self._books
        candidates = self._candidates()
        heapify(candidates)
        full: set[Shape] = set()
        waiting: list[Line] = []
        while candidates and places > 0:
            line = candidates[0][2]
            if line.shape in full:
                waiting.append(heappop(candidates)[2])
                continue
            gate = books.closed_gate(line)
            if gate is not None:
                heappop(candidates)
                books.limits.stand(line, gate, books.rank(line))
                self._telling.may_have_changed(line)
                continue
            machine = books.cluster.choose(line.shape)
            if machine is None:
                if self.keeping.may_pass(line):
                    assert self.keeping.reserved is not None
                    machine = books.cluster.machines[self.keeping.reserved.worker_id]
                else:
                    waiting.append(heappop(candidates)[2])
                    self._telling.may_have_changed(line)
                    if not self.keeping.fits(line.shape):
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
        for _, _, shape, _ in self._heads:
            books.wake(shape)

    def _candidates(self) -> list[tuple[tuple[Any, ...], int, Line]]:
        """Take so many lines out of the queues of the awake shapes, the most urgent first."""
        books, heads = self._books, self._heads
        found: list[tuple[tuple[Any, ...], int, Line]] = []
        blocked = None if self.keeping.reserved is None else self.keeping.reserved.line_name
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
                heapreplace(heads, (following.rank, self._order, shape, following))
        for line in kept:
            awake = line.shape in books.awake
            books.queue(line)
            if not awake:
                books.awake.pop(line.shape, None)
        return found

    def _pass(self, line: Line, machine: Machine, effects: list[ToDispatcher]) -> None:
        """Place the head of a line that was taken out of its queue."""
        books = self._books
        head = books.backlog.head(line)
        assert head is not None
        if machine.reserved and self.keeping.reserved is not None:
            self.keeping.reserved.admit(line.terms.need, books.now_ms + books.run_times.bound_ms(line.terms))
        rules = line.terms.rules
        books.place(line, head[1], machine)
        effects.append(Place(head[1], machine.view.worker_id, rules is not None and rules.limited))
        self.keeping.started(head[1])
        if not line.jobs:
            self._emptied(line, effects)
