"""Who waits: queued jobs grouped by line, so that a million jobs of twenty lines cost what twenty cost.

Within a line the order is priority (higher first), then id (older first). Each priority of a line is a heap of plain
ids; removal is lazy: an id counts only while the backlog still says that it stands there.
"""

from __future__ import annotations

from bisect import bisect_right
from heapq import heapify, heappop, heappush
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from swarmsync.model.job import Waiting
from swarmsync.model.resources import Need
from swarmsync.model.rules import Rules

if TYPE_CHECKING:
    from engine.scheduler.cluster_view import Shape
    from engine.scheduler.limits import Gate
    from engine.scheduler.ranking import Standing

#: Marks are looked through when there are so many, and twice as many as the last time; never more than the second.
MARKS_KEPT: Final = 2_048
MARKS_MAX: Final = 100_000
AGE_PARTS: Final = 128


class Terms:
    """What all jobs of a line share."""

    __slots__ = ("array_id", "need", "queue", "rules", "timed", "user_id")

    def __init__(
        self,
        need: Need,
        user_id: int = 0,
        queue: str = "default",
        rules: Rules | None = None,
        array_id: int | None = None,
    ) -> None:
        self.need = need
        self.user_id = user_id
        self.queue = queue
        self.rules = rules
        self.array_id = array_id
        self.timed = rules is not None and rules.timeout_ms is not None


class Level:
    """The jobs of one line and one priority."""

    __slots__ = ("heap", "jobs", "line", "priority")

    def __init__(self, line: Line, priority: int) -> None:
        self.line = line
        self.priority = priority
        self.jobs = 0
        self.heap: list[int] = []


class Line:
    """The waiting jobs that are alike in all but priority and age.

    `gates` are the limits that it counts against, `gate` the one that it stands at; otherwise it stands in the queue of
    its shape under `rank`.
    """

    __slots__ = ("bound_ms", "first", "gate", "gates", "jobs", "levels", "name", "rank", "shape", "standing", "terms")

    shape: Shape

    def __init__(self, name: int, terms: Terms) -> None:
        self.name = name
        self.terms = terms
        self.jobs = 0
        self.levels: dict[int, Level] = {}  # by priority, none of them empty
        self.first: Level | None = None  # the most urgent of them
        self.gates: tuple[Gate, ...] = ()
        self.gate: Gate | None = None
        self.rank: tuple[Any, ...] | None = None
        self.bound_ms = 0  # how long its jobs may run (`run_times.py`), as of its rank
        self.standing: Standing | None = None  # what its rank was made from


class Backlog:
    def __init__(self, jobs_max: int) -> None:
        self._jobs_max = jobs_max
        self._jobs: dict[int, Level] = {}
        self.lines: dict[int, Line] = {}
        self._marks: list[int] = []  # ids, and when the first job with such an id was heard of
        self._marks_ms: list[int] = []
        self._trim_at = MARKS_KEPT

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, job_id: int) -> bool:
        return job_id in self._jobs

    def line_of(self, job_id: int) -> Line | None:
        level = self._jobs.get(job_id)
        return None if level is None else level.line

    def priority_of(self, job_id: int) -> int:
        return self._jobs[job_id].priority

    def add(self, job: Waiting, now_ms: int = 0) -> Line | None:
        """Take a job in; return its line. None when full: the job stays in PostgreSQL and a later resync brings it."""
        name, job_id = job.line or job.shape, job.job_id
        old = self._jobs.get(job_id)
        if old is not None:
            if old.line.name == name and old.priority == job.priority:
                return old.line
            self.remove(job_id)
        if len(self._jobs) >= self._jobs_max:
            return None
        line = self.lines.get(name)
        if line is None:
            line = self.lines[name] = Line(name, Terms(job.need, job.user_id, job.queue, job.rules, job.array_id))
        level = line.levels.get(job.priority)
        if level is None:
            level = line.levels[job.priority] = Level(line, job.priority)
            if line.first is None or line.first.priority < job.priority:
                line.first = level
        self._jobs[job_id] = level
        level.jobs += 1
        line.jobs += 1
        heappush(level.heap, job_id)
        if not self._marks_ms or now_ms > self._marks_ms[-1]:
            self.mark(job_id, now_ms)
        return line

    def remove(self, job_id: int) -> Line | None:
        """Forget a job; return the line in which it stood."""
        level = self._jobs.pop(job_id, None)
        if level is None:
            return None
        level.line.jobs -= 1
        level.jobs -= 1
        if level.jobs == 0:
            _close(level)
        elif len(level.heap) > 2 * level.jobs + 64:  # most of it is gone: keep no more than it is worth
            level.heap = [other for other in set(level.heap) if self._jobs.get(other) is level]
            heapify(level.heap)
        return level.line

    def head(self, line: Line) -> tuple[int, int] | None:
        """Return (priority, job id) of the line's first job, or None when the line is empty."""
        level = line.first
        if level is None:
            return None
        heap, job_id = level.heap, level.heap[0]
        while self._jobs.get(job_id) is not level:
            heappop(heap)
            job_id = heap[0]
        return level.priority, job_id

    def take(self, job_id: int) -> None:
        """Remove the head that `head` has just shown."""
        level = self._jobs.pop(job_id)
        heappop(level.heap)
        level.line.jobs -= 1
        level.jobs -= 1
        if level.jobs == 0:
            _close(level)

    def close(self, line: Line) -> None:
        """Drop an empty line."""
        del self.lines[line.name]

    def ahead(self, job_id: int) -> int:
        """Count the jobs of its own line that go before this one; looks at the whole line."""
        level = self._jobs[job_id]
        urgent = sum(other.jobs for other in level.line.levels.values() if other.priority > level.priority)
        return urgent + sum(1 for other in set(level.heap) if other < job_id and self._jobs.get(other) is level)

    # ------------------------------------------------ how long

    def mark(self, job_id: int, now_ms: int) -> None:
        """Ids grow with time, so a few marks tell when any job came: no time is kept per job."""
        if self._marks and (job_id <= self._marks[-1] or now_ms <= self._marks_ms[-1]):
            return
        self._marks.append(job_id)
        self._marks_ms.append(now_ms)
        if len(self._marks) > self._trim_at:
            self._trim()

    def _trim(self) -> None:
        """Of the time before all that waits keep what tells an age to within a hundredth: placed jobs may come back."""
        levels = [level for line in self.lines.values() for level in line.levels.values()]
        oldest = min((level.heap[0] for level in levels), default=self._marks[0])
        place = max(bisect_right(self._marks, oldest) - 1, 1)
        kept, last_ms, now_ms = [0], self._marks_ms[0], self._marks_ms[-1]
        for number, (at_ms, next_ms) in enumerate(pairwise(self._marks_ms[1 : place + 1]), 1):
            if (next_ms - last_ms) * AGE_PARTS >= now_ms - next_ms:  # without it the gap would be too wide
                kept.append(number)
                last_ms = at_ms
        self._marks[:place] = [self._marks[number] for number in kept]
        self._marks_ms[:place] = [self._marks_ms[number] for number in kept]
        if len(self._marks) > MARKS_MAX:
            del self._marks[1::2], self._marks_ms[1::2]
        self._trim_at = min(max(MARKS_KEPT, 2 * len(self._marks), len(self.lines)), MARKS_MAX)

    def since(self, job_id: int) -> int:
        """Tell when (in the caller's clock) this job, or one close to it in age, was first heard of."""
        place = bisect_right(self._marks, job_id) - 1
        return self._marks_ms[max(place, 0)] if self._marks else 0


def _close(level: Level) -> None:
    """Take an empty level out of its line."""
    line = level.line
    del line.levels[level.priority]
    if line.first is level:
        line.first = line.levels[max(line.levels)] if line.levels else None
