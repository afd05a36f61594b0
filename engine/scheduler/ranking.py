"""In which order jobs go: the policies, as functions of what is known of a job. Less goes first.

`order` decides who is next, and so for whom room is reserved; `filling` in which order others may use what is left. All
put the priority first and end with the id, so that an order is total.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import Struct


class Standing(Struct):
    """What a policy may look at: the head of a line."""

    priority: int
    job_id: int
    since_ms: int  # when it was first heard of
    estimate_ms: int
    size: float  # the part of the cluster that it takes, 0 to 1, by its scarcest resource
    level: float  # what its user has had lately (`fair_share.py`)


Rank = Callable[[Standing], tuple[Any, ...]]


class Policy(Struct, frozen=True):
    """`backfill`: others may pass a blocked job. `learns`: run times are learned, not only asked for.

    `changes`: ranks depend on time or on what users have had, and are renewed while jobs wait.
    """

    name: str
    order: Rank
    filling: Rank
    backfill: bool = True
    learns: bool = False
    changes: bool = False


def oldest(job: Standing) -> tuple[Any, ...]:
    return (-job.priority, job.job_id)


def shortest(job: Standing) -> tuple[Any, ...]:
    return (-job.priority, job.estimate_ms, job.job_id)


def smallest(job: Standing) -> tuple[Any, ...]:
    return (-job.priority, job.estimate_ms * job.size, job.job_id)


#: A job is let pass by others for as long as it is expected to run, and for so long at most.
HANDICAP_MS: Final = 30_000_000
#: What a user has had lately counts as so much time for each time the whole cluster.
SHARE_MS: Final = 3_600_000


def aged(job: Standing) -> tuple[Any, ...]:
    """Oldest first, but short ones and those of users who have had little go ahead: for a bounded time."""
    return (-job.priority, job.since_ms + min(job.estimate_ms, HANDICAP_MS) + SHARE_MS * job.level, job.job_id)


DEFAULT: Final = Policy("default", aged, shortest, learns=True, changes=True)

POLICIES: Final[Mapping[str, Policy]] = {
    policy.name: policy
    for policy in (
        DEFAULT,
        Policy("fcfs", oldest, oldest, backfill=False),
        Policy("easy", oldest, oldest),
        Policy("easy-sjf", oldest, shortest),
        Policy("sjf", shortest, shortest, backfill=False),
        Policy("sjf-easy", shortest, shortest),
        Policy("saf", smallest, smallest, backfill=False),
        Policy("saf-easy", smallest, smallest),
    )
}
