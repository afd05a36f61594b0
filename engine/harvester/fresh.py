"""New jobs that the API's hint describes are told at once; the feed, which tells all, is read in its time. Pure.

A lone job does not wait for a trip to PostgreSQL this way. What the hint says is as good as any hint: the Dispatcher
finds in the rows whether the job may start, and a hint that is lost costs half a second.
"""

from collections.abc import Sequence
from typing import Final

from swarmsync.model.job import Waiting
from swarmsync.model.lifecycle import JobState
from swarmsync.protocol.messages import By, Changed
from swarmsync.store.jobs import FeedEntry

#: Of so many at most it is remembered that they were told; of others the feed tells once more, which does no harm.
TOLD_MAX: Final = 10_000
#: Where a job that was told may have gone by itself until the feed is read: that is no news.
_WENT_ON: Final = frozenset(
    (JobState.STARTING, JobState.RUNNING, JobState.SUCCEEDED, JobState.FAILED, JobState.TIMED_OUT)
)


class Fresh:
    def __init__(self) -> None:
        self._waiting: list[Waiting] = []
        self._told: set[int] = set()

    def hear(self, word: Changed) -> bool:
        """Take in the jobs of a hint; False where it does not describe all that it is about."""
        if word.by is not By.SUBMISSION or not word.fresh or len(word.fresh) != len(word.job_ids):
            return False
        self._waiting += word.fresh
        return True

    def take(self) -> tuple[Waiting, ...]:
        """Return what is to be told now; it counts as told."""
        waiting, self._waiting = tuple(self._waiting), []
        if len(self._told) + len(waiting) > TOLD_MAX:
            self._told.clear()
        self._told.update(job.job_id for job in waiting)
        return waiting

    def unknown(self, entries: Sequence[FeedEntry]) -> list[FeedEntry]:
        """Leave out jobs that were told and have only gone on since; each is asked about once."""
        told = self._told
        if not told:
            return list(entries)
        left = [entry for entry in entries if entry.job_id not in told or entry.state not in _WENT_ON]
        told.difference_update([entry.job_id for entry in entries])
        return left
