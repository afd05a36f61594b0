from datetime import UTC, datetime

import pytest

from api.waiting import explain

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def row(**fields):
    return {
        "id": 1,
        "state": "queued",
        "reason": "",
        "message": "",
        "since": NOW,
        "run_at": None,
        "queue": "default",
        "shape_reason": None,
        "shape_message": None,
        "shape_since": None,
        "cpus_milli": 1500,
        "memory_bytes": 1 << 30,
        "gpus": 0,
        "disk_bytes": 0,
        **fields,
    }


def test_a_job_that_nobody_looked_at_is_evaluating():
    answer = explain(row(), 3)
    assert answer["position"] == 3
    assert answer["blockers"][0]["reason"] == "Evaluating"


def test_a_shape_that_fits_nowhere_is_told_with_numbers():
    found = row(shape_reason="Unsatisfiable", shape_message="2 workers lack cpus", shape_since=NOW, gpus=2)
    answer = explain(found, 0)
    assert answer["blockers"] == [
        {"reason": "Unsatisfiable", "message": "2 workers lack cpus", "since": "2026-11-24T00:00:00.000000Z"}
    ]
    assert answer["would_start_if"] == [
        "a worker with 1.5 cpus, 1GiB of memory, 2 gpus joins, or the job asks for less"
    ]


def test_a_held_job_with_a_time_has_two_blockers():
    answer = explain(row(state="held", reason="Held", message="held by ann", run_at=NOW), None)
    assert [blocker["reason"] for blocker in answer["blockers"]] == ["Held", "StartTime"]
    assert len(answer["would_start_if"]) == 2


@pytest.mark.parametrize("state", ["starting", "running", "stopping", "succeeded", "failed"])
def test_a_job_that_does_not_wait_has_no_blockers(state):
    answer = explain(row(state=state, reason="Completed"), None)
    assert (answer["blockers"], answer["would_start_if"], answer["position"]) == ([], [], None)
