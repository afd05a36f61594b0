"""A job as the engine and the API read it from PostgreSQL."""

from datetime import datetime

from msgspec import Struct

from swarmsync.model.lifecycle import JobState
from swarmsync.model.resources import Need


class JobRef(Struct, frozen=True, order=True, array_like=True):
    """One assignment of a job. News about any other fence is stale and is dropped by comparison."""

    job_id: int
    fence: int  # raised by one in the same UPDATE that dispatches


class Waiting(Struct, frozen=True, array_like=True):
    """A queued job as the Scheduler needs it; lists are ordered by priority, then id."""

    job_id: int
    shape: int
    need: Need
    priority: int
    user_id: int
    queue: str = "default"


class Assignment(Struct, frozen=True):
    """One attempt, as shown in a job's `assignments`."""

    attempt: int
    state: str
    worker: str | None
    outcome: str | None
    reason: str | None
    message: str | None
    exit_code: int | None
    offered_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    superseded: int = 0


class JobRow(Struct, frozen=True):
    """The hot columns of `jobs` that decisions read."""

    job_id: int
    state: JobState
    fence: int
    worker_id: int | None
    user_id: int
