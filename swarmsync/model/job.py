"""A job as the engine and the API read it from PostgreSQL."""

from typing import Any

from msgspec import Struct

from swarmsync.model.bounds import Id
from swarmsync.model.lifecycle import JobState
from swarmsync.model.resources import Need
from swarmsync.model.rules import Rules


class JobRef(Struct, frozen=True, order=True, array_like=True, gc=False):
    """One assignment of a job. News about any other fence is stale and is dropped by comparison."""

    job_id: Id
    fence: Id  # raised by one in the same UPDATE that dispatches


class Waiting(Struct, frozen=True, array_like=True):
    """A queued job as the Scheduler needs it; lists are ordered by priority, then id.

    `line` names the jobs that are alike in all but priority and age (`rules.line_of`); 0 stands for the shape.
    """

    job_id: int
    shape: int
    need: Need
    priority: int
    user_id: int
    queue: str = "default"
    line: int = 0
    rules: Rules | None = None
    array_id: int | None = None


class Grown(Struct, frozen=True):
    """What a job needs from its next attempt on: more memory, and so another shape and line."""

    memory_bytes: int
    shape: int
    line: int


class Settlement(Struct, frozen=True):
    """What `store.jobs.settle` writes: the job's next state and the record of the assignment that ended."""

    ref: JobRef
    state: JobState
    reason: str
    message: str
    exit_code: int | None
    delay_ms: int
    tries: int
    crashes: int
    ran_ms: int | None  # how long the container ran; None when it never started
    result: dict[str, Any] | None
    assignment_state: str  # "ended" or "lost"
    outcome: str
    assignment_reason: str
    assignment_message: str
    orders: tuple[int, int] | None = None
    grown: Grown | None = None
