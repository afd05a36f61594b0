"""What the Hibernator's decision and its transaction tell each other: what is due, and what becomes of it."""

from datetime import datetime

from msgspec import Struct

from swarmsync.model.schedule import Outcome, ScheduleSpec


class DueSchedule(Struct, frozen=True):
    """A schedule whose next fire has come, as its row says it."""

    schedule_id: int
    user_id: int
    spec_id: int
    spec: ScheduleSpec
    due_at: datetime
    paused: bool = False
    active: bool = False  # a job of it has not ended
    waiting: bool = False  # an earlier instant waits for that


class Fire(Struct, frozen=True):
    """One line of the ledger; `run_at` says when its job starts, None that it gets none."""

    due_at: datetime
    outcome: Outcome
    reason: str = ""
    message: str = ""
    run_at: datetime | None = None


class Turn(Struct, frozen=True):
    """All that one transaction writes about one schedule."""

    due: DueSchedule
    fires: tuple[Fire, ...]
    last_due_at: datetime
    next_fire_at: datetime | None
    replaces: bool = False  # the jobs that have not ended are cancelled first
