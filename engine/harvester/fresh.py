"""New jobs that the API's hint describes are told at once; the feed, which tells all else, is read in its time. Pure.

A new job does not wait for a trip to PostgreSQL this way, and is read from there no more. A hint may come late, and
tells what the job was when it was made: it counts only while the feed has not been read up to there, so what the feed
tells of the job comes after it. That the job may start the Dispatcher finds in its row; a hint that is lost costs half
a second to a second.
"""

from collections.abc import Sequence
from typing import Final

from swarmsync.model.job import Waiting
from swarmsync.protocol import codec
from swarmsync.protocol.messages import By, Changed, JobsSubmitted
from swarmsync.store.jobs import Cursor

#: Of so many transactions at most it is remembered that they were told; of others the feed tells once more, which does
#: no harm. It is read twice a second.
TOLD_MAX: Final = 1_000
JOBS_PER_WORD: Final = 500
#: One job may ask for half of this in constraints and wishes.
WORD_BYTES_MAX: Final = 1 << 20
#: So many are heard between two turns at most; of others the feed tells.
HEARD_JOBS_MAX: Final = 20_000


class Fresh:
    def __init__(self) -> None:
        self._heard: list[Changed] = []
        self._heard_jobs = 0
        self._told: dict[int, None] = {}  # transactions, all that they queued, and the feed has not passed them

    def hear(self, word: Changed) -> bool:
        """Take in the jobs of a hint; False where it does not describe all that it is about."""
        if word.by is not By.SUBMISSION or not word.xid or not word.fresh or len(word.fresh) != len(word.job_ids):
            return False
        if self._heard_jobs + len(word.fresh) > HEARD_JOBS_MAX:
            return False
        self._heard.append(word)
        self._heard_jobs += len(word.fresh)
        return True

    def take(self, cursor: Cursor) -> list[JobsSubmitted]:
        """Return what is to be told now; it counts as told. `cursor` is how far the feed was read."""
        heard, self._heard, self._heard_jobs = self._heard, [], 0
        new = [word for word in heard if not _passed(word.xid, cursor)]
        self._told.update(dict.fromkeys([word.xid for word in new]))
        while len(self._told) > TOLD_MAX:
            del self._told[next(iter(self._told))]
        return in_words([job for word in new for job in word.fresh])

    @property
    def told(self) -> tuple[int, ...]:
        """What the feed may leave out."""
        return tuple(self._told)

    def read(self, cursor: Cursor) -> None:
        """The feed was read up to here."""
        if self._told:
            self._told = {xid: None for xid in self._told if xid >= int(cursor.xid)}


def in_words(waiting: Sequence[Waiting]) -> list[JobsSubmitted]:
    """Tell of jobs in words that fit a ring, however many they are, and whatever they ask of workers."""
    words = []
    for start in range(0, len(waiting), JOBS_PER_WORD):
        words += _parted(waiting[start : start + JOBS_PER_WORD])
    return words


def _parted(jobs: Sequence[Waiting]) -> list[JobsSubmitted]:
    word = JobsSubmitted(tuple(jobs))
    if len(jobs) == 1 or all(job.rules is None for job in jobs) or len(codec.encode(word)) <= WORD_BYTES_MAX:
        return [word]
    half = len(jobs) // 2
    return [*_parted(jobs[:half]), *_parted(jobs[half:])]


def _passed(xid: int, cursor: Cursor) -> bool:
    """Whether the feed has told of this transaction, or is to: it was read up to there, or stopped at its limit.

    Where it stopped, it has told of some changes and not of all that were committed before them.
    """
    return cursor.seq >= 0 or xid < int(cursor.xid)
