"""What is free where, as far as the Scheduler knows; workers are indexed per shape by how tightly they would fit.

The index is one lazy heap per shape: an entry is (leftover, worker id), best fit first. An entry may be out of date; it
is corrected when it surfaces. A worker on which a shape does not fit has no entry there, and is offered again once
room on it grows: `absent` remembers where. So a decision costs a heap operation, not a scan.
"""

from collections.abc import Iterable
from heapq import heapify, heappop, heappush, heapreplace
from typing import Final

from swarmsync.model.lifecycle import Eligibility, Liveness
from swarmsync.model.resources import Need
from swarmsync.model.worker import WorkerView

_GPU_WEIGHT: Final = 1_000_000  # a worker with free GPUs is the last choice for work without


class Machine:
    """A worker, what it holds for us, and what is left of it."""

    __slots__ = ("absent", "cpus_milli", "disk_bytes", "gpus", "holds", "memory_bytes", "view")

    def __init__(self, view: WorkerView) -> None:
        self.view = view
        self.holds: dict[int, Need] = {}
        self.absent: set[int] = set()  # shapes in whose heap this worker has no entry
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

    def leftover(self) -> int:
        """Best fit takes the worker with the least left: a core weighs as much as 2 GiB."""
        return self.cpus_milli + (self.memory_bytes >> 21) + self.gpus * _GPU_WEIGHT

    @property
    def free(self) -> Need:
        return Need(self.cpus_milli, self.memory_bytes, self.gpus, self.disk_bytes)


class ClusterView:
    """All workers, and per active shape the index of those that may fit."""

    def __init__(self) -> None:
        self.machines: dict[int, Machine] = {}
        self.placed: dict[int, int] = {}  # job id -> worker id, until AssignmentEnded
        self._heaps: dict[int, list[tuple[int, int]]] = {}
        self._needs: dict[int, Need] = {}

    # ------------------------------------------------ what happened

    def join(self, view: WorkerView, holds: Iterable[tuple[int, Need]]) -> None:
        """A worker (again). What was placed on it stays placed until each assignment is reported ended."""
        old = self.machines.get(view.worker_id)
        machine = self.machines[view.worker_id] = Machine(view)
        for job_id, need in {**(old.holds if old else {}), **dict(holds)}.items():
            if self.placed.setdefault(job_id, view.worker_id) == view.worker_id:
                machine.hold(job_id, need)
        if old is None:
            machine.absent = set(self._heaps)
        else:
            machine.absent = old.absent
        self._offer(machine)

    def change(self, worker_id: int, liveness: Liveness, eligibility: Eligibility) -> None:
        machine = self.machines.get(worker_id)
        if machine is None:
            return
        machine.view.liveness, machine.view.eligibility = liveness, eligibility
        self._offer(machine)

    def forget(self, worker_id: int) -> None:
        """Drop a worker that was deleted; its assignments are freed as they end."""
        self.machines.pop(worker_id, None)

    def end(self, job_id: int, worker_id: int) -> bool:
        """Free the room of a job on a worker; False when it held none there (a repeat)."""
        if self.placed.get(job_id) == worker_id:
            del self.placed[job_id]
        machine = self.machines.get(worker_id)
        if machine is None or not machine.release(job_id):
            return False
        self._offer(machine)
        return True

    def _offer(self, machine: Machine) -> None:
        """Put the worker back into the heaps of shapes that fit it again."""
        if not machine.absent or not machine.view.assignable:
            return
        for shape in list(machine.absent):
            heap = self._heaps.get(shape)
            if heap is None:
                machine.absent.discard(shape)
            elif machine.fits(self._needs[shape]):
                machine.absent.discard(shape)
                heappush(heap, (machine.leftover(), machine.view.worker_id))

    # ------------------------------------------------ the index

    def open_shape(self, shape: int, need: Need) -> None:
        """Index all workers for a shape that has waiting jobs."""
        if shape in self._heaps:
            return
        self._needs[shape] = need
        heap = []
        for worker_id, machine in self.machines.items():
            if machine.view.assignable and machine.fits(need):
                heap.append((machine.leftover(), worker_id))
            else:
                machine.absent.add(shape)
        heapify(heap)
        self._heaps[shape] = heap

    def close_shape(self, shape: int) -> None:
        """Drop the index of a shape without waiting jobs."""
        self._heaps.pop(shape, None)
        self._needs.pop(shape, None)

    def may_fit(self, shape: int) -> bool:
        """False when no worker has room for the shape: it may stay parked."""
        return bool(self._heaps.get(shape))

    def choose(self, shape: int, need: Need) -> Machine | None:
        """Return the worker that the shape fits most tightly, or None when it fits nowhere now."""
        heap = self._heaps[shape]
        while heap:
            score, worker_id = heap[0]
            machine = self.machines.get(worker_id)
            if machine is None:
                heappop(heap)
            elif not machine.view.assignable or not machine.fits(need):
                heappop(heap)
                machine.absent.add(shape)
            elif (now := machine.leftover()) > score:
                heapreplace(heap, (now, worker_id))  # room grew meanwhile: it is a looser fit than it was
            else:
                return machine
        return None

    def place(self, job_id: int, need: Need, machine: Machine) -> None:
        machine.hold(job_id, need)
        self.placed[job_id] = machine.view.worker_id
