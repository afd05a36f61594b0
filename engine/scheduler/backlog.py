"""Who waits: queued jobs grouped by shape, so that a million jobs of twenty shapes cost what twenty cost.

Within a shape the order is priority (higher first), then id (older first). Removal is lazy: an entry counts only while
`jobs` still names it with the same priority.
"""

from heapq import heappop, heappush

from swarmsync.model.job import Waiting
from swarmsync.model.resources import Need


class Line:
    """The waiting jobs of one shape."""

    __slots__ = ("heap", "jobs", "need", "shape")

    def __init__(self, shape: int, need: Need) -> None:
        self.shape = shape
        self.need = need
        self.jobs = 0
        self.heap: list[tuple[int, int]] = []  # (-priority, job id)


class Backlog:
    def __init__(self, jobs_max: int) -> None:
        self._jobs_max = jobs_max
        self._jobs: dict[int, tuple[int, int]] = {}  # job id -> (shape, -priority)
        self.lines: dict[int, Line] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, job_id: int) -> bool:
        return job_id in self._jobs

    def add(self, job: Waiting) -> Line | None:
        """Take a job in; return its line. None when full: the job stays in PostgreSQL and a later resync brings it."""
        shape = job.line or job.shape
        key = (shape, -job.priority)
        if self._jobs.get(job.job_id) == key:
            return self.lines[shape]
        if job.job_id in self._jobs:
            self.remove(job.job_id)
        if len(self._jobs) >= self._jobs_max:
            return None
        line = self.lines.get(shape)
        if line is None:
            line = self.lines[shape] = Line(shape, job.need)
        self._jobs[job.job_id] = key
        line.jobs += 1
        heappush(line.heap, (-job.priority, job.job_id))
        return line

    def remove(self, job_id: int) -> bool:
        key = self._jobs.pop(job_id, None)
        if key is None:
            return False
        self.lines[key[0]].jobs -= 1
        return True

    def head(self, line: Line) -> tuple[int, int] | None:
        """Return (-priority, job id) of the line's first job, or None when the line is empty."""
        heap = line.heap
        while heap:
            urgency, job_id = heap[0]
            if self._jobs.get(job_id) == (line.shape, urgency):
                return heap[0]
            heappop(heap)
        return None

    def take(self, line: Line) -> int:
        """Remove and return the head that `head` has just shown."""
        _, job_id = heappop(line.heap)
        del self._jobs[job_id]
        line.jobs -= 1
        return job_id

    def close(self, line: Line) -> None:
        """Drop an empty line."""
        del self.lines[line.shape]
