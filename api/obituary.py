"""The obituary: one line that names what ended a job, and the evidence that it rests on. Pure."""

import signal
from collections.abc import Sequence
from typing import Final

import msgspec

from api.answers.jobs import EarlierAttempt, Evidence, Obituary
from swarmsync.model.lifecycle import FINAL, EndReason, JobState
from swarmsync.model.resources import format_duration, format_size, parse_duration_ms
from swarmsync.model.result import read_result
from swarmsync.store.details import JobDetail
from swarmsync.store.lists import Row

R = EndReason
EARLIER_TOLD: Final = 5
_SIGNALLED: Final = 128
_FINAL: Final = frozenset(FINAL)
_LEAD: Final = {
    JobState.SUCCEEDED: "succeeded",
    JobState.FAILED: "failed",
    JobState.TIMED_OUT: "timed out",
    JobState.CANCELLED: "was cancelled",
    JobState.EXPIRED: "expired",
}


def obituary(detail: JobDetail, stopped: str = "") -> Obituary | None:
    """Return `line` and `evidence` of a job that has ended. `stopped` is what was said when it was asked to stop."""
    row = detail.job
    if row["state"] not in _FINAL:
        return None
    evidence = _evidence(row, detail.assignments, stopped)
    whole = detail.members is not None  # an array has no container of its own; its message counts its members
    cause = str(row["message"]) if whole and row["message"] else _cause(row, evidence)
    parts = [f"The job {_LEAD[JobState(row['state'])]}: {cause}"]
    if detail.members is not None:
        counts = ", ".join(f"{count} {state}" for state, count in sorted(detail.members.items()))
        parts.append(f"; members: {counts}")
    where = "" if whole else _where(evidence)
    if where:
        parts.append(f"; {where}")
    if evidence["earlier"]:
        parts.append(f"; before that {_earlier(evidence['earlier'])}")
    return {"line": "".join(parts) + ".", "evidence": evidence}


def _evidence(row: Row, assignments: Sequence[Row], stopped: str) -> Evidence:
    last = assignments[-1] if assignments else None
    result = read_result(row["result"])
    code = row["exit_code"]
    ran_ms = result.get("ran_ms")
    return {
        "reason": row["reason"],
        "cause": last["reason"] if last is not None else row["reason"],
        "message": row["message"],
        "stopped": stopped,
        "exit_code": code,
        "signal": signal_name(code - _SIGNALLED) if code is not None and code > _SIGNALLED else None,
        "memory_limit_bytes": row["memory_bytes"],
        "memory_peak_bytes": result.get("memory_peak_bytes"),
        "timeout_ms": _timeout_ms(row),
        "worker": row["worker"],
        "attempt": row["fence"],
        "ran_s": None if ran_ms is None else ran_ms / 1000,
        "earlier": [_told(entry) for entry in assignments[:-1]],
    }


def _told(entry: Row) -> EarlierAttempt:
    return {
        "attempt": entry["fence"],
        "worker": entry["worker"],
        "reason": entry["reason"],
        "message": entry["message"],
        "exit_code": entry["exit_code"],
        "superseded": entry["superseded"],
    }


def _timeout_ms(row: Row) -> int | None:
    spec = msgspec.json.decode(row["document"]) if row["document"] else {}
    timeout = spec.get("timeout")
    if timeout is None:
        return None
    return timeout if isinstance(timeout, int) else parse_duration_ms(timeout)


def _cause(row: Row, evidence: Evidence) -> str:
    code = evidence["exit_code"]
    match row["reason"]:
        case R.COMPLETED:
            return f"exit code {code or 0}"
        case R.EXIT_CODE:
            return f"its command exited with code {code}"
        case R.SIGNAL:
            return f"{evidence['signal'] or 'a signal'} from outside of SwarmSync ended it (exit code {code})"
        case R.OOM_KILLED:
            limit = format_size(evidence["memory_limit_bytes"])
            peak = evidence["memory_peak_bytes"]
            seen = f", its peak was {format_size(peak)}" if peak else ""
            return f"it used more memory than its limit of {limit}{seen} and was killed (OOMKilled, exit code {code})"
        case R.TIMEOUT if evidence["timeout_ms"]:
            return f"it ran longer than its timeout of {format_duration(evidence['timeout_ms'])}"
        case R.CANCELLED_BY_USER | R.CANCELLED_BY_POLICY:
            return str(evidence["stopped"] or row["message"] or row["reason"])
    said = row["message"]
    return f"{row['reason']}, {said}" if said and said != row["reason"] else str(row["reason"])


def _where(evidence: Evidence) -> str:
    if not evidence["attempt"]:
        return "no worker ever had it" if evidence["reason"] != R.COMPLETED else ""
    ran = f" after {evidence['ran_s']:g} s" if evidence["ran_s"] is not None else ""
    worker = f" on worker {evidence['worker']}" if evidence["worker"] else ""
    return f"attempt {evidence['attempt']}{worker}{ran}"


def _earlier(entries: Sequence[EarlierAttempt]) -> str:
    told = [
        f"attempt {entry['attempt']} on {entry['worker'] or 'a worker that is gone'}: {entry['reason']}"
        + (f" ({entry['message']})" if entry["message"] else "")
        for entry in entries[-EARLIER_TOLD:]
    ]
    more = len(entries) - len(told)
    return (f"{more} more, " if more else "") + ", ".join(told)


def signal_name(number: int) -> str | None:
    try:
        return signal.Signals(number).name
    except ValueError:
        return None
