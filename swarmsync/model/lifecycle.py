"""Every state, every reason, and who may change what. This file knows all transitions; nothing else names them.

The database guards (`sources`), the documents' diagrams and the simulation's checks are all made from `TRANSITIONS`.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class JobState(StrEnum):
    HELD = "held"
    SCHEDULED = "scheduled"
    BLOCKED = "blocked"
    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class AssignmentState(StrEnum):
    OFFERED = "offered"
    ACCEPTED = "accepted"
    PULLING = "pulling"
    CREATING = "creating"
    RUNNING = "running"
    STOPPING = "stopping"
    COLLECTING = "collecting"
    ENDED = "ended"
    LOST = "lost"


class Liveness(StrEnum):
    """What Core believes about a worker's process."""

    JOINING = "joining"
    READY = "ready"
    SUSPECT = "suspect"
    LOST = "lost"
    OFFLINE = "offline"


class Eligibility(StrEnum):
    """Whether people (or the quarantine rule) let a worker take new work."""

    OPEN = "open"
    CORDONED = "cordoned"
    DRAINING = "draining"
    DRAINED = "drained"
    QUARANTINED = "quarantined"


class WaitReason(StrEnum):
    """Why a job does not run yet, in order of precedence: lists show the first, `why` shows all."""

    HELD = "Held"
    QUEUE_PAUSED = "QueuePaused"
    START_TIME = "StartTime"
    RETRY_BACKOFF = "RetryBackoff"
    DEPENDENCY = "Dependency"
    DEPENDENCY_NEVER_SATISFIED = "DependencyNeverSatisfied"
    UNSATISFIABLE = "Unsatisfiable"
    NO_WORKERS = "NoWorkers"
    USER_QUOTA = "UserQuota"
    QUEUE_LIMIT = "QueueLimit"
    CONCURRENCY_LIMIT = "ConcurrencyLimit"
    RATE_LIMIT = "RateLimit"
    ARRAY_LIMIT = "ArrayLimit"
    WORKERS_CORDONED = "WorkersCordoned"
    PRIORITY = "Priority"
    FAIR_SHARE = "FairShare"
    RESERVED = "Reserved"
    RESOURCES = "Resources"
    EVALUATING = "Evaluating"


class EndReason(StrEnum):
    """What ended an assignment or a job; read from the runtime, never guessed from an exit code."""

    COMPLETED = "Completed"
    EXIT_CODE = "ExitCode"
    SIGNAL = "Signal"
    OOM_KILLED = "OOMKilled"
    TIMEOUT = "Timeout"
    QUEUE_TIMEOUT = "QueueTimeout"
    DEADLINE_PASSED = "DeadlinePassed"
    CANCELLED_BY_USER = "CancelledByUser"
    CANCELLED_BY_POLICY = "CancelledByPolicy"
    PREEMPTED = "Preempted"
    WORKER_LOST = "WorkerLost"
    WORKER_DRAINED = "WorkerDrained"
    CONTAINER_REMOVED = "ContainerRemoved"
    IMAGE_NOT_FOUND = "ImageNotFound"
    IMAGE_UNAUTHORIZED = "ImageUnauthorized"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    CREATE_FAILED = "CreateFailed"
    START_FAILED = "StartFailed"
    INPUT_MISSING = "InputMissing"
    OUTPUT_TOO_LARGE = "OutputTooLarge"
    CHECKSUM_MISMATCH = "ChecksumMismatch"
    LOG_LIMIT = "LogLimit"
    DOCKER_ERROR = "DockerError"
    ATTEMPTS_EXHAUSTED = "AttemptsExhausted"
    CRASH_LIMIT = "CrashLimit"
    DEPENDENCY_FAILED = "DependencyFailed"


class Actor(StrEnum):
    """Who may change a job's state."""

    API = "api"
    HIBERNATOR = "hibernator"
    DISPATCHER = "dispatcher"
    HARVESTER = "harvester"
    RESTORE = "restore"  # the first start after a backup was restored


_S = JobState
WAITING: Final = (_S.HELD, _S.SCHEDULED, _S.BLOCKED, _S.QUEUED)
PLACED: Final = (_S.STARTING, _S.RUNNING, _S.STOPPING)
ACTIVE: Final = WAITING + PLACED
FINAL: Final = (_S.SUCCEEDED, _S.FAILED, _S.TIMED_OUT, _S.CANCELLED, _S.EXPIRED)

#: Names that filters accept beside the states themselves.
STATE_GROUPS: Final[Mapping[str, tuple[JobState, ...]]] = {"waiting": WAITING, "active": ACTIVE, "finished": FINAL}

TRANSITIONS: Final[Mapping[Actor, frozenset[tuple[JobState, JobState]]]] = {
    Actor.API: frozenset(
        {(state, _S.CANCELLED) for state in WAITING}
        | {(_S.SCHEDULED, _S.HELD), (_S.BLOCKED, _S.HELD), (_S.QUEUED, _S.HELD)}
        | {(_S.HELD, _S.SCHEDULED), (_S.HELD, _S.BLOCKED), (_S.HELD, _S.QUEUED)}
        | {(_S.STARTING, _S.STOPPING), (_S.RUNNING, _S.STOPPING)}
    ),
    Actor.HIBERNATOR: frozenset(
        {(_S.SCHEDULED, _S.QUEUED), (_S.SCHEDULED, _S.BLOCKED)}
        | {(state, _S.EXPIRED) for state in WAITING}
        | {(state, _S.CANCELLED) for state in WAITING}  # a schedule replaces its earlier job
        | {(_S.STARTING, _S.STOPPING), (_S.RUNNING, _S.STOPPING)}
    ),
    Actor.DISPATCHER: frozenset({(_S.QUEUED, _S.STARTING)}),
    Actor.HARVESTER: frozenset(
        {(_S.STARTING, _S.RUNNING), (_S.STARTING, _S.STOPPING), (_S.RUNNING, _S.STOPPING)}
        | {(state, target) for state in PLACED for target in (_S.SUCCEEDED, _S.FAILED, _S.TIMED_OUT, _S.CANCELLED)}
        | {(state, target) for state in PLACED for target in (_S.QUEUED, _S.SCHEDULED)}
        | {(_S.BLOCKED, _S.QUEUED), (_S.BLOCKED, _S.SCHEDULED), (_S.BLOCKED, _S.CANCELLED)}
        | {(_S.HELD, _S.CANCELLED), (_S.SCHEDULED, _S.CANCELLED)}  # what it waited for can never be; its array is over
        | {(_S.QUEUED, _S.RUNNING)}  # an array's own row, when its first member starts
        | {(_S.QUEUED, target) for target in (_S.SUCCEEDED, _S.FAILED, _S.TIMED_OUT, _S.CANCELLED)}
    ),
    Actor.RESTORE: frozenset({(_S.QUEUED, _S.SCHEDULED)}),
}


class IllegalTransition(AssertionError):
    """A bug in the actor, never a user's error."""


def advance(current: JobState, target: JobState, *, by: Actor) -> JobState:
    """Return `target`, or raise IllegalTransition."""
    if (current, target) not in TRANSITIONS[by]:
        raise IllegalTransition(f"{by} may not change a job from {current} to {target}")
    return target


def sources(target: JobState, *, by: Actor) -> list[str]:
    """States from which `by` may reach `target`, for `WHERE state = ANY(...)`."""
    return sorted(a.value for a, b in TRANSITIONS[by] if b is target)
