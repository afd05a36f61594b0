"""What to do next for one assignment, and what its end means. Pure, and safe to repeat.

The agent asks for the next step from what is true now; after a crash anywhere the answer is still right.
"""

import signal
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from swarmsync.model.lifecycle import EndReason
from swarmsync.model.resources import format_duration, format_size
from swarmsync.protocol.messages import Ended
from worker.container_runtime import NO_EXIT_CODE, Exit, RuntimeProblem, Seen

R = EndReason
SENTENCE_MAX: Final = 4_096


class Step(StrEnum):
    CREATE = "create"
    START = "start"
    WATCH = "watch"
    REPORT = "report"


#: Causes for which the worker itself stops a container, with the sentence that people read.
_STOPPED: Final = {
    R.CANCELLED_BY_USER: "cancelled; the container was stopped",
    R.CANCELLED_BY_POLICY: "cancelled by policy; the container was stopped",
    R.WORKER_DRAINED: "the worker was asked to stop and stopped the container",
    R.WORKER_LOST: "the worker had no contact with Core until the lease ended, and stopped the container",
    R.PREEMPTED: "stopped to make room for a more urgent job",
    R.DOCKER_ERROR: "Docker failed while it ran, and the worker stopped the container",
    R.LOG_LIMIT: "wrote more output than logs.max allows",
    R.OUTPUT_TOO_LARGE: "wrote more into its file system than resources.disk allows",
}


class End(NamedTuple):
    reason: EndReason
    message: str
    exit_code: int | None


def next_step(seen: Seen, *, stop_wanted: bool) -> Step:
    """Return the step that the container's state and our wish call for."""
    if seen is Seen.RUNNING:
        return Step.WATCH
    if seen is Seen.EXITED or stop_wanted:
        return Step.REPORT  # also right when nothing was ever created
    return Step.CREATE if seen is Seen.ABSENT else Step.START


def end_of(exit_: Exit, cause: EndReason | None, *, memory_bytes: int, timeout_ms: int | None) -> End:
    """Say how a container ended. `cause` is set when we sent it a stop before it ended by itself."""
    code = None if exit_.exit_code == NO_EXIT_CODE else exit_.exit_code
    if cause is R.TIMEOUT:
        return End(R.TIMEOUT, f"ran longer than its timeout of {format_duration(timeout_ms or 0)}", code)
    if cause is not None:
        return End(cause, _STOPPED.get(cause, f"stopped: {cause}"), code)
    if exit_.removed:
        return End(R.CONTAINER_REMOVED, "the container was removed by somebody else while it ran", None)
    if exit_.oom_killed:
        return End(R.OOM_KILLED, f"used more memory than its limit of {format_size(memory_bytes)} and was killed", code)
    if code is None:
        return End(R.DOCKER_ERROR, exit_.error or "the container ended and its exit code is unknown", None)
    if code == 0:
        return End(R.COMPLETED, "exit code 0", 0)
    name = _signal_name(code - 128)
    if name:
        return End(R.SIGNAL, f"exit code {code}: ended by {name}", code)
    return End(R.EXIT_CODE, f"exit code {code}" + (f" ({exit_.error})" if exit_.error else ""), code)


def problem_end(problem: RuntimeProblem) -> End:
    """What a call that failed means: where Docker failed, and not what was asked for, it is not the job's failure."""
    reason = problem.reason
    if problem.retryable and reason in (R.CREATE_FAILED, R.START_FAILED):
        reason = R.DOCKER_ERROR
    return End(reason, problem.message, problem.exit_code)


def never_started(cause: EndReason) -> End:
    """The end of an assignment that was stopped before its container began."""
    return End(cause, "stopped before its container started", None)


def as_told(end: Ended, *, put_down: bool) -> Ended:
    """Return what Core is told of an end. `put_down`: by the watchdog, while the agent slept."""
    if put_down:
        why = "the worker's agent let the lease end, and its watchdog stopped the container"
        return msgspec.structs.replace(end, reason=R.WORKER_LOST, message=why)
    if len(end.message) > SENTENCE_MAX or "\0" in end.message:
        # A sentence of Docker's may be long, and hold what PostgreSQL does not store.
        return msgspec.structs.replace(end, message=end.message[:SENTENCE_MAX].replace("\0", "\ufffd"))
    return end


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return ""
