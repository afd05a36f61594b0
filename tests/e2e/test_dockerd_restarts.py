"""Docker itself is killed and started again under a worker: what its containers were doing is told as it was."""

import asyncio
import signal

import pytest

from tests.e2e.conftest import wait_until
from tests.e2e.dockerd import Dockerd
from worker.demo_image import TAG, ensure_demo_image

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.timeout(240)]

WORKER = '[worker]\nruntime = "docker"\nname = "restarts"\ncpus = 4\n'
#: Writes for about two seconds and ends with a code of its own; a second attempt would write of itself.
LONG = "for n in 1 2 3 4 5 6 7 8; do echo attempt $SWARMSYNC_ATTEMPT line $n; sleep 0.25; done; exit 7"
ONCE = 'test "$SWARMSYNC_ATTEMPT" = 1 && sleep 1000; echo attempt $SWARMSYNC_ATTEMPT'


@pytest.fixture
def engine(tmp_path, monkeypatch):
    made = Dockerd(tmp_path)
    try:
        made.start(live_restore=True)
        asyncio.run(ensure_demo_image(made.address))
        monkeypatch.setenv("DOCKER_HOST", made.address)
        yield made
    finally:
        made.clean()


def spec(script):
    return {"image": TAG, "command": ["sh", "-c", script], "resources": {"cpus": 0.5, "memory": "32MiB"}}


def begin(client, script):
    """Submit, and return its id once its container runs."""
    job_id = client.submit(spec(script))["id"]
    wait_until(lambda: client.get(f"/v1/jobs/{job_id}")["state"] == "running", 60)
    return job_id


def output(client, job_id):
    return b"\n".join(client.lines(f"/v1/jobs/{job_id}/logs", {"stream": "stdout"})).decode().rstrip("\n") + "\n"


def test_with_live_restore_a_killed_engine_costs_no_job(engine, make_core):
    core = make_core(WORKER)
    client = core.ready()
    long = begin(client, LONG)
    engine.end(signal.SIGKILL)
    meanwhile = client.submit(spec("echo after"))["id"]
    engine.start(live_restore=True)
    ended, after = client.wait(long, timeout_s=60), client.wait(meanwhile, timeout_s=60)
    assert (ended["state"], ended["exit_code"], ended["attempt"]) == ("failed", 7, 1)
    assert output(client, long) == "".join(f"attempt 1 line {n}\n" for n in range(1, 9))
    assert (after["state"], output(client, meanwhile)) == ("succeeded", "after\n")


def test_without_it_containers_end_with_their_engine_and_their_jobs_run_again(engine, make_core):
    engine.end(signal.SIGTERM)
    engine.start(live_restore=False)
    core = make_core(WORKER)
    client = core.ready()
    for how in (signal.SIGTERM, signal.SIGKILL):
        job_id = begin(client, ONCE)
        engine.end(how)
        engine.start(live_restore=False)
        ended = client.wait(job_id, timeout_s=60)
        assert (ended["state"], ended["attempt"], output(client, job_id)) == ("succeeded", 2, "attempt 2\n"), ended
        assert ended["assignments"][0]["reason"] == "DockerError", ended["assignments"]
