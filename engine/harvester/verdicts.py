"""What the end of an assignment means for its job: done, tried again, or failed; and whose budget it costs. Pure.

Failures of the job spend `retry.attempts`; losses to infrastructure spend `crash_limit`. The two are never mixed.
"""

from typing import Final

from msgspec import Struct

from swarmsync.model.lifecycle import EndReason, JobState, WaitReason
from swarmsync.model.spec import Retry

R = EndReason

#: Not the job's fault: tried again without spending the user's attempts.
INFRASTRUCTURE: Final = frozenset(
    {
        R.WORKER_LOST,
        R.WORKER_DRAINED,
        R.CONTAINER_REMOVED,
        R.DOCKER_ERROR,
        R.IMAGE_PULL_FAILED,
        R.CHECKSUM_MISMATCH,
        R.PREEMPTED,
    }
)
#: Of these, what people or Core asked for: it costs no budget at all.
ASKED_FOR: Final = frozenset({R.WORKER_DRAINED, R.PREEMPTED})
CANCELLED: Final = frozenset({R.CANCELLED_BY_USER, R.CANCELLED_BY_POLICY})
_CRASH_DELAYS_MS: Final = (0, 1_000, 5_000, 15_000, 30_000)


class End(Struct, frozen=True):
    """How an assignment ended, with what the job's row says about earlier ones."""

    reason: EndReason
    message: str
    exit_code: int | None
    tries: int  # failures of the job's own before this one
    crashes: int  # infrastructure losses before this one
    stop_reason: EndReason | None = None  # somebody wanted it stopped


class Verdict(Struct, frozen=True):
    """The job's next state. `delay_ms` goes with SCHEDULED; `tries` and `crashes` are what this end adds."""

    state: JobState
    reason: str
    message: str
    delay_ms: int = 0
    tries: int = 0
    crashes: int = 0


def decide(end: End, retry: Retry, *, crash_limit: int, chance: float) -> Verdict:
    """Return the verdict; `chance` in [0, 1) spreads the back-off by the spec's jitter."""
    if end.reason is R.COMPLETED:
        return Verdict(JobState.SUCCEEDED, R.COMPLETED, end.message)
    if end.reason in CANCELLED:
        return Verdict(JobState.CANCELLED, end.reason, end.message)
    if end.stop_reason in CANCELLED:  # whatever else ended it: who cancels a job does not want to see it tried again
        fate = "is gone" if end.reason in INFRASTRUCTURE else "ended meanwhile"
        return Verdict(JobState.CANCELLED, end.stop_reason, f"cancelled; its container {fate} ({end.message})")
    if R.DEADLINE_PASSED in (end.reason, end.stop_reason):
        return Verdict(JobState.TIMED_OUT, R.DEADLINE_PASSED, f"its deadline passed while it ran ({end.message})")
    if end.reason in INFRASTRUCTURE:
        return _crash(end, crash_limit)
    final = JobState.TIMED_OUT if end.reason is R.TIMEOUT else JobState.FAILED
    if not _retries(end, retry):
        return Verdict(final, end.reason, end.message, tries=1)
    if end.tries + 1 >= retry.attempts:
        if retry.attempts == 1:
            return Verdict(final, end.reason, end.message, tries=1)
        sentence = f"all {retry.attempts} attempts failed; the last one: {end.reason}, {end.message}"
        return Verdict(final, R.ATTEMPTS_EXHAUSTED, sentence, tries=1)
    delay_ms = backoff_ms(retry, end.tries + 1, chance)
    sentence = f"attempt {end.tries + 1} of {retry.attempts} failed ({end.reason}: {end.message}); tried again"
    if delay_ms == 0:
        return Verdict(JobState.QUEUED, "", sentence, tries=1)
    return Verdict(
        JobState.SCHEDULED, WaitReason.RETRY_BACKOFF, f"{sentence} in {delay_ms / 1000:g} s", delay_ms, tries=1
    )


def _crash(end: End, crash_limit: int) -> Verdict:
    if end.reason in ASKED_FOR:
        return Verdict(JobState.QUEUED, "", f"{end.message} ({end.reason}); tried again")
    lost = end.crashes + 1
    if lost >= crash_limit:
        sentence = f"lost {lost} times to infrastructure; the last one: {end.reason}, {end.message}"
        reason = end.reason if end.reason is R.IMAGE_PULL_FAILED else R.CRASH_LIMIT
        return Verdict(JobState.FAILED, reason, sentence, crashes=1)
    delay_ms = _CRASH_DELAYS_MS[min(end.crashes, len(_CRASH_DELAYS_MS) - 1)]
    sentence = f"lost to infrastructure ({end.reason}: {end.message}); tried again"
    if delay_ms == 0:
        return Verdict(JobState.QUEUED, "", sentence, crashes=1)
    return Verdict(JobState.SCHEDULED, WaitReason.RETRY_BACKOFF, sentence, delay_ms, crashes=1)


def _retries(end: End, retry: Retry) -> bool:
    if end.reason is R.TIMEOUT:
        return "timeout" in retry.on
    if end.reason is R.OOM_KILLED:
        return "oom" in retry.on
    if end.reason not in (R.EXIT_CODE, R.SIGNAL):
        return False  # a bad image or command fails the same way again
    return "error" in retry.on and not (end.exit_code is not None and excluded(end.exit_code, retry.not_on_exit))


def grown_memory(retry: Retry, memory_bytes: int) -> int:
    """Bytes for the attempt after an OOM kill: more by `memory_factor`, up to `memory_max`; whole MiB."""
    grown = int(memory_bytes * retry.memory_factor) >> 20 << 20
    return max(memory_bytes, grown if retry.memory_max is None else min(grown, int(retry.memory_max)))


def excluded(exit_code: int, entries: tuple[int | str, ...]) -> bool:
    """Tell whether `not_on_exit` names this code; entries are numbers or ranges like "64-78"."""
    for entry in entries:
        first, _, last = str(entry).partition("-")
        if int(first) <= exit_code <= int(last or first):
            return True
    return False


def backoff_ms(retry: Retry, failures: int, chance: float) -> int:
    """Milliseconds before the next attempt after `failures` of them; jitter widens it by up to that share each way."""
    if retry.backoff == "none":
        return 0
    factor = 2 ** min(failures - 1, 30) if retry.backoff == "exponential" else 1
    delay = min(int(retry.delay) * factor, int(retry.max_delay))
    return max(0, round(delay * (1 + retry.jitter * (2 * chance - 1))))
