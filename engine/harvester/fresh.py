"""New jobs that the API's hint describes are told at once; the feed, which tells all, is read in its time. Pure.

A lone job does not wait for a trip to PostgreSQL this way. A hint may come late, and tells what the job was when it was
made: it counts only while the feed has not been read up to there, so what the feed tells of the job comes after it.
That the job may start the Dispatcher finds in its row; a hint that is lost costs half a second to a second.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from swarmsync.model.job import Waiting
from swarmsync.model.lifecycle import JobState
from swarmsync.protocol.messages import By, Changed, JobsSubmitted
from swarmsync.store.jobs import Cursor, FeedEntry

#: Of so many at most it is remembered that they were told; of others the feed tells once more, which does no harm.
TOLD_MAX: Final = 10_000
JOBS_PER_WORD: Final = 500
#: Where a job that was told may have gone by itself until the feed is read: that is no news.
_WENT_ON: Final = frozenset(
    (JobState.STARTING, JobState.RUNNING, JobState.SUCCEEDED, JobState.FAILED, JobState.TIMED_OUT)
)


class Fresh:
    def __init__(self) -> None:
        self._heard: list[Changed] = []
        self._told: set[int] = set()

    def hear(self, word: Changed) -> bool:
        """Take in the jobs of a hint; False where it does not describe all that it is about."""
        if word.by is not By.SUBMISSION or not word.xid or not word.fresh or len(word.fresh) != len(word.job_ids):
            return False
        self._heard.append(word)
        return True

    def take(self, cursor: Cursor) -> list[JobsSubmitted]:
        """Return what is to be told now; it counts as told. `cursor` is how far the feed was read."""
        heard, self._heard = self._heard, []
        waiting = [job for word in heard if not _passed(word.xid, cursor) for job in word.fresh]
        if len(self._told) + len(waiting) > TOLD_MAX:
            self._told.clear()
        self._told.update(job.job_id for job in waiting)
        return in_words(waiting)

    def unknown(self, entries: Sequence[FeedEntry]) -> list[FeedEntry]:
        """Leave out jobs that were told and have only gone on since."""
        told = self._told
        return [entry for entry in entries if entry.job_id not in told or entry.state not in _WENT_ON]

    def read(self, entries: Iterable[FeedEntry]) -> None:
        """The feed has told of these: what it says of them later is of other changes."""
        if self._told:
            self._told.difference_update([entry.job_id for entry in entries])


def in_words(waiting: Sequence[Waiting]) -> list[JobsSubmitted]:
    """Tell of jobs in words that fit a ring, however many they are."""
    return [
        JobsSubmitted(tuple(waiting[start : start + JOBS_PER_WORD])) for start in range(0, len(waiting), JOBS_PER_WORD)
    ]


def _passed(xid: int, cursor: Cursor) -> bool:
    """Whether the feed was read up to this transaction, or into it: the feed has told of it, or goes on with it."""
    return (xid, -1) < (int(cursor.xid), cursor.seq)
