"""How often to look at the feed without a hint. Pure.

Hints may be lost, and a transaction that was open hides what a hint told of: so a look follows soon. An engine that has
nothing to do, though, asked PostgreSQL ten times a second for nothing: half of what an idle Harvester used.
"""

from typing import Final

#: At most so many fast beats pass between two looks.
BEATS_MAX: Final = 5


class Looks:
    def __init__(self) -> None:
        self._gap = 1
        self._beats = 0

    def beat(self) -> bool:
        """Count a beat; tell whether it is time to look."""
        self._beats += 1
        return self._beats >= self._gap

    def looked(self, *, news: bool) -> None:
        """`news`: there was a hint, or something was found. Then the next look comes with the next beat."""
        self._beats = 0
        self._gap = 1 if news else min(2 * self._gap, BEATS_MAX)
