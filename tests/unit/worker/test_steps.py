import pytest

from swarmsync.model.lifecycle import EndReason
from worker.container_runtime import NO_EXIT_CODE, Exit, Seen
from worker.steps import End, Step, end_of, never_started, next_step

R = EndReason
MIB = 1 << 20


def judged(exit_code, cause=None, *, timeout_ms=None, **more):
    return end_of(Exit(exit_code, **more), cause, memory_bytes=256 * MIB, timeout_ms=timeout_ms)


@pytest.mark.parametrize(
    ("seen", "wanted", "stopping"),
    [
        (Seen.ABSENT, Step.CREATE, Step.REPORT),
        (Seen.CREATED, Step.START, Step.REPORT),
        (Seen.RUNNING, Step.WATCH, Step.WATCH),
        (Seen.EXITED, Step.REPORT, Step.REPORT),
    ],
)
def test_the_next_step_follows_from_what_is_there_and_what_is_wanted(seen, wanted, stopping):
    assert next_step(seen, stop_wanted=False) is wanted
    assert next_step(seen, stop_wanted=True) is stopping


@pytest.mark.parametrize(
    ("exit_code", "reason", "message"),
    [
        (0, R.COMPLETED, "exit code 0"),
        (1, R.EXIT_CODE, "exit code 1"),
        (3, R.EXIT_CODE, "exit code 3"),
        (126, R.EXIT_CODE, "exit code 126"),
        (127, R.EXIT_CODE, "exit code 127"),
        (128, R.EXIT_CODE, "exit code 128"),
        (130, R.SIGNAL, "exit code 130: ended by SIGINT"),
        (137, R.SIGNAL, "exit code 137: ended by SIGKILL"),
        (139, R.SIGNAL, "exit code 139: ended by SIGSEGV"),
        (143, R.SIGNAL, "exit code 143: ended by SIGTERM"),
        (255, R.EXIT_CODE, "exit code 255"),
    ],
)
def test_an_exit_code_by_itself(exit_code, reason, message):
    assert judged(exit_code) == End(reason, message, exit_code)


def test_what_the_engine_says_of_a_failure_is_passed_on():
    assert judged(1, error="no such device").message == "exit code 1 (no such device)"


def test_killed_for_memory_is_what_the_runtime_says_and_no_guess_from_137():
    assert judged(137, oom_killed=True) == End(
        R.OOM_KILLED, "used more memory than its limit of 256MiB and was killed", 137
    )
    assert judged(1, oom_killed=True).reason is R.OOM_KILLED
    assert judged(137).reason is R.SIGNAL


def test_a_container_that_vanished_is_somebody_elses_doing():
    end = judged(NO_EXIT_CODE, removed=True)
    assert (end.reason, end.exit_code) == (R.CONTAINER_REMOVED, None)


@pytest.mark.parametrize(
    ("error", "message"), [("", "the container ended and its exit code is unknown"), ("engine died", "engine died")]
)
def test_an_unknown_exit_code_is_the_engines_fault(error, message):
    assert judged(NO_EXIT_CODE, error=error) == End(R.DOCKER_ERROR, message, None)


@pytest.mark.parametrize("exit_code", [0, 1, 137, 143, NO_EXIT_CODE])
@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (R.CANCELLED_BY_USER, "cancelled"),
        (R.CANCELLED_BY_POLICY, "cancelled by policy"),
        (R.WORKER_DRAINED, "asked to stop"),
        (R.WORKER_LOST, "no contact with Core"),
        (R.PREEMPTED, "more urgent"),
        (R.LOG_LIMIT, "logs.max"),
        (R.TIMEOUT, "its timeout of 1h30m"),
        (R.DEADLINE_PASSED, "stopped: DeadlinePassed"),
    ],
)
def test_a_stop_of_ours_is_the_reason_whatever_the_container_made_of_it(exit_code, cause, words):
    end = judged(exit_code, cause, timeout_ms=5_400_000, oom_killed=exit_code == 137, removed=exit_code == NO_EXIT_CODE)
    assert end.reason is cause
    assert words in end.message
    assert end.exit_code == (None if exit_code == NO_EXIT_CODE else exit_code)


def test_what_never_started_has_no_exit_code():
    assert never_started(R.CANCELLED_BY_USER) == End(R.CANCELLED_BY_USER, "stopped before its container started", None)
