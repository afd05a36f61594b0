"""`consumer run` as a user types it, on real containers."""

import hashlib
import json
import signal
import subprocess

import pytest

from tests.e2e.conftest import BIN, CoreProcess

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.timeout(240)]


def begin(core: CoreProcess, *words: str) -> subprocess.Popen:
    return subprocess.Popen(
        [BIN / "consumer", *words],
        env=core.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,  # what `readline` took too much of, `communicate` would not return
    )


def test_output_and_exit_code_are_the_containers_and_all_views_agree(docker_core, image):
    done = docker_core.consumer("run", image, "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 3)
    show = json.loads(docker_core.consumer("job", "show", "last", "-o", "json").stdout)
    listed = json.loads(docker_core.consumer("job", "list", "-o", "json").stdout)["items"][0]
    result = json.loads(docker_core.consumer("job", "result", "last", "-o", "json").stdout)
    assert show["id"] == listed["id"] == result["id"]
    for document in (show, listed, result):
        assert (document["state"], document["reason"], document["exit_code"]) == ("failed", "ExitCode", 3)
    for stream, text in (("stdout", b"out\n"), ("stderr", b"err\n")):
        assert (result[stream]["size"], result[stream]["sha256"]) == (4, hashlib.sha256(text).hexdigest())
    logs = docker_core.consumer("job", "logs", "last")
    assert (logs.stdout, logs.stderr, logs.returncode) == ("out\n", "err\n", 0)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["{image}", "true"], 0, ""),
        (["--no-init", "{image}", "/no/such/program"], 127, "StartFailed"),
        (["--timeout", "1s", "{image}", "sleep", "60"], 124, "timed out"),
        (["-m", "16m", "{image}", "sh", "-c", "x=0123456789abcdef; while :; do x=$x$x; done"], 137, "OOMKilled"),
        (["{image}", "sh", "-c", "kill -9 $$"], 137, "Signal"),
        (["-m", "1m", "{image}", "true"], 125, "$.resources.memory"),
        (["{image}", "sh", "-c", "exit 125"], 125, ""),
    ],
)
def test_exit_codes(docker_core, image, words, code, said):
    done = docker_core.consumer("run", *(word.format(image=image) for word in words))
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert bool(done.stderr) == bool(said)


def test_flags_reach_the_container(docker_core, image, tmp_path):
    (tmp_path / "env").write_text("FROM_FILE=1\n")
    words = ["-e", "A=b c", "--env-file", str(tmp_path / "env"), "-w", "/tmp", "-u", "1000:1000", "--network", "none"]
    script = 'echo "$A $FROM_FILE $(pwd) $(id -u) $SWARMSYNC_ATTEMPT"; echo -e "x"; echo "$@"'
    done = docker_core.consumer("run", *words, "--entrypoint", "sh", image, "-c", script, "name", "--", "-d")
    assert done.stdout.splitlines()[0] == "b c 1 /tmp 1000 1", done.stderr
    assert done.stdout.splitlines()[-1] == "-- -d"


def test_binary_output_is_not_touched(docker_core, image):
    script = "i=0; while [ $i -lt 2000 ]; do printf '\\000\\377\\r\\n%d' $i; i=$((i+1)); done"
    done = docker_core.consumer("run", image, "sh", "-c", script, text=False)
    assert done.stdout == b"".join(b"\x00\xff\r\n%d" % number for number in range(2000))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_cancels_the_job_and_waits_for_its_end(docker_core, image, number, code):
    script = "trap 'echo caught; exit 0' TERM; echo up; while :; do sleep 0.1; done"
    program = begin(docker_core, "run", "--name", "interrupted", image, "sh", "-c", script)
    assert program.stdout.readline() == b"up\n"
    program.send_signal(number)
    out, err = program.communicate(timeout=60)
    assert (program.returncode, out) == (code, b"caught\n"), err
    job = json.loads(docker_core.consumer("job", "show", "@interrupted", "-o", "json").stdout)
    assert (job["state"], job["reason"]) == ("cancelled", "CancelledByUser")


def test_a_job_that_no_worker_can_run_says_so_and_waits(docker_core, image):
    program = begin(docker_core, "run", "--cpus", "4000", image, "true")
    assert b"Unsatisfiable" in program.stderr.readline()
    assert program.poll() is None
    program.send_signal(signal.SIGINT)
    assert program.wait(60) == 130
    program.communicate()


def test_the_api_is_killed_in_the_middle(make_core, image):
    core = make_core('[worker]\nruntime = "docker"\nname = "middle"\n')
    core.ready()
    script = "n=0; while [ $n -lt 30 ]; do echo line $n; n=$((n+1)); sleep 0.1; done; exit 7"
    program = begin(core, "run", image, "sh", "-c", script)
    first = program.stdout.readline()
    killed = core.kill("api")
    out, err = program.communicate(timeout=100)
    assert core.pid("api") != killed
    assert first + out == b"".join(b"line %d\n" % number for number in range(30)), err
    assert program.returncode == 7
