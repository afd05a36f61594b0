"""The knobs of a simulated world; the engine's own carry its defaults."""

import random

from msgspec import Struct

from swarmsync.model.resources import Need

GIB = 1 << 30


class SimSettings(Struct, frozen=True):
    workers: int = 4
    jobs: int = 60
    capacity: Need = Need(4_000, 8 * GIB, 0, 0)
    slots: int = 1 << 12  # of each ring, in words

    fast_ms: int = 250
    medium_ms: int = 1_000
    slow_ms: int = 10_000
    backlog_max: int = 1_000_000
    places_max: int = 2_048
    receipt_ms: int = 3_000
    resends_max: int = 3
    orders_max: int = 200
    pulse_ms: int = 1_000
    suspect_ms: int = 15_000
    lost_ms: int = 35_000
    lease_ms: int = 30_000
    lease_slack_ms: int = 5_000
    crash_limit: int = 5

    submit_ms: int = 40_000  # jobs come during this time
    faults_ms: int = 70_000  # and everything breaks during this
    heal_ms: int = 3_600_000  # then all must have ended within this
    run_ms: int = 4_000  # the mean of what containers take
    meddle_ms: int = 1_500  # how often people change their minds; 0: never
    deaf_to: tuple[str, ...] = ()  # subjects that never arrive
    simple: bool = False  # jobs that succeed at once, and nobody cancels

    @property
    def limits(self) -> tuple[int, int, int, int]:
        return self.suspect_ms, self.lost_ms, self.lease_ms, self.lease_slack_ms


def settings_of(chance: random.Random) -> SimSettings:
    """Draw the knobs of a seed's world."""
    lease_ms = chance.choice((30_000, 30_000, 20_000))
    return SimSettings(
        workers=chance.choice((1, 2, 3, 4, 5)),
        jobs=chance.choice((20, 40, 60)),
        capacity=Need(chance.choice((2_000, 4_000, 8_000)), 8 * GIB, 0, 0),
        slots=chance.choice((4, 16, 256, 4_096)),
        places_max=chance.choice((2, 2_048)),
        orders_max=chance.choice((1, 200)),
        backlog_max=chance.choice((10, 1_000_000, 1_000_000, 1_000_000)),
        lease_ms=lease_ms,
        lost_ms=lease_ms + 5_000,
        run_ms=chance.choice((100, 1_000, 4_000, 10_000, 30_000)),
        meddle_ms=chance.choice((1_500, 4_000, 20_000)),
    )
