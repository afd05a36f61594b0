"""The knobs of a simulated world; the engine's own carry its defaults."""

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
    heal_ms: int = 900_000  # then all must have ended within this
    run_ms: int = 4_000  # the mean of what containers take
    simple: bool = False  # jobs that succeed at once, and nobody cancels

    @property
    def limits(self) -> tuple[int, int, int, int]:
        return self.suspect_ms, self.lost_ms, self.lease_ms, self.lease_slack_ms
