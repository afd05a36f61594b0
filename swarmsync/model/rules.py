"""What placement must know of a job beside its need, user, queue and priority: the rare part, absent for plain jobs.

A job's rules are stored as one text beside its row and travel with `Waiting`. A line is what the Scheduler queues by:
jobs of one line are alike in everything but priority and age, so what keeps the first of them waits for all.
"""

from hashlib import blake2b
from typing import Final

import msgspec
from msgspec import Struct

from swarmsync.model.constraints import IMAGE_LOCAL
from swarmsync.model.spec import JobSpec


class Wish(Struct, frozen=True):
    """An affinity: workers that match weigh so much more, or less."""

    match: str
    weight: int


class Slots(Struct, frozen=True):
    """A concurrency key: so many at a time, over all users."""

    key: str
    limit: int


class Pace(Struct, frozen=True):
    """A rate: so many starts in any interval, over all users."""

    key: str
    starts: int
    interval_ms: int


class Rules(Struct, frozen=True, omit_defaults=True):
    """`image` is set only where an affinity asks for it; `parallel` and `failures` are the array's limits."""

    constraints: tuple[str, ...] = ()
    affinity: tuple[Wish, ...] = ()
    image: str = ""
    concurrency: Slots | None = None
    rate: Pace | None = None
    parallel: int | None = None
    failures: int | None = None
    timeout_ms: int | None = None

    @property
    def limited(self) -> bool:
        """Tell whether something beside room limits starts; then PostgreSQL counts once more (`over_limit.sql`)."""
        return not (self.concurrency is None and self.rate is None and self.parallel is None)


_PLAIN: Final = Rules()


def rules_of(spec: JobSpec) -> Rules | None:
    """Return the rules of a spec; None for a plain job."""
    array, key, rate = spec.array, spec.concurrency, spec.rate
    rules = Rules(
        constraints=spec.constraints,
        affinity=tuple([Wish(entry.match, entry.weight) for entry in spec.affinity]),
        image=spec.image if any(IMAGE_LOCAL in entry.match for entry in spec.affinity) else "",
        concurrency=None if key is None else Slots(key.key, key.limit),
        rate=None if rate is None else Pace(rate.key, rate.starts, rate.interval_ms),
        parallel=None if array is None else array.max_parallel,
        failures=None if array is None else array.max_failures,
        timeout_ms=None if spec.timeout is None else int(spec.timeout),
    )
    return None if rules == _PLAIN else rules


def write_rules(rules: Rules | None) -> str | None:
    return None if rules is None else msgspec.json.encode(rules).decode()


def read_rules(text: str | None) -> Rules | None:
    return None if text is None else msgspec.json.decode(text, type=Rules)


def line_of(shape: int, user_id: int, queue: str, rules: str | None, array_id: int | None) -> int:
    """Return the 63-bit name of the line; `rules` as stored, `array_id` counts only where the array limits itself."""
    text = f"{shape} {user_id} {queue} {rules or ''}"
    if array_id is not None and rules is not None and '"parallel"' in rules:
        text += f" {array_id}"
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) >> 1
