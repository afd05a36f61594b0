"""One line names what ended a job, with the evidence for it."""

import json

import pytest

from api.obituary import obituary
from swarmsync.store.details import JobDetail


def row(state: str, reason: str, **more):
    return {
        "state": state,
        "reason": reason,
        "message": "",
        "exit_code": None,
        "worker": "w1",
        "fence": 1,
        "memory_bytes": 256 << 20,
        "document": '{"image":"a","timeout":"2s"}',
        "result": json.dumps({"ran_ms": 1_250, "memory_peak_bytes": 255 << 20}),
        **more,
    }


def attempt(fence: int, reason: str, message: str = "", **more):
    return {
        "fence": fence,
        "reason": reason,
        "message": message,
        "worker": "w1",
        "exit_code": 1,
        "superseded": 0,
        **more,
    }


def line(job, assignments=None, stopped="", members=None) -> str:
    entries = [attempt(job["fence"], job["reason"])] if assignments is None else assignments
    return obituary(JobDetail(job, entries, members, {}), stopped)["line"]


@pytest.mark.parametrize(
    ("job", "stopped", "expected"),
    [
        (row("succeeded", "Completed", exit_code=0), "", "The job succeeded: exit code 0"),
        (row("failed", "ExitCode", exit_code=3), "", "The job failed: its command exited with code 3"),
        (row("failed", "Signal", exit_code=137), "", "SIGKILL from outside of SwarmSync ended it (exit code 137)"),
        (row("failed", "OOMKilled", exit_code=137), "", "its limit of 256MiB, its peak was 255MiB and was killed"),
        (row("timed_out", "Timeout", exit_code=143), "", "The job timed out: it ran longer than its timeout of 2s"),
        (row("cancelled", "CancelledByUser"), "cancelled by ann: a typo", "was cancelled: cancelled by ann: a typo"),
        (row("failed", "ImageNotFound", message="no image x:1"), "", "The job failed: ImageNotFound, no image x:1"),
        (row("failed", "CrashLimit", message="lost 5 times"), "", "The job failed: CrashLimit, lost 5 times"),
    ],
)
def test_each_death_has_its_words(job, stopped, expected):
    said = line(job, stopped=stopped)
    assert expected in said
    assert said.endswith("; attempt 1 on worker w1 after 1.25 s.")


def test_what_earlier_attempts_died_of_is_told_the_last_five_in_full():
    job = row("failed", "AttemptsExhausted", message="all 8 attempts failed", fence=8)
    earlier = [attempt(n, "WorkerLost" if n == 7 else "ExitCode", f"news {n}") for n in range(1, 9)]
    said = line(job, earlier)
    assert "before that 2 more, attempt 3 on w1: ExitCode (news 3)" in said
    assert said.endswith("attempt 7 on w1: WorkerLost (news 7).")


def test_a_job_that_no_worker_ever_had_says_so():
    job = row("expired", "QueueTimeout", message="was not started by 12:00", fence=0, worker=None, result=None)
    assert line(job, []) == "The job expired: QueueTimeout, was not started by 12:00; no worker ever had it."


def test_an_array_counts_its_members():
    job = row("failed", "ExitCode", message="7 of 1000 failed", fence=0, worker=None, exit_code=None, result=None)
    assert "members: 7 failed, 993 succeeded" in line(job, [], members={"succeeded": 993, "failed": 7})


def test_the_evidence_holds_the_numbers():
    earlier = [attempt(1, "WorkerLost", "silent", superseded=2, exit_code=None), attempt(2, "OOMKilled")]
    job = row("failed", "OOMKilled", exit_code=137, fence=2)
    evidence = obituary(JobDetail(job, earlier, None, {}))["evidence"]
    assert (evidence["cause"], evidence["signal"], evidence["timeout_ms"], evidence["ran_s"]) == (
        "OOMKilled",
        "SIGKILL",
        2_000,
        1.25,
    )
    assert (evidence["memory_limit_bytes"], evidence["memory_peak_bytes"]) == (256 << 20, 255 << 20)
    assert [entry["superseded"] for entry in evidence["earlier"]] == [2]


@pytest.mark.parametrize("state", ["queued", "running", "stopping", "held"])
def test_who_lives_has_none(state):
    assert obituary(JobDetail(row(state, ""), [], None, {})) is None
