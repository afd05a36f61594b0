"""Exit codes: 0-8 for management; what is attached to a job (`run`, `wait --exit-code`) answers for the job."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from swarmsync import errors

ANSWER_IS_NO: Final = 1
USAGE: Final = 2
WAIT_TIMED_OUT: Final = 7
NEVER: Final = 8
TIMED_OUT: Final = 124
SWARMSYNC_FAULT: Final = 125
INTERRUPTED: Final = 130
KILLED: Final = 137
BROKEN_PIPE: Final = 141
TERMINATED: Final = 143

_MANAGEMENT: Final[tuple[tuple[type[errors.SwarmError], int], ...]] = (
    (errors.NotFound, 3),
    (errors.NotLoggedIn, 4),
    (errors.NotAllowed, 4),
    (errors.Conflict, 5),
    (errors.Unavailable, 6),
    (errors.TooMany, 8),
    (errors.RequestError, USAGE),
)
#: Reasons of a failed job that are the container's own end; every other is SwarmSync's answer.
_OWN_END: Final = frozenset({"Completed", "ExitCode", "Signal", "OOMKilled", "AttemptsExhausted"})


def management_code(error: errors.SwarmError) -> int:
    return next((code for kind, code in _MANAGEMENT if isinstance(error, kind)), 1)


def report(error: errors.SwarmError) -> None:
    """Say on stderr what went wrong and, where there is one, the remedy."""
    if isinstance(error, errors.SpecError):
        for wrong in error.errors:
            say(f"{wrong.path}: {wrong.message}")
        return
    say(str(error) + _remedy(error))


def say_truncated(job_id: str, streams: Sequence[str]) -> None:
    """Say that not everything was kept: nobody shall take a part for the whole."""
    if streams:
        say(f"{' and '.join(streams)} of job {job_id} is truncated at the job's logs.max; see consumer job result")


def say(sentence: str) -> None:
    """Write one line for people."""
    from cli.cells import escape

    print(f"swarmsync: {escape(sentence)}", file=sys.stderr, flush=True)


def _remedy(error: errors.SwarmError) -> str:
    if isinstance(error, errors.NotLoggedIn):
        return " (log in with: consumer login)"
    if isinstance(error, errors.Unavailable):
        return " (is swarmsyncd running? its address is in SWARMSYNC_URL or the profile)"
    if isinstance(error, errors.TooMany):
        return f" (try again in {error.retry_after_s} s)"
    return ""


def attached_code(job: Mapping[str, Any]) -> int:
    """Return the exit code that stands for a finished job, as `docker run` would."""
    state, reason, own = job["state"], job.get("reason") or "", job.get("exit_code")
    if state == "succeeded":
        return own or 0
    if state == "timed_out":
        return TIMED_OUT
    if state == "cancelled":
        return SWARMSYNC_FAULT if reason == "DependencyFailed" else own or TERMINATED
    if state == "failed" and reason == "OOMKilled":
        return own or KILLED
    if state == "failed" and (reason in _OWN_END or own in (126, 127)):
        return own or SWARMSYNC_FAULT
    return SWARMSYNC_FAULT


def verdict(job_id: str, job: Mapping[str, Any]) -> str | None:
    """Return the sentence that ends an attached command, or None when the exit code says it all."""
    state, reason = job["state"], job.get("reason") or ""
    if state == "succeeded" or (state == "failed" and reason == "ExitCode"):
        return None
    return ": ".join(part for part in (f"job {job_id} {state.replace('_', ' ')}", reason, job.get("message")) if part)
