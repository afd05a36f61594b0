"""Clusters and jobs of chance for the Scheduler's core, the same for the same seed."""

import random
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

from engine.scheduler.placement import Scheduler
from swarmsync.model.job import Waiting
from swarmsync.model.resources import Need
from swarmsync.model.worker import WorkerView
from swarmsync.protocol.messages import AssignmentEnded, JobsSubmitted, Place, ToDispatcher, ToScheduler, WorkerJoined

GIB: Final = 1 << 30
JOBS_PER_FRAME: Final = 500
PLACES_PER_TURN: Final = 1_024
_MACHINES: Final = ((16, 64), (32, 128), (32, 256), (64, 256), (96, 384))
_TOO_MUCH: Final = 1_000_000  # cpus that nobody has


def workers(count: int, seed: int = 1) -> list[WorkerView]:
    """Machines of five kinds, from 16 cpus and 64 GiB to 96 cpus and 384 GiB."""
    chance = random.Random(seed)
    views = []
    for number in range(count):
        cpus, memory = chance.choice(_MACHINES)
        views.append(WorkerView(number + 1, f"w{number}", Need(cpus * 1_000, memory * GIB, 0, 1 << 62)))
    return views


def shapes(count: int, seed: int = 2) -> list[Need]:
    """Needs between 0.5 and 12 cpus with 1 to 8 GiB a cpu; about ten jobs fill a machine."""
    chance = random.Random(seed)
    made: dict[tuple[int, int], Need] = {}
    while len(made) < count:
        cpus = chance.choice((500, 1_000, 2_000, 4_000, 6_000, 8_000, 12_000)) + (chance.randrange(500) if made else 0)
        memory = cpus * chance.randrange(1 << 10, 8 << 10) // 1_000 << 20
        made[cpus, memory] = Need(cpus, memory)
    return list(made.values())


class Flow:
    """Drives one core as the engine does: frames of jobs in, bounded turns, ends of what was placed."""

    def __init__(self, views: list[WorkerView], needs: list[Need], *, users: int = 20, seed: int = 3) -> None:
        self.core = Scheduler()
        self._chance = random.Random(seed)
        self._needs = needs
        self._users = users
        self._job_id = 0
        self._now_ms = 0
        self.running: deque[tuple[int, int]] = deque()
        self.cpus_milli: dict[int, int] = {}
        self.core.handle([WorkerJoined(view) for view in views], now_ms=0, places_max=0)

    def jobs(self, count: int, *, hopeless: float = 0.0) -> Iterator[JobsSubmitted]:
        """Make jobs in frames; a share of them asks for more than any worker has."""
        for start in range(0, count, JOBS_PER_FRAME):
            size = min(JOBS_PER_FRAME, count - start)
            yield JobsSubmitted(tuple(self._job(impossible=self._chance.random() < hopeless) for _ in range(size)))

    def _job(self, *, impossible: bool) -> Waiting:
        self._job_id += 1
        shape = self._chance.randrange(len(self._needs))
        need, user = self._needs[shape], self._chance.randrange(self._users) + 1
        if impossible:
            need, shape = Need(_TOO_MUCH + need.cpus_milli, need.memory_bytes), shape + len(self._needs)
        else:
            self.cpus_milli[self._job_id] = need.cpus_milli
        return Waiting(self._job_id, shape + 1, need, 50, user)

    def turn(self, events: Sequence[ToScheduler]) -> int:
        """One turn of the core; return how many it placed."""
        self._now_ms += 10
        return self._note(self.core.handle(events, now_ms=self._now_ms, places_max=PLACES_PER_TURN))

    def _note(self, effects: list[ToDispatcher]) -> int:
        placed = [(effect.job_id, effect.worker_id) for effect in effects if isinstance(effect, Place)]
        self.running.extend(placed)
        return len(placed)

    def settle(self) -> int:
        """Turn until nothing more fits; return how many were placed."""
        placed = 0
        while now := self.turn([]):
            placed += now
        return placed

    def ended(self, count: int) -> list[AssignmentEnded]:
        """End the oldest of those that run."""
        return [AssignmentEnded(*self.running.popleft()) for _ in range(min(count, len(self.running)))]
