"""From an end to the row that records it: job and assignment are told apart, and only differences of clocks are used."""

from hashlib import sha256

import msgspec
import pytest

from engine.harvester.registry import Gone
from engine.harvester.settlements import SPENT_MAX_MS, judge, judge_gone, of_gone, ran_ms, result_of, succeeded
from swarmsync.model.job import JobRef
from swarmsync.model.lifecycle import EndReason, JobState
from swarmsync.model.resources import Need
from swarmsync.model.result import read_result
from swarmsync.model.spec import shape_of
from swarmsync.protocol.codec import convert_spec, encode_json
from swarmsync.protocol.messages import Ended, Spent, StreamSum

REF = JobRef(7, 3)
R = EndReason


def row(retry=None, *, tries=0, crashes=0, stop_reason=None):
    document = encode_json(convert_spec({"image": "a", **({"retry": retry} if retry else {})})).decode()
    need = {"cpus_milli": 1_000, "memory_bytes": 512 << 20, "gpus": 0, "disk_bytes": 0}
    line = {"user_id": 1, "queue": "default", "rules": None, "array_id": None}
    return {"document": document, "tries": tries, "crashes": crashes, "stop_reason": stop_reason, **need, **line}


def ended(reason, exit_code=1, **more):
    return Ended(REF, reason, "it ended", at_ms=5_000, exit_code=exit_code, **{"started_ms": 2_000, **more})


def gone(began=True, reason=R.WORKER_LOST):
    return Gone(REF, 4, (2, 9), began, reason, "worker w1 was silent")


def test_success_needs_no_look_at_the_job():
    settlement = succeeded(ended(R.COMPLETED, 0))
    assert (settlement.ref, settlement.state, settlement.reason, settlement.exit_code) == (
        REF,
        JobState.SUCCEEDED,
        "Completed",
        0,
    )
    assert (settlement.assignment_state, settlement.outcome) == ("ended", "succeeded")
    assert (settlement.tries, settlement.crashes, settlement.orders) == (0, 0, None)


@pytest.mark.parametrize(
    ("reason", "state", "outcome"),
    [
        (R.EXIT_CODE, "ended", "failed"),
        (R.OOM_KILLED, "ended", "failed"),
        (R.TIMEOUT, "ended", "timed_out"),
        (R.CANCELLED_BY_USER, "ended", "cancelled"),
        (R.CANCELLED_BY_POLICY, "ended", "cancelled"),
        (R.WORKER_LOST, "lost", "lost"),
        (R.CONTAINER_REMOVED, "ended", "lost"),
        (R.DOCKER_ERROR, "ended", "lost"),
    ],
)
def test_the_assignment_keeps_its_own_end_whatever_becomes_of_the_job(reason, state, outcome):
    settlement = judge(ended(reason), row({"attempts": 3, "on": ["error", "oom", "timeout"]}), 5, 0.5)
    assert (settlement.assignment_state, settlement.outcome) == (state, outcome)
    assert (settlement.assignment_reason, settlement.assignment_message) == (reason, "it ended")


@pytest.mark.parametrize(
    ("reason", "retry", "memory_mib"),
    [
        (R.OOM_KILLED, {"attempts": 2, "memory_factor": 1.5}, 768),
        (R.OOM_KILLED, {"attempts": 2}, None),
        (R.OOM_KILLED, {"attempts": 1, "memory_factor": 1.5}, None),  # no next attempt
        (R.EXIT_CODE, {"attempts": 2, "memory_factor": 1.5}, None),
    ],
)
def test_an_attempt_after_an_oom_kill_asks_for_more_memory(reason, retry, memory_mib):
    grown = judge(ended(reason), row(retry), 5, 0.5).grown
    assert (grown and grown.memory_bytes) == (memory_mib and memory_mib << 20)
    if grown is not None:
        assert grown.shape == shape_of(Need(1_000, memory_mib << 20, 0, 0))


def test_the_jobs_next_state_comes_from_its_own_spec_and_past():
    assert judge(ended(R.EXIT_CODE), row(), 5, 0.5).state is JobState.FAILED
    retried = judge(ended(R.EXIT_CODE), row({"attempts": 3, "jitter": 0}, tries=1), 5, 0.5)
    assert (retried.state, retried.delay_ms, retried.tries, retried.exit_code) == (JobState.SCHEDULED, 20_000, 1, 1)
    assert judge(ended(R.EXIT_CODE), row({"attempts": 3}, tries=2), 5, 0.5).reason == R.ATTEMPTS_EXHAUSTED
    assert judge(ended(R.DOCKER_ERROR), row(crashes=4), 5, 0.5).reason == R.CRASH_LIMIT
    assert (
        judge(ended(R.EXIT_CODE), row({"attempts": 3}, stop_reason="CancelledByUser"), 5, 0.5).state
        is JobState.CANCELLED
    )


def test_an_order_that_never_began_is_queued_again_for_nothing():
    settlement = judge_gone(of_gone(gone(began=False)), row(crashes=4), 5, 0.5)
    assert (settlement.state, settlement.crashes, settlement.tries) == (JobState.QUEUED, 0, 0)
    assert (settlement.assignment_state, settlement.orders) == ("lost", (2, 9))


def test_one_that_may_have_run_costs_crash_budget_and_no_attempt():
    settlement = judge_gone(of_gone(gone()), row({"attempts": 1}, crashes=1), 5, 0.5)
    assert (settlement.state, settlement.delay_ms, settlement.crashes, settlement.tries) == (
        JobState.SCHEDULED,
        1_000,
        1,
        0,
    )
    assert settlement.orders == (2, 9)
    assert judge_gone(of_gone(gone()), row(crashes=4), 5, 0.5).state is JobState.FAILED


@pytest.mark.parametrize("began", [True, False])
def test_a_job_that_was_cancelled_and_whose_worker_is_lost_is_cancelled(began):
    settlement = judge_gone(of_gone(gone(began)), row({"attempts": 9}, stop_reason="CancelledByUser"), 5, 0.5)
    assert (settlement.state, settlement.reason) == (JobState.CANCELLED, "CancelledByUser")
    assert (settlement.assignment_state, settlement.assignment_reason) == ("lost", "WorkerLost")


@pytest.mark.parametrize(
    ("started_ms", "at_ms", "expected"), [(None, 5_000, None), (2_000, 5_000, 3_000), (0, 0, 0), (9_000, 5_000, 0)]
)
def test_only_the_difference_of_the_workers_own_clock_is_used(started_ms, at_ms, expected):
    end = Ended(REF, R.COMPLETED, "", at_ms, started_ms=started_ms)
    assert ran_ms(end) == expected
    assert succeeded(end).ran_ms == expected


def test_the_result_holds_what_was_written_and_used():
    spent = Spent(pull_ms=7, create_ms=-3, start_ms=1 << 62)
    end = ended(R.COMPLETED, 0, stdout=StreamSum(9, 4, "aa"), cpu_ms=12, memory_peak_bytes=34, spent=spent)
    assert read_result(msgspec.json.encode(result_of(end)).decode()) == {
        "stdout": {"size": 9, "kept": 4, "sha256": "aa"},
        "stderr": {"size": 0, "kept": 0, "sha256": ""},
        "cpu_ms": 12,
        "memory_peak_bytes": 34,
        "ran_ms": 3_000,
        "spent": {"pull_ms": 7, "create_ms": 0, "start_ms": SPENT_MAX_MS, "stop_ms": 0, "collect_ms": 0},
    }


def test_of_a_job_that_wrote_and_used_nothing_next_to_nothing_is_stored():
    nothing = StreamSum(0, 0, sha256().hexdigest())
    stored = result_of(ended(R.COMPLETED, 0, stdout=nothing, stderr=nothing))
    assert stored == {"ran_ms": 3_000}
    assert read_result(msgspec.json.encode(stored).decode()) == {
        "stdout": {"size": 0, "kept": 0, "sha256": sha256().hexdigest()},
        "stderr": {"size": 0, "kept": 0, "sha256": sha256().hexdigest()},
        "cpu_ms": None,
        "memory_peak_bytes": None,
        "ran_ms": 3_000,
        "spent": {"pull_ms": 0, "create_ms": 0, "start_ms": 0, "stop_ms": 0, "collect_ms": 0},
    }
    assert read_result(None) == {}
