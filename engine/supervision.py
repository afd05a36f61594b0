"""When a child that ended is started again, and when the daemon gives up. Pure.

A child that ends once is back at once. One that keeps ending is started ever more rarely, but for ever: the others go
on meanwhile, and its state says so. Only bad configuration ends the daemon, since starting again cannot help.
"""

from enum import StrEnum
from typing import Final

from msgspec import Struct

#: A child with this exit code cannot work with its settings; restarting would be a storm.
EXIT_CONFIG: Final = 3
_FIRST_DELAY_MS: Final = 100


class Condition(StrEnum):
    RUNNING = "running"
    STARTING = "starting"
    WAITING = "waiting"  # for its next start
    FAILING = "failing"  # over its restart budget: started rarely
    STOPPED = "stopped"


class Budget(Struct, frozen=True):
    """How many restarts in a window count as bad luck."""

    restarts_max: int
    window_ms: int
    backoff_max_ms: int


class Start(Struct, frozen=True):
    """Start it again at `at_ms`."""

    at_ms: int
    failing: bool


class GiveUp(Struct, frozen=True):
    message: str


def on_exit(
    name: str, exit_code: int, now_ms: int, restarts_ms: tuple[int, ...], budget: Budget
) -> tuple[tuple[int, ...], Start | GiveUp]:
    """Decide about a child that ended unasked; return its remembered restarts and the decision.

    `exit_code` is negative for a signal, as subprocess has it.
    """
    if exit_code == EXIT_CONFIG:
        return restarts_ms, GiveUp(f"{name} cannot work with this configuration; see its log")
    recent = tuple([at for at in restarts_ms if at > now_ms - budget.window_ms])
    failing = len(recent) >= budget.restarts_max
    exponent = max(0, len(recent) - 1)
    delay_ms = 0 if not recent else min(budget.backoff_max_ms, _FIRST_DELAY_MS * 2 ** min(exponent, 16))
    if failing:
        delay_ms = budget.backoff_max_ms
    return (*recent[-budget.restarts_max :], now_ms), Start(now_ms + delay_ms, failing)
