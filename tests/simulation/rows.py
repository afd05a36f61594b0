"""The rows of the fake store, and the invariants that the schema's CHECKs, triggers and the transition table state."""

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from swarmsync.model.job import JobRef, Waiting
from swarmsync.model.lifecycle import FINAL, PLACED, TRANSITIONS, Actor, JobState
from swarmsync.model.resources import Need

FINALS = frozenset(state.value for state in FINAL)
PLACEDS = frozenset(state.value for state in PLACED)


class Broken(AssertionError):
    """An invariant does not hold: the simulation has found something."""


class Row(Struct):
    """A row of `jobs`; `row["fence"]` reads as an asyncpg.Record does."""

    id: int
    shape: int
    need: Need
    document: str
    grace_ms: int
    state: str = "queued"
    user_id: int = 1
    priority: int = 50
    reason: str = ""
    message: str = ""
    run_at: int | None = None
    expires_at: int | None = None
    started_at: int | None = None
    finished_at: int | None = None
    fence: int = 0
    worker_id: int | None = None
    assignment_state: str | None = None
    orders_epoch: int = 0
    orders_seq: int = 0
    exit_code: int | None = None
    tries: int = 0
    crashes: int = 0
    stop_reason: str | None = None
    stop_kill: bool = False
    array_id: int | None = None
    array_index: int | None = None
    array_size: int | None = None
    after: tuple[tuple[int, str], ...] = ()  # jobs it waits for, and how each must end

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)

    @property
    def cpus_milli(self) -> int:
        return self.need.cpus_milli

    @property
    def memory_bytes(self) -> int:
        return self.need.memory_bytes

    @property
    def gpus(self) -> int:
        return self.need.gpus

    @property
    def disk_bytes(self) -> int:
        return self.need.disk_bytes

    @property
    def ref(self) -> JobRef:
        return JobRef(self.id, self.fence)

    @property
    def is_array(self) -> bool:
        return self.array_size is not None and self.array_id is None

    @property
    def waiting(self) -> Waiting:
        return Waiting(self.id, self.shape, self.need, self.priority, 1)


class Record(Struct):
    """A row of `assignments`: an attempt that is over."""

    ref: JobRef
    worker_id: int
    state: str
    outcome: str
    reason: str
    exit_code: int | None
    superseded: int = 0


class Dependency(Struct):
    """A row of `job_dependencies`; `met` is noted once the parent has ended."""

    condition: str
    met: bool | None = None


Watcher = Callable[[Row, dict[str, Any], Actor], None]


def change(row: Row, by: Actor, **new: Any) -> None:
    """Write, if every rule of the table and of the schema allows it."""
    state = new.get("state", row.state)
    if state != row.state:
        if (JobState(row.state), JobState(state)) not in TRANSITIONS[by]:
            raise Broken(f"{by} moved job {row.id} from {row.state} to {state}: no such transition")
        if row.finished_at is not None:
            raise Broken(f"job {row.id} is {row.state} for good and became {state}")
    fence = new.get("fence", row.fence)
    dispatched = row.state == "queued" and state == "starting"
    if fence != row.fence + dispatched:
        raise Broken(f"job {row.id} went from fence {row.fence} to {fence} on its way from {row.state} to {state}")
    for name, value in new.items():
        setattr(row, name, value)
    check(row)


def check(row: Row) -> None:
    """The CHECK constraints of `jobs`."""
    placed = row.state in PLACEDS and not row.is_array
    problems = {
        "placed_has_worker": placed == (row.assignment_state is not None)
        and (row.assignment_state is None or row.worker_id is not None),
        "final_has_end": (row.state in FINALS) == (row.finished_at is not None),
        "scheduled_has_time": row.state != "scheduled" or row.run_at is not None,
        "member_has_index": (row.array_id is None) == (row.array_index is None),
        "stopping_has_cause": row.state != "stopping" or row.stop_reason is not None,
        "priority": 0 <= row.priority <= 100,
        "counts": row.tries >= 0 and row.crashes >= 0,
    }
    for name, holds in problems.items():
        if not holds:
            raise Broken(f"job {row.id} breaks {name}: {row}")
