"""What becomes of a delivery after an attempt: pure, so that weeks of failures are tested in no time."""

from typing import Final

from msgspec import Struct

FIRST_PAUSE_S: Final = 5.0
PAUSE_MAX_S: Final = 3_600.0
JITTER: Final = 0.2
GONE: Final = 410
#: Retry-After of these is heeded, up to PAUSE_MAX_S.
BUSY: Final = (429, 503)


class Attempt(Struct, frozen=True):
    """One request: HTTP's status, or 0 and what went wrong instead."""

    status: int
    error: str = ""
    retry_after: str = ""


class Delivered(Struct, frozen=True):
    pass


class Again(Struct, frozen=True):
    in_s: float


class GaveUp(Struct, frozen=True):
    pass


class Gone(Struct, frozen=True):
    """The other side wants nothing any more: the webhook is switched off."""


Verdict = Delivered | Again | GaveUp | Gone


def judge(attempt: Attempt, *, tries: int, age_s: float, retry_s: float, chance: float) -> Verdict:
    """Decide after the `tries`th attempt of a delivery that was begun `age_s` ago; `chance` is in [0, 1).

    Redirects count as failures: where they lead nobody has judged.
    """
    if 200 <= attempt.status < 300:
        return Delivered()
    if attempt.status == GONE:
        return Gone()
    pause_s = pause(tries, chance)
    if attempt.status in BUSY and attempt.retry_after.isdecimal() and len(attempt.retry_after) < 9:
        pause_s = max(pause_s, min(float(attempt.retry_after), PAUSE_MAX_S))
    return Again(pause_s) if age_s + pause_s <= retry_s else GaveUp()


def pause(tries: int, chance: float) -> float:
    """Return the seconds before the next attempt: doubled each time, and spread, so that no herd comes back at once."""
    whole: float = min(PAUSE_MAX_S, FIRST_PAUSE_S * 2 ** min(tries - 1, 30))
    return whole * (1 - JITTER + 2 * JITTER * chance)
