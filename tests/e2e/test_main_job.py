"""The main job as a user types it: streams apart, exit codes, and everything that shows it agrees."""

import hashlib
import itertools
import json

import pytest

from tests.e2e.conftest import CoreProcess, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.docker]

EMPTY = hashlib.sha256(b"").hexdigest()


@pytest.fixture(scope="module")
def docker_core(make_module_core, image) -> CoreProcess:
    """A registry that refuses is asked four times in 7 s by each attempt; two attempts are enough here."""
    core = make_module_core('[worker]\nruntime = "docker"\nname = "e2e"\n[workers]\ncrash_limit = 2\n')
    core.ready()
    return core


@pytest.fixture(scope="module", autouse=True)
def nowhere(docker_core) -> str:
    """A job whose image's registry refuses: it is asked again for a while, which the other tests need not wait for."""
    resources = {"cpus": 0.1, "memory": "16MiB"}
    return docker_core.client().submit({"image": "127.0.0.1:1/nosuch:1", "command": ["true"], "resources": resources})[
        "id"
    ]


def test_run_keeps_streams_apart_and_exits_with_the_containers_code(docker_core, image):
    done = docker_core.consumer("run", image, "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (done.stdout, done.returncode) == ("out\n", 3)
    assert done.stderr == "err\n"
    listed = json.loads(docker_core.consumer("job", "list", "-o", "json").stdout)
    first = (listed["items"] if isinstance(listed, dict) else listed)[0]
    shown = json.loads(docker_core.consumer("job", "show", "last", "-o", "json").stdout)
    assert first["id"] == shown["id"]
    assert (shown["state"], shown["reason"], shown["exit_code"], shown["attempt"]) == ("failed", "ExitCode", 3, 1)
    assert [attempt["exit_code"] for attempt in shown["assignments"]] == [3]
    result = json.loads(docker_core.consumer("job", "result", "last", "-o", "json").stdout)
    assert result["stdout"]["sha256"] == hashlib.sha256(b"out\n").hexdigest()
    assert (result["stdout"]["size"], result["stderr"]["size"]) == (4, 4)
    assert docker_core.consumer("job", "logs", "last").stdout == "out\n"


@pytest.mark.parametrize(("words", "code"), [(["true"], 0), (["sh", "-c", "exit 42"], 42), (["nosuchprogram"], 127)])
def test_exit_codes_pass_through(docker_core, image, words, code):
    assert docker_core.consumer("run", image, *words).returncode == code


def test_signals_are_128_plus_n(docker_core, image):
    done = docker_core.consumer("run", image, "sh", "-c", "kill -TERM $$; sleep 5")
    assert done.returncode == 143


def test_output_is_exact_binary_and_long(docker_core, image):
    script = "head -c 3000000 /dev/zero; printf '\\n\\377\\000end'"
    done = docker_core.consumer("run", image, "sh", "-c", script, text=False)
    assert done.returncode == 0
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(bytes(3_000_000) + b"\n\xff\x00end").digest()


def test_a_timeout_is_124_and_names_itself(docker_core, image):
    done = docker_core.consumer("run", "--timeout", "1s", "--stop-grace", "1s", image, "sleep", "30")
    assert done.returncode == 124
    job = json.loads(docker_core.consumer("job", "show", "last", "-o", "json").stdout)
    assert (job["state"], job["reason"]) == ("timed_out", "Timeout")


def test_oom_is_said_and_not_guessed(docker_core, image):
    script = "x=a; while true; do x=$x$x; done"
    done = docker_core.consumer("run", "-m", "16m", image, "sh", "-c", script)
    assert done.returncode == 137
    job = json.loads(docker_core.consumer("job", "show", "last", "-o", "json").stdout)
    assert job["reason"] == "OOMKilled"


def test_cancel_of_a_running_job_stops_its_container(docker_core, image, our_containers):
    job_id = docker_core.consumer("job", "create", image, "sleep", "60").stdout.strip()
    client = docker_core.ready()
    wait_until(lambda: client.job(job_id)["state"] == "running", 60)
    assert docker_core.consumer("job", "cancel", job_id, "--wait").returncode == 0
    job = client.job(job_id)
    assert (job["state"], job["reason"]) == ("cancelled", "CancelledByUser")
    wait_until(lambda: our_containers("e2e") == [], 60)


def test_two_jobs_of_one_cpu_never_overlap_on_a_one_cpu_worker(make_core, image):
    core = make_core('[worker]\nruntime = "docker"\nname = "onecpu"\ncpus = 1\n')
    client = core.ready()
    ids = client.submit_many([{"image": image, "command": ["sleep", "0.3"]}] * 6)
    spans = []
    for job_id in ids:
        job = client.wait(job_id, timeout_s=60)
        assert job["state"] == "succeeded"
        spans.append((job["started_at"], job["finished_at"]))
    spans.sort()
    assert all(earlier[1] <= later[0] for earlier, later in itertools.pairwise(spans)), spans


def test_more_than_any_worker_has_stays_queued_and_says_so(docker_core, image):
    job_id = docker_core.consumer("job", "create", "--cpus", "512", image, "true").stdout.strip()
    client = docker_core.ready()
    wait_until(lambda: client.job(job_id)["reason"] == "Unsatisfiable", 60)
    job = client.job(job_id)
    assert job["state"] == "queued"
    assert "512 cpus" in job["message"]
    why = json.loads(docker_core.consumer("job", "why", job_id, "-o", "json").stdout)
    assert why["blockers"][0]["reason"] == "Unsatisfiable"
    assert docker_core.consumer("job", "cancel", job_id).returncode == 0


def test_retry_delay_and_hold(docker_core, image):
    client = docker_core.ready()
    spec = {"image": image, "command": ["sh", "-c", "exit $((SWARMSYNC_ATTEMPT < 3))"]}
    retried = client.submit({**spec, "retry": {"attempts": 3, "delay": "100ms", "jitter": 0}})
    job = client.wait(retried["id"], timeout_s=60)
    assert (job["state"], job["attempt"], len(job["assignments"])) == ("succeeded", 3, 3)
    delayed = client.submit({"image": image, "command": ["true"], "delay": "1s"})
    assert delayed["state"] == "scheduled"
    assert client.wait(delayed["id"], timeout_s=60)["state"] == "succeeded"
    held = client.submit({"image": image, "command": ["true"], "delay": "30s"})
    assert client.act(held["id"], "hold")["state"] == "held"
    assert client.act(held["id"], "cancel")["state"] == "cancelled"


def test_an_image_that_is_nowhere_fails_with_its_reason(docker_core, nowhere):
    done = docker_core.consumer("job", "wait", "--exit-code", nowhere)
    assert done.returncode == 125
    job = docker_core.client().job(nowhere)
    assert "Image" in job["message"]
    assert [entry["reason"] for entry in job["assignments"]] == ["ImagePullFailed"] * 2
