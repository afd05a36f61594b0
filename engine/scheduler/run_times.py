"""How long a job will run: what its user's last jobs took, or its timeout, or a guess.

The mean of a user's last two run times is a better guess than what users ask for (Tsafrir, Etsion, Feitelson, TPDS'07).
A guess that time has proved wrong is corrected: what has run for so long will run for twice that.

Two questions have two answers. In which order to go is asked of the hope: the shortest of the user's
last eight, for a job that is over at once is the one that a long wait hurts. Whether others may pass a blocked job is
asked of what is safe, the bound: a timeout, where there is one, cannot be exceeded; or else that mean.
"""

from collections import OrderedDict
from typing import Final

from engine.scheduler.backlog import Terms

GUESS_MS: Final = 3_600_000
NEVER_MS: Final = 1 << 60
KEPT: Final = 100_000
REMEMBERED: Final = 8  # run times of each user
#: A job that outlives its estimate is taken to have run for so much of its time.
OVERDUE: Final = 2


class RunTimes:
    def __init__(self, *, learn: bool = True) -> None:
        self._learn = learn
        self._last: OrderedDict[int, tuple[int, ...]] = OrderedDict()  # of each user, the latest first

    def learn(self, terms: Terms, ran_ms: int) -> None:
        if not self._learn:
            return
        self._last[terms.user_id] = (ran_ms, *self._last.pop(terms.user_id, ()))[:REMEMBERED]
        while len(self._last) > KEPT:
            self._last.popitem(last=False)

    def bound_ms(self, terms: Terms) -> int:
        """Return how long a job may run as far as others rely on it."""
        return self.both_ms(terms)[1]

    def longest_ms(self, terms: Terms) -> int:
        """Return how long a job may run as its user's last ones tell; 0 where nothing does, or a timeout does."""
        return 0 if terms.timed else max(self._last.get(terms.user_id, ()), default=0)

    def both_ms(self, terms: Terms) -> tuple[int, int]:
        """Return the run time hoped for, which is never more than the timeout, and the bound."""
        timeout = None if terms.rules is None else terms.rules.timeout_ms
        last = self._last.get(terms.user_id)
        if last is None:
            guess = GUESS_MS if timeout is None else timeout
            return guess, guess
        hope = max(min(last), 1)
        if timeout is None:
            return hope, max(sum(last[:2]) // len(last[:2]), 1)
        return min(hope, timeout), timeout
