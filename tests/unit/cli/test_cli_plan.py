"""`job plan` says what it was told, and its exit code is the answer."""

import pytest
from fake_core import ID, job


def answer(verdict, *blockers, **more):
    told = [{"reason": reason, "message": message, "since": None} for reason, message in blockers]
    base = {"verdict": verdict, "message": "it would wait: so", "worker": None, "starts_at": None, "position": None}
    return {**base, "blockers": told, "would_start_if": [], **more}


@pytest.mark.parametrize(
    ("told", "code"),
    [
        (answer("now", message="it would start at once on worker w1"), 0),
        (answer("later", ("Resources", "busy")), 1),
        (answer("later", ("UserQuota", "2 of 2"), ("Resources", "busy")), 8),
        (answer("never", ("Unsatisfiable", "no worker has 64 cpus")), 8),
    ],
)
def test_the_exit_code_is_the_answer(core, consumer, told, code):
    core.on("POST", "/v1/jobs/plan", told)
    assert consumer("job", "plan", "--cpus", "64", "alpine", "true") == code


def test_a_plan_is_told_with_everything_in_the_way(core, consumer, capsys):
    blockers = (("UserQuota", "2 of 2 run"), ("Resources", "busy"))
    core.on(
        "POST",
        "/v1/jobs/plan",
        answer("later", *blockers, position=3, starts_at="2026-11-24T02:00:00Z", would_start_if=["A ends"]),
    )
    consumer("job", "plan", "alpine")
    out = capsys.readouterr().out
    assert out == (
        "It would wait: so.\nIt is expected to start at 2026-11-24T02:00:00Z.\nIts place in the line would be 3.\n"
        "In its way:\n- UserQuota: 2 of 2 run\n- Resources: busy\nIt would start if:\n- A ends\n"
    )


def test_a_job_that_has_ended_gets_its_obituary(core, consumer, capsys):
    line = "The job failed: its command exited with code 3; attempt 1 on worker w1 after 2 s."
    core.on("GET", f"/v1/jobs/{ID}", job())
    core.on("GET", f"/v1/jobs/{ID}/why", {"state": "failed", "blockers": [], "ended": {"line": line, "evidence": {}}})
    assert consumer("job", "why", ID) == 0
    assert capsys.readouterr().out == line + "\n"


def test_show_tells_where_the_time_went_and_what_came_too_late(core, consumer, capsys):
    ledger = [
        {"phase": "limits", "reason": "UserQuota", "seconds": 2.0},
        {"phase": "run", "reason": "", "seconds": 1.5},
    ]
    attempt = {"attempt": 1, "state": "lost", "message": "silent", "superseded": 2}
    core.on("GET", f"/v1/jobs/{ID}", job(ledger=ledger, assignments=[attempt], obituary="The job failed: so."))
    assert consumer("job", "show", ID) == 0
    out = capsys.readouterr().out
    assert "  limits  2.000 s  UserQuota\n" in out
    assert "  in all  3.500 s" in out
    assert "silent (late news refused: 2)" in out
    assert "The job failed: so." in out
