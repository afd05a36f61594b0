"""EASY backfill: the most urgent job without room keeps a worker, and others pass only if they do not delay it there.

The reservation says from when on the worker will have room (`shadow_ms`) and what will be left beside the job then
(`extra`). Another job may use the worker if it is expected to be over by then, or fits into what is left. A timeout is
certain, a guess is not: when guesses have put the job off for too long, they count no more (decision 61).
"""

from collections.abc import Callable, Iterable
from heapq import heapify, heappop, nsmallest
from typing import Any, Final, TypeAlias

from engine.scheduler.backlog import Terms
from engine.scheduler.cluster_view import Machine, Shape
from swarmsync.model.resources import NOTHING, Need

LOOKED_AT_MAX: Final = 64

#: Tells of placed jobs when they are expected to end, all of them later than now: (that time, job id) each.
EndsOf: TypeAlias = Callable[[Iterable[int]], list[tuple[int, int]]]


class Reservation:
    __slots__ = ("extra", "fresh", "job_id", "line_name", "rank", "rough", "shadow_ms", "shape", "strict", "worker_id")

    def __init__(
        self, line_name: int, job_id: int, rank: tuple[Any, ...], shape: Shape, worker_id: int, *, rough: bool
    ) -> None:
        self.line_name = line_name
        self.job_id = job_id
        self.rank = rank
        self.shape = shape
        self.worker_id = worker_id
        self.shadow_ms = 0
        self.extra = NOTHING
        self.rough = rough  # nobody waited who could pass, so it was not worked out which worker is the best
        self.strict = False  # guesses have put the job off for too long, and count no more (`patience.py`)
        self.fresh = False  # shadow and extra are of this turn

    def admit(self, need: Need, end_ms: int) -> None:
        """Another job was placed there."""
        if end_ms > self.shadow_ms:
            self.extra = self.extra.minus(need)


def passes(seen: tuple[int, Need], held: Reservation, machine: Machine, terms: Terms, end_ms: int) -> bool:
    """Whether a job that is expected to end by then may use the reserved worker, whose forecast is `seen`."""
    if held.strict and not terms.timed:
        return _beside(terms.need, machine, held.shape.need)
    return end_ms <= seen[0] or terms.need.fits(seen[1])


def _beside(need: Need, machine: Machine, kept: Need) -> bool:
    """Whether it takes nothing that the worker is kept for, however long it runs."""
    amounts = (
        (need.cpus_milli, kept.cpus_milli, machine.cpus_milli),
        (need.memory_bytes, kept.memory_bytes, machine.memory_bytes),
        (need.gpus, kept.gpus, machine.gpus),
        (need.disk_bytes, kept.disk_bytes, machine.disk_bytes),
    )
    return all(not (asked and wanted) or asked <= free - wanted for asked, wanted, free in amounts)


def forecast(machine: Machine, need: Need, ends_of: EndsOf, now_ms: int) -> tuple[int, Need] | None:
    """Return from when on the worker has room for `need`, and what is left then; None: not even when it is empty."""
    if not need.fits(machine.view.capacity):
        return None
    free, shadow_ms = machine.free, now_ms
    ends = ends_of(machine.holds)
    heapify(ends)  # of many jobs few have to end
    while not need.fits(free):
        if not ends:
            return None
        shadow_ms, job_id = heappop(ends)
        free = free.plus(machine.holds[job_id])
    for end_ms, job_id in ends:
        if end_ms <= shadow_ms:  # what ends at the same moment is free by then, too
            free = free.plus(machine.holds[job_id])
    return shadow_ms, free.minus(need)


def earliest(shape: Shape, machines: Iterable[Machine], ends_of: EndsOf, now_ms: int) -> tuple[int, Machine] | None:
    """Return when and on which worker the shape will have room first; of many workers the emptiest are looked at."""
    able = _able(shape, machines)
    if len(able) > LOOKED_AT_MAX:
        able = nsmallest(LOOKED_AT_MAX, able, key=_missing_of(shape.need))
    best: tuple[int, Machine] | None = None
    for machine in able:
        seen = forecast(machine, shape.need, ends_of, now_ms)
        if seen is not None and (best is None or seen[0] < best[0]):
            best = seen[0], machine
    return best


def emptiest(shape: Shape, machines: Iterable[Machine]) -> Machine | None:
    """Return the worker that lacks least of what the shape needs: what `earliest` would look at first."""
    return min(_able(shape, machines), key=_missing_of(shape.need), default=None)


def _able(shape: Shape, machines: Iterable[Machine]) -> list[Machine]:
    need = shape.need
    able = [m for m in machines if need.fits((view := m.view).capacity) and view.assignable]
    return [m for m in able if shape.admits(m.view)] if shape.demands else able


def _missing_of(need: Need) -> Callable[[Machine], float]:
    """Tell how far a worker is from having room, relative to what is wanted; of what is not wanted all have enough."""
    cpus, memory, gpus, disk = need.cpus_milli, need.memory_bytes, need.gpus, need.disk_bytes

    def missing(machine: Machine) -> float:
        most = max((cpus - machine.cpus_milli) / (cpus or 1), (memory - machine.memory_bytes) / (memory or 1))
        if gpus:
            most = max(most, (gpus - machine.gpus) / gpus)
        if disk:
            most = max(most, (disk - machine.disk_bytes) / disk)
        return most

    return missing
