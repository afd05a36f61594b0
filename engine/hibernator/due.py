"""When to look at the rows again. Pure."""

from typing import Final

LOOK_MS_MAX: Final = 1_000  # somebody may have added an earlier one


def next_look_ms(until_due_ms: int | None, found: int, limit: int) -> int:
    """Return how long to wait: not at all when the last look was cut short, until the next row is due, 1 s at most."""
    if found >= limit:
        return 0
    if until_due_ms is None:
        return LOOK_MS_MAX
    return max(0, min(until_due_ms, LOOK_MS_MAX))
