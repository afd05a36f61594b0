"""How much of the cluster one queue or one user may take at a time. None stands for "no limit"."""

from typing import Literal

from msgspec import Struct


class QueueLimits(Struct, frozen=True, array_like=True):
    """A queue's limits count the jobs that are placed (starting, running, stopping); `placement` names how they spread.

    `weight` is reserved for shares between queues.
    """

    name: str
    paused: bool = False
    max_running: int | None = None
    max_running_per_user: int | None = None
    max_cpus_milli: int | None = None
    max_memory_bytes: int | None = None
    placement: Literal["pack", "spread"] = "pack"
    weight: int = 1


class UserLimits(Struct, frozen=True, array_like=True):
    """A user's limits count over all queues; a user with twice the weight gets twice the share when all want more."""

    user_id: int
    max_running: int | None = None
    max_cpus_milli: int | None = None
    max_memory_bytes: int | None = None
    max_gpus: int | None = None
    weight: int = 1
