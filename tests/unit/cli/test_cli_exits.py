import pytest

from cli import exits
from swarmsync import errors

ATTACHED = [
    ("succeeded", "Completed", 0, 0),
    ("failed", "ExitCode", 3, 3),
    ("failed", "ExitCode", 1, 1),
    ("failed", "Signal", 139, 139),
    ("failed", "OOMKilled", 137, 137),
    ("failed", "OOMKilled", None, 137),
    ("failed", "AttemptsExhausted", 2, 2),
    ("failed", "AttemptsExhausted", None, 125),
    ("failed", "StartFailed", 126, 126),
    ("failed", "StartFailed", 127, 127),
    ("failed", "StartFailed", None, 125),
    ("failed", "ImageNotFound", None, 125),
    ("failed", "WorkerLost", None, 125),
    ("failed", "CrashLimit", 137, 125),
    ("failed", "LogLimit", 137, 125),
    ("timed_out", "Timeout", 137, 124),
    ("expired", "QueueTimeout", None, 125),
    ("cancelled", "CancelledByUser", None, 143),
    ("cancelled", "CancelledByUser", 0, 143),
    ("cancelled", "CancelledByUser", 137, 137),
    ("cancelled", "DependencyFailed", None, 125),
]


@pytest.mark.parametrize(("state", "reason", "own", "code"), ATTACHED)
def test_attached_codes(state, reason, own, code):
    assert exits.attached_code({"state": state, "reason": reason, "exit_code": own}) == code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.NotFound("x"), 3),
        (errors.NotLoggedIn("x"), 4),
        (errors.NotAllowed("x"), 4),
        (errors.Conflict("x"), 5),
        (errors.Unavailable("x"), 6),
        (errors.TooMany("x", 3), 8),
        (errors.SpecError([errors.FieldError("$.image", "x")]), 2),
        (errors.TooLarge("x"), 2),
        (errors.SwarmError("x"), 1),
    ],
)
def test_management_codes(error, code):
    assert exits.management_code(error) == code


def test_the_verdict_is_said_only_when_the_exit_code_does_not_say_it():
    job = {"state": "failed", "reason": "OOMKilled", "message": "used 512MiB of 512MiB"}
    assert exits.verdict("J", job) == "job J failed: OOMKilled: used 512MiB of 512MiB"
    assert exits.verdict("J", {"state": "timed_out", "reason": "Timeout", "message": ""}) == "job J timed out: Timeout"
    assert exits.verdict("J", {"state": "failed", "reason": "ExitCode"}) is None
    assert exits.verdict("J", {"state": "succeeded", "reason": "Completed"}) is None


def test_what_core_says_cannot_steer_the_terminal(capsys):
    exits.say("bad \x1b[2J name")
    assert capsys.readouterr().err == "swarmsync: bad \\x1b[2J name\n"
