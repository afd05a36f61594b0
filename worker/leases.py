"""When each container of a worker must be gone, as its agent notes it down; and what its watchdog does with that. Pure.

The agent stops a container `worker.reactor.LEASE_MARGIN_MS` before its lease and its grace would be over; the watchdog
a second later, so that it acts only where the agent does not. Both end before Core may order the job elsewhere.
"""

from collections.abc import Collection, Iterable
from typing import Final

from msgspec import Struct

from worker.container_runtime import Observed, Seen
from worker.terms import read_terms

#: How long before the end of a container's lease the watchdog's SIGKILL is due.
WATCHDOG_MARGIN_MS: Final = 1_000
#: An agent that has not renewed for so long is late; the watchdog gets ready.
LATE_MS: Final = 3_000


class Leases(Struct, frozen=True):
    """What an agent last noted. Times are of the machine's clock since its start, which `boot` names.

    `heard_ms` is when the last answered pulse was sent. `kill_at` has an entry for each container before it is created.
    """

    boot: str
    heard_ms: int
    lease_ms: int
    kill_at: dict[str, int] = {}
    closed: bool = False  # the agent said good-bye and left nothing behind


class Doomed(Struct, frozen=True):
    """A container that is to go: with its stop signal and grace when it runs."""

    container_id: str
    key: str
    running: bool
    stop_signal: str
    grace_ms: int


def key_of(job: str, fence: int) -> str:
    return f"{job}-{fence}"


def is_late(leases: Leases, now_ms: int, boot: str) -> bool:
    return leases.boot != boot or now_ms - leases.heard_ms > LATE_MS


def anything_due(leases: Leases, now_ms: int, boot: str, done: Collection[str]) -> bool:
    """Whether it is time to look at the containers: one of those noted is due and was not seen to yet."""
    if leases.boot != boot:
        return True
    return any(at_ms <= now_ms and key not in done for key, at_ms in leases.kill_at.items())


def abandoned(leases: Leases, now_ms: int, boot: str) -> bool:
    """Whether the shortest lease is over: what runs without an entry then has nobody that looks after it."""
    return leases.boot != boot or now_ms - leases.heard_ms > leases.lease_ms - WATCHDOG_MARGIN_MS


def doomed(leases: Leases, seen: Iterable[Observed], now_ms: int, boot: str) -> list[Doomed]:
    """Return the containers that are to go now. What has ended by itself stays: an agent that comes back reports it."""
    orphans_too = abandoned(leases, now_ms, boot)
    found = []
    for observed in seen:
        if observed.state not in (Seen.RUNNING, Seen.CREATED):
            continue
        key = key_of(observed.job, observed.fence)
        at_ms = leases.kill_at.get(key) if leases.boot == boot else None
        if at_ms is None and not orphans_too:
            continue
        if at_ms is not None and at_ms > now_ms:
            continue
        terms = read_terms(observed.note)
        running = observed.state is Seen.RUNNING
        found.append(Doomed(observed.container_id, key, running, terms.stop_signal, terms.grace_ms))
    return found
