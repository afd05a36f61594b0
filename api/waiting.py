"""`why`: what stands between a job and its start, in words that a user can act on. Pure."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from api.documents import waiting_reason
from swarmsync import ids
from swarmsync.clock import rfc3339
from swarmsync.model.lifecycle import JobState, WaitReason
from swarmsync.model.resources import format_cpus, format_size
from swarmsync.store.lists import Row

W = WaitReason


def explain(row: Row, position: int | None) -> dict[str, Any]:
    """Return the answer of `GET /v1/jobs/{id}/why`; a job that waits for nothing has no blockers."""
    state = row["state"]
    blockers = []
    if state == JobState.QUEUED:
        reason, message = waiting_reason(row)
        since = row["shape_since"] if row["shape_reason"] and not row["reason"] else row["since"]
        blockers.append({"reason": reason, "message": message, "since": rfc3339(since)})
    elif state in (JobState.HELD, JobState.SCHEDULED, JobState.BLOCKED):
        blockers.append({"reason": row["reason"], "message": row["message"], "since": rfc3339(row["since"])})
        if state == JobState.HELD and row["run_at"] is not None:
            sentence = f"starts at {rfc3339(row['run_at'])}"
            blockers.append({"reason": W.START_TIME.value, "message": sentence, "since": rfc3339(row["since"])})
    helps = [
        _REMEDIES[reason](row) for reason in (str(blocker["reason"]) for blocker in blockers) if reason in _REMEDIES
    ]
    return {"state": state, "blockers": blockers, "position": position, "would_start_if": helps}


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
    W.WORKERS_CORDONED: lambda _: "a worker is uncordoned: consumer worker uncordon NAME",
    W.RESOURCES: lambda row: f"a worker has {_room(row)} free",
    W.PRIORITY: lambda _: "the jobs of higher priority before it have started, or its priority is raised",
    W.FAIR_SHARE: lambda _: "others have had their share",
    W.EVALUATING: lambda _: "the Scheduler takes its next turn",
}
