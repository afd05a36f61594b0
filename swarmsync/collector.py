"""How often Python looks for cycles. Our processes make few, and hold much: each look goes through all of it.

Measured in the Harvester: with the defaults (a look per 700 new objects) a fifth of its time went into the collector.
"""

import gc
from itertools import count
from typing import Final

#: New objects per look at the young ones; looks at the young per look at the middle; of those per look at everything.
THRESHOLDS: Final = (50_000, 20, 50)
#: So many times tidying looks at what is new, and then once at everything since `relax`.
TIDIED_ALL: Final = 30
_tidied: Final = count(1)


def relax() -> None:
    """Call once a process is set up: what exists now is not looked at again, what comes is looked at rarely."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)


def tidy() -> None:
    """Call every few seconds: drop the cycles among what is new since the last call, and now and then all others.

    A process that does little makes 50,000 new objects in hours, and grows until then by every cycle among them. What
    lived through one call and was replaced later is found by the looks at everything: connections, a Scheduler's core
    after it began anew.
    """
    gc.collect(2 if next(_tidied) % TIDIED_ALL == 0 else 1)


def share() -> None:
    """Call before a fork: what exists now is not looked at in the child either, and so stays the same memory."""
    gc.collect()
    gc.freeze()
