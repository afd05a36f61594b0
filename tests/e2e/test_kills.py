"""kill -9 of anything while containers run: every job ends once, with the right exit code and whole output."""

import hashlib
import json

import pytest

from tests.e2e.conftest import CoreProcess, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.docker]

DOCKER = '[worker]\nruntime = "docker"\nname = "kills"\ncpus = 8\n'
#: Prints numbered lines for about two seconds, then ends with its own exit code.
SCRIPT = "for n in 1 2 3 4 5 6 7 8; do echo $SWARMSYNC_JOB_ID line $n; sleep 0.2; done; exit {code}"


def submit(client, image: str, jobs: int) -> dict[str, int]:
    """Submit jobs with known exit codes; return {job id: exit code}."""
    codes = [number % 5 for number in range(jobs)]
    specs = [
        {
            "image": image,
            "command": ["sh", "-c", SCRIPT.format(code=code)],
            "resources": {"cpus": 0.5, "memory": "32MiB"},
        }
        for code in codes
    ]
    return dict(zip(client.submit_many(specs), codes, strict=True))


def check_all(client, wanted: dict[str, int]) -> None:
    """Every job ended once, with its code and its whole output."""
    for job_id, code in wanted.items():
        job = client.wait(job_id, timeout_s=240)
        assert job["exit_code"] == code, job
        assert job["state"] == ("succeeded" if code == 0 else "failed"), job
        text = b"\n".join(client.lines(f"/v1/jobs/{job_id}/logs", {"stream": "stdout"})).rstrip(b"\n") + b"\n"
        expected = "".join(f"{job_id} line {n}\n" for n in range(1, 9)).encode()
        assert text == expected, job
        result = client.get(f"/v1/jobs/{job_id}/result")
        assert result["stdout"]["sha256"] == hashlib.sha256(expected).hexdigest()
    finals = [e for e in events(client) if e["job"] in wanted and e["state"] in ("succeeded", "failed")]
    assert sorted(event["job"] for event in finals) == sorted(wanted)


def events(client) -> list[dict]:
    """All job events so far, from the stream."""
    lines = client.lines("/v1/events", {"after": "0-0", "follow": "0"})
    return [json.loads(line[5:]) for line in lines if line.startswith(b"data:")]


def running(client) -> int:
    return client.get("/v1/stats")["jobs"].get("running", 0)


@pytest.mark.timeout(400)
def test_fifty_jobs_survive_a_kill_of_every_process(make_core, image):
    core: CoreProcess = make_core(DOCKER)
    client = core.ready()
    wanted = submit(client, image, 50)
    wait_until(lambda: running(client) >= 3, 60)
    names = [
        "harvester",
        "scheduler",
        "dispatcher",
        "hibernator",
        "logger",
        "worker",
        "api",
        "nats",
        "valkey",
        "postgres",
    ]
    for name in names:
        killed = core.kill(name)
        wait_until(lambda name=name, killed=killed: _back(core, name, killed), 60)
        extra = client.submit({"image": image, "command": ["true"], "resources": {"cpus": 0.25}})
        assert client.wait(extra["id"], timeout_s=60)["state"] == "succeeded", name
    check_all(client, wanted)


def _back(core: CoreProcess, name: str, killed: int) -> bool:
    try:
        return core.pid(name) != killed
    except LookupError:
        return False


@pytest.mark.timeout(300)
def test_jobs_survive_a_kill_of_the_supervisor(make_core, image, our_containers):
    core: CoreProcess = make_core(DOCKER)
    client = core.ready()
    wanted = submit(client, image, 12)
    wait_until(lambda: running(client) >= 3, 60)
    family = core.children()
    core.process.kill()
    core.process.wait(60)
    wait_until(lambda: not any(child.is_running() for child in family), 60)
    core.start()
    client = core.ready()
    check_all(client, wanted)
    wait_until(lambda: our_containers("kills") == [], 60)
