"""`consumer run` against a scripted Core."""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest
from fake_core import ID, Hangup, Problem, Stream, chunk, end, job

from cli import attach, profiles
from cli.attach import Signals

LOGS = f"/v1/jobs/{ID}/logs"


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(profiles, "SUBMIT_PATIENCE_S", 0.2)
    monkeypatch.setattr(attach, "_LOOKS_S", (0.01, 5.0))


@pytest.fixture
def submitted(core):
    core.on("POST", "/v1/jobs", (201, job()))
    core.on("GET", f"/v1/jobs/{ID}", job())
    return core


def test_streams_apart_and_the_containers_exit_code(consumer, submitted, capfdbinary):
    submitted.on(
        "GET", LOGS, Stream([chunk(b"out\n"), chunk(b"err \xff\x00\n", stream="stderr"), end("failed", "ExitCode", 3)])
    )
    assert consumer("run", "alpine", "sh", "-c", "exit 3") == 3
    assert capfdbinary.readouterr() == (b"out\n", b"err \xff\x00\n")
    request = submitted.asked("POST", "/v1/jobs")[0]
    assert request.body == {"image": "alpine", "command": ["sh", "-c", "exit 3"]}
    assert request.headers["Idempotency-Key"]


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["alpine", "sh", "-c", "echo -e x"], ["sh", "-c", "echo -e x"]),
        (["alpine", "-d", "--name", "x"], ["-d", "--name", "x"]),
        (["--", "alpine", "-d"], ["-d"]),
        (["alpine", "--", "-e"], ["--", "-e"]),
        (["alpine", "cmd", "--", "--help"], ["cmd", "--", "--help"]),
        (["alpine", ""], [""]),
        (["alpine", "--help"], ["--help"]),
    ],
)
def test_everything_after_the_image_is_the_containers(consumer, submitted, arguments, command):
    assert consumer("run", "-d", "-e", "A=1", *arguments) == 0
    assert submitted.asked("POST", "/v1/jobs")[0].body == {
        "image": "alpine",
        "command": command,
        "environment": {"A": "1"},
    }


def test_detached_prints_the_id(consumer, submitted, capsys):
    assert consumer("run", "-d", "--rm", "alpine") == 0
    assert capsys.readouterr() == (f"{ID}\n", "")


@pytest.mark.parametrize(
    ("verdict", "code", "said"),
    [
        (end("failed", "OOMKilled", 137, "used 512MiB"), 137, f"job {ID} failed: OOMKilled: used 512MiB"),
        (end("timed_out", "Timeout", 137), 124, f"job {ID} timed out: Timeout"),
        (end("failed", "ImageNotFound", None, "no x:y"), 125, f"job {ID} failed: ImageNotFound: no x:y"),
        (end("failed", "StartFailed", 127, "no sh"), 127, f"job {ID} failed: StartFailed: no sh"),
        (end("cancelled", "CancelledByUser", None), 143, f"job {ID} cancelled: CancelledByUser"),
        (end("expired", "QueueTimeout", None), 125, f"job {ID} expired: QueueTimeout"),
        (end("failed", "ExitCode", 1), 1, ""),
    ],
)
def test_the_last_line_says_why(consumer, submitted, capsys, verdict, code, said):
    submitted.on("GET", LOGS, Stream([verdict]))
    assert consumer("run", "alpine") == code
    assert capsys.readouterr().err == (f"swarmsync: {said}\n" if said else "")


def test_refusals_are_125_and_name_the_field(consumer, core, capsys):
    wrong = [{"path": "$.resources.memory", "message": "Docker's smallest limit is 6MiB"}]
    core.on("POST", "/v1/jobs", Problem(422, "invalid", wrong))
    assert consumer("run", "-m", "1m", "alpine") == 125
    assert capsys.readouterr().err == "swarmsync: $.resources.memory: Docker's smallest limit is 6MiB\n"


def test_an_absent_core_is_125_with_a_remedy(consumer, core, capsys):
    core.close()
    assert consumer("run", "alpine") == 125
    assert "is swarmsyncd running?" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["run"], ["run", "--no-such", "alpine"], ["run", "--cpus", "x", "alpine"]])
def test_usage_errors_of_run_are_125_as_with_docker(consumer, arguments):
    assert consumer(*arguments) == 125


def test_core_restarts_in_the_middle(consumer, submitted, capfd):
    submitted.on(
        "GET",
        LOGS,
        Stream([chunk(b"one\n")], broken=True),
        Hangup(),
        Problem(503, "starting"),
        Stream([chunk(b"one\ntwo\n"), end()]),
    )
    assert consumer("run", "alpine") == 0
    out, err = capfd.readouterr()
    assert out == "one\ntwo\n"
    assert "reconnecting" in err
    assert "connected again" in err


def test_a_new_attempt_is_announced(consumer, submitted, capsys):
    submitted.on("GET", LOGS, Stream([chunk(b"one\n"), chunk(b"one\ntwo\n", attempt=2), end()]))
    assert consumer("run", "--retries", "1", "alpine") == 0
    assert capsys.readouterr() == (
        "one\none\ntwo\n",
        f"swarmsync: job {ID}: attempt 2 begins, its output from the start\n",
    )


def test_a_job_that_can_never_start_is_told_once(consumer, submitted, capsys):
    looked = threading.Event()

    def look(_request):
        if len(submitted.asked("GET", f"/v1/jobs/{ID}")) > 2:
            looked.set()
        return job(reason="Unsatisfiable", message="1 worker lacks 60 cpus")

    def stream(_request):
        def lines():
            assert looked.wait(20)
            yield end("cancelled", "CancelledByUser", None)

        return Stream(lines())

    attach._LOOKS_S = (0.01, 0.01)
    submitted.on("GET", f"/v1/jobs/{ID}", look)
    submitted.on("GET", LOGS, stream)
    assert consumer("run", "--cpus", "64", "alpine") == 143
    assert capsys.readouterr().err.count("Unsatisfiable: 1 worker lacks 60 cpus") == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_cancels_and_waits_for_the_verdict(consumer, submitted, capsys, number, code):
    cancelled = threading.Event()

    def cancel(_request):
        cancelled.set()
        return (202, job(state="stopping"))

    def stream(_request):
        def lines():
            yield chunk(b"before\n")
            os.kill(os.getpid(), number)
            assert cancelled.wait(20)
            yield chunk(b"caught it\n", offset=7)
            yield end("cancelled", "CancelledByUser", 143)

        return Stream(lines())

    submitted.on("POST", f"/v1/jobs/{ID}/cancel", cancel)
    submitted.on("GET", LOGS, stream)
    before = signal.getsignal(number)
    assert consumer("run", "alpine") == code
    assert signal.getsignal(number) is before
    out, err = capsys.readouterr()
    assert out == "before\ncaught it\n"
    assert "cancelling job" in err


def test_a_job_that_ends_well_in_spite_of_ctrl_c_keeps_its_code(consumer, submitted):
    cancelled = threading.Event()

    def cancel(_request):
        cancelled.set()
        return Problem(409, "it has finished")

    def stream(_request):
        def lines():
            os.kill(os.getpid(), signal.SIGINT)
            assert cancelled.wait(20)
            yield end()

        return Stream(lines())

    submitted.on("POST", f"/v1/jobs/{ID}/cancel", cancel)
    submitted.on("GET", LOGS, stream)
    assert consumer("run", "alpine") == 0


def test_the_second_signal_leaves_at_once():
    left = []
    signals = Signals(leave=left.append)
    signals.receive(signal.SIGINT)
    assert left == []
    signals.receive(signal.SIGINT)
    assert left == [130]


@pytest.mark.process
def test_a_reader_that_goes_away_cancels_the_job(submitted, tmp_path):
    cancelled = threading.Event()

    def cancel(_request):
        cancelled.set()
        return (202, job(state="stopping"))

    def stream(_request):
        def lines():
            offset = 0
            while not cancelled.is_set():
                yield chunk(b"y\n" * 500, offset=offset)
                offset += 1000
            yield end("cancelled", "CancelledByUser", 137)

        return Stream(lines())

    submitted.on("POST", f"/v1/jobs/{ID}/cancel", cancel)
    submitted.on("GET", LOGS, stream)
    environ = {**os.environ, "SWARMSYNC_URL": submitted.url, "XDG_CONFIG_HOME": str(tmp_path)}
    program = subprocess.Popen(
        [sys.executable, "-m", "cli.consumer", "run", "alpine", "yes"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environ,
    )
    assert program.stdout.readline() == b"y\n"
    program.stdout.close()
    assert program.wait(30) == 141
    assert b"cancelling" in program.stderr.read()
    program.stderr.close()


@pytest.mark.process
@pytest.mark.parametrize("arguments", [["--help"], ["job", "--help"], ["run", "--help"], ["job", "list", "--help"]])
def test_help_imports_nothing_heavy(arguments):
    script = (
        "import sys, json; from cli.consumer import main; code = main(sys.argv[1:]); "
        "heavy = {'pydantic', 'rich', 'yaml', 'http.client', 'swarmsync.client', 'asyncio', 'conf.settings'}; "
        "print(json.dumps([code, sorted(heavy & set(sys.modules))]), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, check=True)
    assert json.loads(done.stderr) == [0, []]
