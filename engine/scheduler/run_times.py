"""How long a job will run: what its user's last jobs took, or its timeout, or a guess.

The mean of a user's last two run times is a better guess than what users ask for (Tsafrir, Etsion, Feitelson, TPDS'07).
A guess that time has proved wrong is corrected: what has run for so long will run for twice that.

Two questions have two answers: in which order to go is asked of the expectation (`estimate_ms`), whether others may
pass a blocked job of what is safe (`bound_ms`): a timeout, where there is one, cannot be exceeded.
"""

from collections import OrderedDict
from typing import Final

from engine.scheduler.backlog import Terms

GUESS_MS: Final = 3_600_000
KEPT: Final = 100_000
#: A job that outlives its estimate is taken to have run for so much of its time.
_OVERDUE: Final = 2


class RunTimes:
    def __init__(self, *, learn: bool = True) -> None:
        self._learn = learn
        self._last: OrderedDict[int, tuple[int, int]] = OrderedDict()

    def learn(self, terms: Terms, ran_ms: int) -> None:
        if not self._learn:
            return
        old = self._last.pop(terms.user_id, None)
        self._last[terms.user_id] = (ran_ms, ran_ms if old is None else old[0])
        while len(self._last) > KEPT:
            self._last.popitem(last=False)

    def estimate_ms(self, terms: Terms) -> int:
        """Return the expected run time; never more than the timeout."""
        timeout = None if terms.rules is None else terms.rules.timeout_ms
        known = self._last.get(terms.user_id)
        if known is None:
            return GUESS_MS if timeout is None else timeout
        guess = max((known[0] + known[1]) // 2, 1)
        return guess if timeout is None else min(guess, timeout)

    def bound_ms(self, terms: Terms) -> int:
        """Return how long a job may run as far as others rely on it."""
        return self.both_ms(terms)[1]

    def both_ms(self, terms: Terms) -> tuple[int, int]:
        """Return the expected run time and the bound."""
        estimate, timeout = self.estimate_ms(terms), None if terms.rules is None else terms.rules.timeout_ms
        return estimate, estimate if timeout is None else timeout


def end_ms(at_ms: int, bound_ms: int, now_ms: int) -> int:
    """Return when a job is over that was placed at `at_ms` and was to run for so long at most."""
    if at_ms + bound_ms > now_ms:
        return at_ms + bound_ms
    return at_ms + _OVERDUE * max(now_ms - at_ms, 1)
