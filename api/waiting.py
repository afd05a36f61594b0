"""`why`: everything that stands between a job and its start, in words that a user can act on. Pure.

The Scheduler's own answer goes before the rows: it knows all blockers, the rows know the first. Without it (it is busy,
or being replaced) the rows must do.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from api.documents import waiting_reason
from swarmsync import ids
from swarmsync.clock import rfc3339
from swarmsync.model.explanation import Blocker, Explanation, in_order
from swarmsync.model.lifecycle import FINAL, PLACED, JobState, WaitReason
from swarmsync.model.resources import format_cpus, format_size
from swarmsync.store.lists import Row
from swarmsync.store.waits import Parent, Waits

W = WaitReason
NO_WAITS: Final = Waits([], [])
PARENTS_NAMED: Final = 20
_FINAL: Final = frozenset(FINAL)
_PLACED: Final = frozenset(PLACED)
_READY: Final = "the Scheduler takes its next turn"


def explain(
    row: Row, position: int | None, answer: Explanation | None = None, waits: Waits = NO_WAITS
) -> dict[str, Any]:
    """Return the answer of `GET /v1/jobs/{id}/why`; a job that waits for nothing has no blockers."""
    state = row["state"]
    if state in _FINAL or (state in _PLACED and not waits.members):
        return {"state": state, "blockers": [], "position": None, "would_start_if": [], "message": _doing(row)}
    if answer is not None and answer.position is not None and state == JobState.QUEUED:
        position = answer.position
    blockers = _of_members(waits.members) if waits.members else [*_own(row, waits.parents), *_of_answer(row, answer)]
    if state == JobState.QUEUED and not any(blocker.get("blocking", True) for blocker in blockers):
        blockers += _of_rows(row) if answer is None else [_next(row, answer)]
    blockers = in_order(blockers)
    return {
        "state": state,
        "blockers": blockers,
        "position": position,
        "would_start_if": _helps(row, blockers, answer, waits.parents),
        "message": _doing(row),
    }


def dependency(parents: Sequence[Parent], since: str | None) -> list[dict[str, Any]]:
    """Return a blocker for the parents that have not ended, and one for those that ended otherwise than wished."""
    open_, never = [p for p in parents if p.met is None], [p for p in parents if p.met is False]
    blockers = []
    for reason, some, lead in ((W.DEPENDENCY, open_, "waits for"), (W.DEPENDENCY_NEVER_SATISFIED, never, "waited for")):
        if some:
            named = ", ".join(_named(parent) for parent in some[:PARENTS_NAMED])
            more = f" and {len(some) - PARENTS_NAMED} more" if len(some) > PARENTS_NAMED else ""
            count = f"{len(some)} jobs: " if len(some) > 1 else ""
            told = [{"job": ids.encode(p.job_id), "condition": p.condition, "state": p.state} for p in some]
            message = f"{lead} {count}{named}{more}"
            blockers.append({"reason": reason.value, "message": message, "since": since, "parents": told})
    return blockers


def _named(parent: Parent) -> str:
    return f"job {ids.encode(parent.job_id)} to have {parent.condition} (it is {parent.state or 'deleted'})"


def _own(row: Row, parents: Sequence[Parent]) -> list[dict[str, Any]]:
    """What the job's own state and its parents say; a job that is held waits for all the rest as well."""
    state, since = row["state"], rfc3339(row["since"])
    blockers: list[dict[str, Any]] = []
    if state in (JobState.HELD, JobState.SCHEDULED) or (state == JobState.BLOCKED and not parents):
        blockers.append({"reason": row["reason"], "message": row["message"], "since": since})
    if state in (JobState.HELD, JobState.BLOCKED) and row["run_at"] is not None:
        sentence = f"starts at {rfc3339(row['run_at'])}"
        blockers.append({"reason": W.START_TIME.value, "message": sentence, "since": since})
    if state in (JobState.HELD, JobState.BLOCKED):
        blockers += dependency(parents, since)
    return blockers


def _of_answer(row: Row, answer: Explanation | None) -> list[dict[str, Any]]:
    if answer is None:
        return []
    since = {blocker.reason: rfc3339(_since(row, blocker.reason)) for blocker in answer.blockers}
    return [shown(blocker, since[blocker.reason]) for blocker in answer.blockers if blocker.reason is not W.EVALUATING]


def shown(blocker: Blocker, since: str | None) -> dict[str, Any]:
    """Return a blocker of the Scheduler's as the API shows it."""
    extra: dict[str, Any] = {} if blocker.blocking else {"blocking": False}
    if blocker.holders:
        extra["holders"] = list(blocker.holders)
    return {"reason": blocker.reason.value, "message": blocker.message, "since": since, **extra}


def _since(row: Row, reason: str) -> datetime:
    """A line may have waited for this longer than the job has been in it."""
    since: datetime = row["since"]
    line_since: datetime | None = row["shape_since"] if row["shape_reason"] == reason else None
    return since if line_since is None else max(since, line_since)


def _of_rows(row: Row) -> list[dict[str, Any]]:
    reason, message = waiting_reason(row)
    since = row["shape_since"] if row["shape_reason"] and not row["reason"] else row["since"]
    return [{"reason": reason, "message": message, "since": rfc3339(since)}]


def _next(row: Row, answer: Explanation) -> dict[str, Any]:
    fits = f"it fits on worker {answer.worker} now; " if answer.worker else ""
    if answer.verdict == "placed":
        sentence = f"it was given to worker {answer.worker or '(one that left)'}; its order is on the way"
        return {"reason": W.EVALUATING.value, "message": sentence, "since": rfc3339(row["since"])}
    return {"reason": W.EVALUATING.value, "message": fits + _READY, "since": rfc3339(row["since"])}


def _of_members(members: Sequence[Row]) -> list[dict[str, Any]]:
    """An array tells of its members in counts by reason."""
    told = []
    for entry in members:
        reason = entry["reason"] or W.EVALUATING.value
        what = "member waits" if entry["jobs"] == 1 else "members wait"
        message = f"{entry['jobs']} {what}: {entry['message'] or _READY}"
        told.append({"reason": reason, "message": message, "since": rfc3339(entry["since"]), "members": entry["jobs"]})
    return told


def _helps(
    row: Row, blockers: Sequence[Mapping[str, Any]], answer: Explanation | None, parents: Sequence[Parent]
) -> list[str]:
    """What would take the blockers away: the Scheduler's own words where it has some."""
    whole = [] if answer is None else list(answer.would_start_if)
    told = set() if answer is None else {b.reason.value for b in answer.blockers if b.help or not b.blocking}
    helps = []
    for blocker in blockers:
        reason = str(blocker["reason"])
        if reason == W.DEPENDENCY:
            helps += [f"job {ids.encode(p.job_id)} has {p.condition}" for p in parents[:PARENTS_NAMED] if p.met is None]
        elif reason in _REMEDIES and reason not in told:
            helps.append(_REMEDIES[reason](row))
    return list(dict.fromkeys(helps + whole))


def _doing(row: Row) -> str:
    """Where a job is that does not wait."""
    worker = row.get("worker") or "a worker"
    match row["state"]:
        case JobState.STARTING:
            step = row.get("assignment_state") or "offered"
            return f"it is with {worker}, which is at: {step}"
        case JobState.RUNNING:
            return f"it runs on {worker}" if row.get("worker") else "its members run"
        case JobState.STOPPING:
            return f"it is being stopped on {worker}: {row['message'] or row['reason']}"
    return ""


def _room(row: Row) -> str:
    parts = [f"{format_cpus(row['cpus_milli'])} cpus", f"{format_size(row['memory_bytes'])} of memory"]
    if row["gpus"]:
        parts.append(f"{row['gpus']} gpus")
    if row["disk_bytes"]:
        parts.append(f"{format_size(row['disk_bytes'])} of disk")
    return ", ".join(parts)


_REMEDIES: Final[Mapping[str, Callable[[Row], str]]] = {
    W.HELD: lambda row: f"it is released: consumer job release {ids.encode(row['id'])}",
    W.START_TIME: lambda row: f"its time comes: {rfc3339(row['run_at'])}",
    W.RETRY_BACKOFF: lambda row: f"the pause before its next attempt is over: {rfc3339(row['run_at'])}",
    W.QUEUE_PAUSED: lambda row: f"the queue {row['queue']} is resumed",
    W.UNSATISFIABLE: lambda row: f"a worker with {_room(row)} joins, or the job asks for less",
    W.NO_WORKERS: lambda _: "a worker joins: swarmsyncd worker",
    W.USER_QUOTA: lambda _: "one of its user's jobs ends",
    W.QUEUE_LIMIT: lambda row: f"a job of the queue {row['queue']} ends",
    W.CONCURRENCY_LIMIT: lambda _: "a job with the same concurrency key ends",
    W.RATE_LIMIT: lambda _: "the interval of its rate has passed",
    W.ARRAY_LIMIT: lambda _: "another member of its array ends",
    W.WORKERS_CORDONED: lambda _: "a worker is uncordoned: consumer worker uncordon NAME",
    W.RESOURCES: lambda row: f"a worker has {_room(row)} free",
    W.PRIORITY: lambda _: "the jobs of higher priority before it have started, or its priority is raised",
    W.FAIR_SHARE: lambda _: "others have had their share",
    W.RESERVED: lambda _: "the larger job that the room is kept for has started",
    W.EVALUATING: lambda _: _READY,
}
