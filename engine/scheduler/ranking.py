"""In which order jobs go: the policies, as functions of what is known of a job. Less goes first.

`order` decides who is next, and so for whom room is reserved; `filling` in which order others may use what is left. All
put the priority first and end with the id, which counts for nothing else, so that an order is total.
"""

from collections.abc import Callable, Mapping
from math import log2, log10
from typing import Any, Final, NamedTuple

from swarmsync.model.resources import Need


class Standing:
    """What a policy may look at: the head of a line."""

    __slots__ = (
        "bound_ms",
        "estimate_ms",
        "job_id",
        "level",
        "now_ms",
        "priority",
        "since_ms",
        "size",
        "timed",
        "width",
    )

    def __init__(
        self,
        priority: int,
        job_id: int,
        since_ms: int,
        estimate_ms: int,
        bound_ms: int,
        timed: bool,  # noqa: FBT001 as the others, it is given by place
        size: float,
        level: float,
        now_ms: int = 0,
        width: float = 1.0,
    ) -> None:
        self.priority = priority
        self.job_id = job_id
        self.since_ms = since_ms  # when it was first heard of
        self.estimate_ms = estimate_ms
        self.bound_ms = bound_ms  # how long it may run, as far as others rely on it (`run_times.py`)
        self.timed = timed  # by a timeout, and so for certain
        self.size = size  # the part of the cluster that it takes, 0 to 1, by its scarcest resource
        self.level = level  # what its user has had lately (`fair_share.py`)
        self.now_ms = now_ms
        self.width = width


Rank = Callable[[Standing], tuple[Any, ...]]


class Policy(NamedTuple):
    """`backfill`: others may pass a blocked job. `learns`: run times are learned, not only asked for.

    `changes`: ranks depend on time or on what users have had, and are renewed while jobs wait. `ages`: time alone may
    put one waiting job before another. `bounds`: guesses may put a blocked job off only for so long
    (`keeping.py`); those that others published set no bound.
    """

    name: str
    order: Rank
    filling: Rank
    backfill: bool = True
    learns: bool = False
    changes: bool = False
    ages: bool = False
    bounds: bool = False


def width(need: Need) -> float:
    """Return how many cpus, or (thousands of) GPUs where it asks for no cpus."""
    return (need.cpus_milli or need.gpus) / 1_000


def oldest(job: Standing) -> tuple[Any, ...]:
    return (-job.priority, job.job_id)


def shortest(job: Standing) -> tuple[Any, ...]:
    return (-job.priority, job.estimate_ms, job.job_id)


def smallest(job: Standing) -> tuple[Any, ...]:
    return (-job.priority, job.estimate_ms * job.size, job.job_id)


def wfp3(job: Standing) -> tuple[Any, ...]:
    """By the cube of wait to run time, and wide ones first (Tang et al., Cluster'09)."""
    return (-job.priority, -((_waited_s(job) / _run_s(job)) ** 3) * job.width, job.job_id)


def unicep(job: Standing) -> tuple[Any, ...]:
    """By wait to run time, narrow ones first (Tang et al., Cluster'09); one cpu counts as two, whose logarithm is 1."""
    return (-job.priority, -_waited_s(job) / (log2(max(job.width, 2.0)) * _run_s(job)), job.job_id)


def f1(job: Standing) -> tuple[Any, ...]:
    """The formula that regression found on simulated schedules (Carastan-Santos and de Camargo, SC'17)."""
    came = 870.0 * log10(max(job.since_ms / 1_000, 1.0))
    return (-job.priority, log10(max(_run_s(job), 1.0)) * job.width + came, job.job_id)


def _waited_s(job: Standing) -> float:
    return max(job.now_ms - job.since_ms, 0) / 1_000


def _run_s(job: Standing) -> float:
    return max(job.estimate_ms, 1) / 1_000


#: A job is let pass by others for as long as it is expected to run, and for so long at most.
HANDICAP_MS: Final = 30_000_000
#: What a user has had lately counts as so much time for each time the whole cluster.
SHARE_MS: Final = 3_600_000
#: A job that takes the whole cluster, and so is the hardest to find room for, goes so much earlier.
WIDE_MS: Final = 3_600_000
#: A job that has waited for so many times as long as it may run goes first: its slowdown is certain to be so large.
SLOWED: Final = 300
#: A shorter timeout does not make a wait count for more.
_TIMEOUT_MIN_MS: Final = 60_000


def aged(job: Standing) -> tuple[Any, ...]:
    """Oldest first, but short and wide ones and those of users who have had little go ahead: for a bounded time.

    Before them all go those that are slowed down much already, however long they will run; the most slowed down first.
    """
    if job.timed:
        slowdown = (job.now_ms - job.since_ms) // max(job.bound_ms, _TIMEOUT_MIN_MS)
        if slowdown >= SLOWED:
            return (-job.priority, 0, -slowdown, job.job_id)
    came_ms = job.since_ms + min(job.estimate_ms, HANDICAP_MS) + SHARE_MS * job.level - WIDE_MS * job.size
    return (-job.priority, 1, came_ms, job.job_id)


def soonest_over(job: Standing) -> tuple[Any, ...]:
    return (-job.priority, job.bound_ms, *aged(job)[1:])


DEFAULT: Final = Policy("default", aged, soonest_over, learns=True, changes=True, bounds=True)

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
        Policy("wfp3", wfp3, wfp3, backfill=False, changes=True, ages=True),
        Policy("wfp3-easy", wfp3, wfp3, changes=True, ages=True),
        Policy("unicep", unicep, unicep, backfill=False, changes=True, ages=True),
        Policy("unicep-easy", unicep, unicep, changes=True, ages=True),
        Policy("f1", f1, f1, backfill=False),
        Policy("f1-easy", f1, f1),
    )
}
