"""For how long guesses of run times may put off the job that a worker is kept for (decision 61). Pure.

A guess that proves wrong moves on the time at which the job will have room, and others pass before that. So once the
job has waited for a multiple of what it was told, and of the longest that emptying a worker may still take, guesses
count no more there and the worker empties. No job that ends is outwaited for good: the wait grows, what emptying takes
does not. A job without an end is soon expected to run for longer than that, and is not waited for.
"""

from __future__ import annotations

from typing import Final

from engine.scheduler.backlog import Backlog

#: A job is put off for so many times as long as it was told first, and as emptying a worker would take at the worst.
PATIENCE: Final = 4
PATIENCE_MIN_MS: Final = 60_000
#: What it was told first counts no more when it is told so much less: what was to be waited for has gone.
FELL: Final = 16
JOBS_MAX: Final = 256  # of so many blocked jobs is known how long they have waited


class _Clock:
    """How long a job has waited since something happened, beside how long it was told then."""

    __slots__ = ("began_ms", "told_ms")

    def __init__(self, now_ms: int, room_ms: int) -> None:
        self.began_ms = now_ms
        self.told_ms = room_ms - now_ms

    def hear(self, room_ms: int) -> None:
        """It is told anew."""
        told_ms = room_ms - self.began_ms
        if told_ms < self.told_ms // FELL:
            self.told_ms = told_ms

    def is_over(self, now_ms: int) -> bool:
        return now_ms - self.began_ms >= max(PATIENCE * self.told_ms, PATIENCE_MIN_MS)


class _Wait:
    __slots__ = ("counts_ms", "kept", "passed")

    def __init__(self, kept: _Clock) -> None:
        self.kept = kept  # since a worker was kept for it for the first time
        self.passed: _Clock | None = None  # since somebody wanted to pass it there for the first time
        self.counts_ms = 0  # from when on the wait counts: not while it is for what has run all the time


class Patience:
    def __init__(self) -> None:
        self._waits: dict[int, _Wait] = {}  # by job, the oldest first

    def inherit(self, old: Patience) -> None:
        self._waits.update(old._waits)

    def kept(self, job_id: int, now_ms: int, room_ms: int, backlog: Backlog) -> None:
        """A worker is kept for this job, and is expected to have room for it at `room_ms`."""
        wait = self._waits.get(job_id)
        if wait is not None:
            wait.kept.hear(room_ms)
            return
        if len(self._waits) >= JOBS_MAX:
            self._waits = {known: wait for known, wait in self._waits.items() if known in backlog}
        if len(self._waits) < JOBS_MAX:
            self._waits[job_id] = _Wait(_Clock(now_ms, room_ms))

    def passing(self, job_id: int, now_ms: int, room_ms: int) -> None:
        """Somebody wants to pass this job on the worker that is kept for it, which is to have room at `room_ms`."""
        wait = self._waits.get(job_id)
        if wait is None:
            return
        wait.kept.hear(room_ms)
        if wait.passed is None:
            wait.passed = _Clock(now_ms, room_ms)
        else:
            wait.passed.hear(room_ms)

    def started(self, job_id: int) -> None:
        self._waits.pop(job_id, None)

    def is_over(self, job_id: int, now_ms: int) -> bool:
        """Whether it has waited too long by what it was told. What counts then is what emptying a worker takes."""
        wait = self._waits.get(job_id)
        return wait is not None and wait.kept.is_over(now_ms)

    def in_vain(self, job_id: int, now_ms: int, empty_ms: int) -> bool:
        """Whether a job whose patience is over waits for what may never end: it has run as long as the job waits."""
        return empty_ms - now_ms >= now_ms - self._waits[job_id].kept.began_ms

    def empties(self, job_id: int, now_ms: int, empty_ms: int) -> bool:
        """Whether a worker that is empty at `empty_ms` at the latest is to empty for a job whose patience is over."""
        wait = self._waits[job_id]
        if self.in_vain(job_id, now_ms, empty_ms):
            wait.counts_ms = now_ms  # that nobody passed would not have helped
            return False
        if wait.passed is None or not wait.passed.is_over(now_ms):
            return False
        return now_ms - max(wait.counts_ms, wait.passed.began_ms) >= PATIENCE * (empty_ms - now_ms)
