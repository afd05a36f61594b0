"""What is free where, as far as the Scheduler knows; workers are indexed by how well they would fit.

A shape is what placement asks of a worker: an amount, constraints, wishes. Plain ones, which ask for an amount and for
the best fit, share one index (`rooms.py`); such a shape that fits nowhere is parked until room grows on a worker
that it fits. Every other shape has an index of its own, one lazy heap of (score, worker id), best first. An entry may
be out of date; it is corrected when it surfaces. A worker on which the shape does not fit has no entry there, and is
offered again once room on it grows: `absent` remembers where. So a decision costs no scan. The worker that is reserved
for a blocked job is in no index at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from heapq import heapify, heappop, heappush, heapreplace
from typing import TYPE_CHECKING, Any, Final

from engine.scheduler.packing import spare
from engine.scheduler.rooms import Near, Rooms
from swarmsync.model.constraints import Demand, parse
from swarmsync.model.lifecycle import Eligibility, Liveness
from swarmsync.model.resources import NOTHING, Need
from swarmsync.model.worker import WorkerView

if TYPE_CHECKING:
    from engine.scheduler.backlog import Line, Terms

_WISH_WEIGHT: Final = 1 << 48  # a wish weighs more than any fit

ShapeKey = tuple[Any, ...]


class Machine:
    """A worker, what it holds for us, and what is left of it."""

    __slots__ = (
        "absent",
        "cpus_milli",
        "disk_bytes",
        "gpus",
        "holds",
        "memory_bytes",
        "place",
        "reserved",
        "state",
        "view",
    )

    def __init__(self, view: WorkerView) -> None:
        self.view = view
        self.holds: dict[int, Need] = {}
        self.absent: dict[Shape, None] = {}  # shapes in whose heap this worker has no entry
        self.reserved = False
        self.state: tuple[int, int, int, int] | None = None  # under which `rooms.py` has it
        self.place = 0  # and in which of its cells
        self.cpus_milli = view.capacity.cpus_milli
        self.memory_bytes = view.capacity.memory_bytes
        self.gpus = view.capacity.gpus
        self.disk_bytes = view.capacity.disk_bytes

    def fits(self, need: Need) -> bool:
        return (
            need.cpus_milli <= self.cpus_milli
            and need.memory_bytes <= self.memory_bytes
            and need.gpus <= self.gpus
            and need.disk_bytes <= self.disk_bytes
        )

    def hold(self, job_id: int, need: Need) -> None:
        if job_id in self.holds:
            self.release(job_id)  # contradicting news of one job must not take its room twice
        self.holds[job_id] = need
        self.cpus_milli -= need.cpus_milli
        self.memory_bytes -= need.memory_bytes
        self.gpus -= need.gpus
        self.disk_bytes -= need.disk_bytes

    def release(self, job_id: int) -> bool:
        need = self.holds.pop(job_id, None)
        if need is None:
            return False
        self.cpus_milli += need.cpus_milli
        self.memory_bytes += need.memory_bytes
        self.gpus += need.gpus
        self.disk_bytes += need.disk_bytes
        return True

    @property
    def free(self) -> Need:
        return Need(self.cpus_milli, self.memory_bytes, self.gpus, self.disk_bytes)


class Shape:
    """What some lines ask of a worker, the workers that may have it, and those lines in their order.

    `demands` must hold; each wish (demand, weight) that holds makes a worker so much more welcome.
    """

    __slots__ = (
        "awake",
        "demands",
        "heap",
        "image",
        "key",
        "lines",
        "near",
        "need",
        "nowhere",
        "plain",
        "queue",
        "spread",
        "wishes",
    )

    def __init__(self, key: ShapeKey, terms: Terms, *, spread: bool) -> None:
        rules = terms.rules
        self.key = key
        self.need = terms.need
        self.demands: tuple[Demand, ...] = () if rules is None else read_demands(rules.constraints)
        self.wishes = () if rules is None else tuple([(parse(wish.match), wish.weight) for wish in rules.affinity])
        self.image = "" if rules is None else rules.image
        self.spread = spread
        self.plain = not (self.demands or self.wishes or spread)
        self.near = Near()
        self.heap: list[tuple[int, int]] = []
        self.lines = 0
        self.queue: list[tuple[tuple[Any, ...], int, Line]] = []
        self.awake = False
        self.nowhere = 0  # as of which change of workers (`keeping.py` counts them) none of them could run it

    def admits(self, view: WorkerView) -> bool:
        return not self.demands or all(demand.holds(view, self.image) for demand in self.demands)

    def could_run(self, view: WorkerView) -> bool:
        return self.need.fits(view.capacity) and self.admits(view)

    def score(self, machine: Machine) -> int:
        """Tell how welcome a worker is; less is better. Pure fit, but for wishes."""
        left = spare(machine, self.need)
        if self.spread:
            left = -left
        for demand, weight in self.wishes:
            if demand.holds(machine.view, self.image):
                left -= weight * _WISH_WEIGHT
        return left


def facts(view: WorkerView) -> tuple[Any, ...]:
    """Return what demands and wishes look at."""
    return (view.name, view.runtime, view.labels, view.images, view.capacity)


def read_demands(texts: Iterable[str]) -> tuple[Demand, ...]:
    return tuple([parse(text) for text in texts])


def shape_key(terms: Terms, *, spread: bool) -> ShapeKey:
    rules = terms.rules
    if rules is None:
        return (terms.need, spread)
    return (terms.need, spread, tuple(sorted(rules.constraints)), rules.affinity, rules.image)


class ClusterView:
    """All workers, and per active shape the index of those that may fit. `woken` is told what may fit again."""

    def __init__(self, woken: Callable[[Shape], None] = lambda _: None) -> None:
        self.machines: dict[int, Machine] = {}
        self.placed: dict[int, int] = {}  # job id -> worker id, until AssignmentEnded
        self.shapes: dict[ShapeKey, Shape] = {}
        self.total = NOTHING
        self._woken = woken
        self._rooms = Rooms()
        self._parked: dict[Shape, None] = {}  # plain shapes that fit nowhere
        self._freed: set[int] = set()  # workers that have more room than their indices know

    # ------------------------------------------------ what happened

    def join(self, view: WorkerView, holds: Iterable[tuple[int, Need]]) -> None:
        """A worker (again). What was placed on it stays placed until each assignment is reported ended."""
        old = self.machines.get(view.worker_id)
        if old is not None:
            self._rooms.take_out(old)
        machine = self.machines[view.worker_id] = Machine(view)
        for job_id, need in {**(old.holds if old else {}), **dict(holds)}.items():
            if self.placed.setdefault(job_id, view.worker_id) == view.worker_id:
                machine.hold(job_id, need)
        self.total = self.total.plus(view.capacity)
        if old is None:
            machine.absent = {s: None for s in self.shapes.values() if not s.plain and s.admits(view)}
        else:
            self.total = self.total.minus(old.view.capacity)
            machine.reserved, machine.absent = old.reserved, old.absent
            if facts(old.view) != facts(view):
                self._judge_again(machine)
        self._rooms.bytes_per_milli = max(self.total.memory_bytes // (self.total.cpus_milli or 1), 1)
        self._offer(machine)

    def _judge_again(self, machine: Machine) -> None:
        """A worker came back different: what its labels, images or size decide is decided anew."""
        worker_id = machine.view.worker_id
        for shape in self.shapes.values():
            if not shape.demands and not shape.wishes:
                continue
            shape.heap = [entry for entry in shape.heap if entry[1] != worker_id]
            heapify(shape.heap)
            if shape.admits(machine.view):
                machine.absent[shape] = None
            else:
                machine.absent.pop(shape, None)

    def change(self, worker_id: int, liveness: Liveness, eligibility: Eligibility) -> None:
        machine = self.machines.get(worker_id)
        if machine is None:
            return
        machine.view.liveness, machine.view.eligibility = liveness, eligibility
        self._offer(machine)

    def end(self, job_id: int, worker_id: int) -> bool:
        """Free the room of a job on a worker; False when it held none there (a repeat).

        Call `offer_freed` before the next decision.
        """
        if self.placed.get(job_id) == worker_id:
            del self.placed[job_id]
        machine = self.machines.get(worker_id)
        if machine is None or not machine.release(job_id):
            return False
        self._freed.add(worker_id)
        return True

    def offer_freed(self) -> None:
        """Offer the room that ends have freed: once a worker, for a flood ends many jobs of few workers at a time."""
        freed, self._freed = sorted(self._freed), set()
        for worker_id in freed:
            machine = self.machines.get(worker_id)
            if machine is not None:
                self._offer(machine)

    def reserve(self, machine: Machine) -> None:
        """Keep a worker out of every index: what may still go there is decided one by one."""
        machine.reserved = True
        self._rooms.take_out(machine)

    def unreserve(self, machine: Machine) -> None:
        machine.reserved = False
        self._offer(machine)

    def _offer(self, machine: Machine) -> None:
        """Put the worker back into the indices of shapes that fit it again."""
        if not machine.view.assignable:
            self._rooms.take_out(machine)
            return
        if not machine.reserved:
            self._rooms.grew(machine)
        for shape in _fitting(self._parked, machine):
            if not machine.reserved:
                del self._parked[shape]
            self._woken(shape)
        for shape in _fitting(machine.absent, machine):
            if not machine.reserved:
                machine.absent.pop(shape, None)
                heappush(shape.heap, (shape.score(machine), machine.view.worker_id))
            self._woken(shape)

    # ------------------------------------------------ the index

    def open_shape(self, terms: Terms, *, spread: bool = False) -> Shape:
        """Return the shape of these terms; index all workers for one that is new. Each open needs its close."""
        key = shape_key(terms, spread=spread)
        shape = self.shapes.get(key)
        if shape is None:
            shape = self.shapes[key] = Shape(key, terms, spread=spread)
            for worker_id, machine in () if shape.plain else self.machines.items():
                if shape.demands and not shape.admits(machine.view):
                    continue
                if machine.view.assignable and not machine.reserved and machine.fits(shape.need):
                    shape.heap.append((shape.score(machine), worker_id))
                else:
                    machine.absent[shape] = None
            heapify(shape.heap)
        shape.lines += 1
        return shape

    def close_shape(self, shape: Shape) -> None:
        """Drop the index of a shape once no line has it."""
        shape.lines -= 1
        if shape.lines == 0:
            del self.shapes[shape.key]
            self._parked.pop(shape, None)
            for machine in () if shape.plain else self.machines.values():
                machine.absent.pop(shape, None)

    def choose(self, shape: Shape) -> Machine | None:
        """Return the worker that the shape fits best, or None when it fits nowhere now (but for a reserved worker)."""
        if shape.plain:
            found = self._rooms.choose(shape.need, shape.near)
            if found is None:
                self._parked[shape] = None
            return found
        heap = shape.heap
        while heap:
            score, worker_id = heap[0]
            machine = self.machines.get(worker_id)
            if machine is None:
                heappop(heap)
            elif not machine.view.assignable or machine.reserved or not machine.fits(shape.need):
                heappop(heap)
                machine.absent[shape] = None
            elif (now := shape.score(machine)) > score:
                heapreplace(heap, (now, worker_id))  # it is a looser fit than it was
            else:
                return machine
        return None

    def best_fit(self, shape: Shape) -> Machine | None:
        """Return about what `choose` would for a plain shape; decides nothing."""
        return self._rooms.choose(shape.need)

    def able(self, shape: Shape) -> Iterator[Machine]:
        """Yield the workers that could run it if they were empty, ready and open."""
        for machine in self.machines.values():
            if shape.could_run(machine.view):
                yield machine

    def place(self, job_id: int, need: Need, machine: Machine) -> None:
        machine.hold(job_id, need)
        self.placed[job_id] = machine.view.worker_id
        if machine.state is not None:
            self._rooms.put(machine)


def _fitting(shapes: Iterable[Shape], machine: Machine) -> list[Shape]:
    cpus, memory, gpus, disk = machine.cpus_milli, machine.memory_bytes, machine.gpus, machine.disk_bytes
    return [
        shape
        for shape in shapes
        if (need := shape.need).cpus_milli <= cpus
        and need.memory_bytes <= memory
        and need.gpus <= gpus
        and need.disk_bytes <= disk
    ]
