"""Rows to the JSON documents of the contract. Ids become text, times RFC 3339 UTC, amounts plain numbers."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import msgspec

from api.answers.jobs import Attempt, ResultStream
from api.answers.system import Amounts, LogRecord, WorkerDocument
from swarmsync import ids
from swarmsync.clock import rfc3339
from swarmsync.model.lifecycle import FINAL, PLACED, JobState, Liveness, WaitReason
from swarmsync.model.result import read_result
from swarmsync.store.details import JobDetail
from swarmsync.store.lists import Row
from swarmsync.store.submit import NewJob, Submission
from swarmsync.store.users import Caller

Document = dict[str, Any]

_EVALUATING: Final = "the Scheduler has not looked at it yet"
_FINAL: Final = frozenset(FINAL)
_PLACED: Final = frozenset(PLACED)


def as_stored(text: str) -> Any:
    """What PostgreSQL holds as JSON goes out as it is."""
    return msgspec.Raw(text.encode())


def text_id(number: int | None) -> str | None:
    return None if number is None else ids.encode(number)


def job(row: Row) -> Document:
    """One job as lists show it; a very large spec is shown only with the job alone, and null in lists."""
    state = row["state"]
    reason, message = waiting_reason(row) if state == JobState.QUEUED else (row["reason"], row["message"])
    result = read_result(row["result"]) or None
    return {
        "id": ids.encode(row["id"]),
        "name": row["name"],
        "user": row["username"],
        "queue": row["queue"],
        "state": state,
        "reason": reason,
        "message": message,
        "since": rfc3339(row["since"]),
        "priority": row["priority"],
        "labels": as_stored(row["labels"]),
        "spec": as_stored(row["document"]) if row["document"] is not None else None,
        "submitted_at": rfc3339(row["submitted_at"]),
        "run_at": rfc3339(row["run_at"]),
        "expires_at": rfc3339(row["expires_at"]),
        "started_at": rfc3339(row["started_at"]) if state in _PLACED or state in _FINAL else None,
        "finished_at": rfc3339(row["finished_at"]),
        "attempt": row["fence"],
        "fence": row["fence"],
        "worker": row["worker"] if state in _PLACED or state in _FINAL else None,
        "exit_code": row["exit_code"],
        "image": row["image"],
        "stop_reason": row["stop_reason"],
        "rerun_of": text_id(row["rerun_of"]),
        "schedule_id": text_id(row["schedule_id"]),
        "array_id": text_id(row["array_id"]),
        "array_index": row["array_index"],
        "array_size": row["array_size"],
        "result": result if state in _FINAL else None,
        "output_bytes": _output_bytes(result, {}),
        "output_truncated": truncated(result),
    }


def gone_by(row: Row, lease_ms: int) -> str | None:
    """By when a container that is to stop will have ended although nobody reaches its worker: the end of its lease."""
    if row["state"] != JobState.STOPPING or row["worker_liveness"] in (None, Liveness.READY):
        return None
    if row["worker_pulse_at"] is None:
        return None
    lease = max(lease_ms, 2 * int(row["grace_ms"]) + 10_000)
    return rfc3339(row["worker_pulse_at"] + timedelta(milliseconds=lease))


def waiting_reason(row: Row) -> tuple[str, str]:
    """Why a queued job waits: its own reason, else its shape's, else that nobody has looked yet."""
    if row["reason"]:
        return row["reason"], row["message"]
    if row["shape_reason"]:
        return row["shape_reason"], row["shape_message"]
    return WaitReason.EVALUATING.value, row["message"] or _EVALUATING


def job_detail(detail: JobDetail) -> Document:
    """One job as it is shown alone: with its attempts, the live one last, and an array's counts."""
    row = detail.job
    document = job(row)
    attempts = [_assignment(entry) for entry in detail.assignments]
    if row["assignment_state"] is not None:
        attempts.append(_live_assignment(row))
    document["assignments"] = attempts
    if detail.stored:
        document["output_bytes"] = _output_bytes(None, detail.stored)
    if detail.members is not None:
        document["array"] = {"total": row["array_size"], "by_state": detail.members}
    return document


def _assignment(row: Row) -> Attempt:
    return {
        "attempt": row["fence"],
        "state": row["state"],
        "worker": row["worker"],
        "outcome": row["outcome"],
        "reason": row["reason"],
        "message": row["message"],
        "exit_code": row["exit_code"],
        "offered_at": rfc3339(row["offered_at"]),
        "started_at": rfc3339(row["started_at"]),
        "ended_at": rfc3339(row["ended_at"]),
        "superseded": row["superseded"],
    }


def _live_assignment(row: Row) -> Attempt:
    return {
        "attempt": row["fence"],
        "state": row["assignment_state"],
        "worker": row["worker"],
        "outcome": None,
        "reason": None,
        "message": None,
        "exit_code": None,
        "offered_at": rfc3339(row["offered_at"]),
        "started_at": rfc3339(row["started_at"]),
        "ended_at": None,
        "superseded": 0,
    }


def _output_bytes(result: Any, stored: Mapping[int, int]) -> Document:
    """Bytes that the streams have brought so far; null where it is not known."""
    if result:
        return {name: (result.get(name) or {}).get("size") for name in ("stdout", "stderr")}
    return {"stdout": stored.get(1), "stderr": stored.get(2)}


def truncated(result: Any) -> list[str]:
    """Name the streams of which not everything was kept."""
    streams = {name: (result or {}).get(name) or {} for name in ("stdout", "stderr")}
    return [name for name, kept in streams.items() if kept.get("kept", 0) < kept.get("size", 0)]


def new_job(caller: Caller, submission: Submission, entry: NewJob, rerun_of: int | None) -> Document:
    """A job that is about to be committed, exactly as it will be read back."""
    draft, start = submission.specs[entry.spec_id]
    array = draft.spec.array
    row: dict[str, Any] = dict.fromkeys(_NEW, None) | {
        "id": entry.job_id,
        "username": caller.username,
        "name": draft.spec.name,
        "queue": draft.spec.queue,
        "state": start.state.value,
        "reason": str(start.reason),
        "message": start.message,
        "since": submission.now,
        "submitted_at": submission.now,
        "priority": draft.spec.priority,
        "labels": draft.labels,
        "document": draft.document,
        "run_at": start.run_at,
        "expires_at": start.expires_at,
        "fence": 0,
        "rerun_of": rerun_of,
        "array_size": array.size() if array is not None else None,
    }
    members = None if array is None else {start.state.value: row["array_size"]}
    return job_detail(JobDetail(row, [], members))


_NEW: Final = (
    "started_at", "finished_at", "worker", "exit_code", "image", "stop_reason", "schedule_id", "array_id",
    "array_index", "result", "assignment_state", "offered_at", "shape_reason", "shape_message",
)  # fmt: skip


def result(detail: JobDetail) -> Document:
    """How a job ended, and what there is of it: its streams, and its outputs as the worker collected them."""
    row = detail.job
    kept = read_result(row["result"])
    seconds = None
    if row["started_at"] is not None and row["finished_at"] is not None:
        seconds = round((row["finished_at"] - row["started_at"]).total_seconds(), 6)
    document: Document = {
        "id": ids.encode(row["id"]),
        "name": row["name"],
        "state": row["state"],
        "reason": row["reason"],
        "message": row["message"],
        "exit_code": row["exit_code"],
        "attempt": row["fence"],
        "worker": row["worker"],
        "submitted_at": rfc3339(row["submitted_at"]),
        "started_at": rfc3339(row["started_at"]),
        "finished_at": rfc3339(row["finished_at"]),
        "duration_s": seconds,
        "stdout": _stream(kept.get("stdout")),
        "stderr": _stream(kept.get("stderr")),
        "cpu_ms": kept.get("cpu_ms"),
        "memory_peak_bytes": kept.get("memory_peak_bytes"),
        "outputs": kept.get("outputs", []),
    }
    if detail.members is not None:
        document["array"] = {"total": row["array_size"], "by_state": detail.members}
    return document


def _stream(kept: Any) -> ResultStream | None:
    if not kept:
        return None
    size, stored = kept.get("size", 0), kept.get("kept", 0)
    known: ResultStream = {
        "size": size,
        "kept": stored,
        "truncated": stored < size,
        "sha256": kept.get("sha256") or None,
    }
    if kept.get("kept_sha256"):
        known["kept_sha256"] = kept["kept_sha256"]
    return known


def worker(row: Row, *, with_use: bool) -> WorkerDocument:
    """One worker. What is used is known to operators only: others see no more than their own jobs."""
    document: WorkerDocument = {
        "id": ids.encode(row["id"]),
        "name": row["name"],
        "liveness": row["liveness"],
        "eligibility": row["eligibility"],
        "note": row["note"],
        "drain_until": rfc3339(row["drain_until"]),
        "capacity": _amounts(row, "cpus_milli", "memory_bytes", "gpus", "disk_bytes"),
        "used": None,
        "jobs": None,
        "gpus": row["gpus"],
        "labels": as_stored(row["labels"]),
        "runtime": row["runtime"],
        "version": row["version"],
        "images": list(row["images"]),
        "joined_at": rfc3339(row["joined_at"]),
        "last_pulse_at": rfc3339(row["last_pulse_at"]),
    }
    if with_use:
        document["used"] = _amounts(row, "cpus_used", "memory_used", "gpus_used", "disk_used")
        document["jobs"] = row["jobs"]
    return document


def _amounts(row: Row, cpus_milli: str, memory: str, gpus: str, disk: str) -> Amounts:
    return {
        "cpus": float(row[cpus_milli]) / 1000,
        "memory": int(row[memory]),
        "gpus": int(row[gpus]),
        "disk": int(row[disk]),
    }


def record(row: Row) -> LogRecord:
    return {
        "id": ids.encode(row["id"]),
        "at": rfc3339(row["at"]),
        "source": row["source"],
        "level": row["level"],
        "message": row["message"],
        "job": text_id(row["job_id"]),
        "fields": as_stored(row["fields"]),
    }
