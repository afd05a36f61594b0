"""SIGSTOP of a worker's agent for twice its lease: its watchdog ends its containers before others begin the jobs again.

`SWARMSYNC_TEST_JOBS=500` makes it the long test.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.e2e.conftest import CoreProcess, wait_until

JOBS = int(os.environ.get("SWARMSYNC_TEST_JOBS", "24"))
pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.timeout(180 + 4 * JOBS)]

GRACE_S, LEASE_S, SLACK_S = 1, 12, 2  # a lease is at least twice the grace and 10 s
CONFIG = f"""
[workers]
lease_ms = {LEASE_S * 1000}
lease_slack_ms = {SLACK_S * 1000}
suspect_ms = 3000
lost_ms = 6000
[worker]
runtime = "docker"
name = "stopped"
cpus = 4
"""
#: A first attempt on the worker that is to be stopped lasts until somebody ends it; every second one is deaf to SIGTERM.
SCRIPT = """
trap '{trap}' TERM
if [ $SWARMSYNC_WORKER = stopped ] && [ $SWARMSYNC_FENCE = 1 ]; then n=0; while [ $n -lt 6000 ]; do sleep 0.1; n=$((n+1)); done; fi
echo $SWARMSYNC_FENCE
"""


def start_other_worker(core: CoreProcess, directory: Path, **environ: str) -> subprocess.Popen:
    """A second worker of this Core on the same engine."""
    site = json.loads((core.data_dir / "private" / "worker.json").read_text())
    made = core.client().call("POST", "/v1/workers", {})
    site |= {"nats_url": made["nats_url"], "enroll_token": made["token"]}
    site["worker"] |= {"name": "other"}
    site["state_dir"] = str(directory / "other")
    path = directory / "other.json"
    path.write_text(json.dumps(site))
    with (directory / "other.log").open("ab") as log:
        command = [sys.executable, "-m", "worker.program", path]
        return subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **environ})


@pytest.fixture
def told(engine: docker.DockerClient) -> Iterator[list[dict[str, Any]]]:
    """What the engine tells of containers from now on. It remembers only the last 256 events, so they are taken as they come."""
    heard: list[dict[str, Any]] = []
    stream = engine.events(decode=True, filters={"type": "container", "event": ["start", "die"]})
    listener = threading.Thread(target=lambda: heard.extend(stream), daemon=True)
    listener.start()
    yield heard
    stream.close()
    listener.join(30)


def lives(told: list[dict[str, Any]], jobs: set[str]) -> dict[str, dict[int, list[float]]]:
    """When each container of these jobs began and ended, by job and fence, as the engine tells it."""
    found: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for event in list(told):
        labels = event["Actor"]["Attributes"]
        if event["Action"] in ("start", "die") and labels.get("swarmsync.job") in jobs:
            found[labels["swarmsync.job"]][int(labels["swarmsync.fence"])].append(event["timeNano"] / 1e9)
    return found


@pytest.fixture
def engine() -> Iterator[docker.DockerClient]:
    client = docker.from_env()
    yield client
    client.close()


def test_no_two_containers_of_a_job_overlap_and_each_has_one_verdict(make_core, image, tmp_path, told):
    core = make_core(CONFIG)
    client = core.ready()
    specs = [
        {
            "image": image,
            "command": ["sh", "-c", SCRIPT.format(trap=":" if number % 2 else "exit 9")],
            "resources": {"cpus": 0.25, "memory": "16MiB"},
            "stop": {"grace": f"{GRACE_S}s"},
        }
        for number in range(JOBS)
    ]
    jobs = client.submit_many(specs)
    wait_until(lambda: client.get("/v1/stats")["jobs"].get("running", 0) >= min(16, JOBS), 90)
    other = start_other_worker(core, tmp_path)
    try:
        agent = core.pid("worker")
        os.kill(agent, signal.SIGSTOP)
        stopped_at = time.monotonic()
        try:
            wait_until(lambda: time.monotonic() - stopped_at > 2 * LEASE_S, 3 * LEASE_S)
        finally:
            os.kill(agent, signal.SIGCONT)
        ended = {job: client.wait(job, timeout_s=60 + 3 * JOBS) for job in jobs}
    finally:
        other.terminate()
        other.wait(60)
    assert {job["state"] for job in ended.values()} == {"succeeded"}
    finals = [e["job"] for e in events(client) if e["state"] in ("succeeded", "failed", "cancelled")]
    assert sorted(finals) == sorted(jobs)
    wait_until(lambda: all(len(end) == 2 for fences in lives(told, set(jobs)).values() for end in fences.values()), 60)
    seen = lives(told, set(jobs))
    again = 0
    for job, fences in seen.items():
        assert ended[job]["fence"] == max(fences), "the verdict of the newest attempt counts"
        for earlier, later in zip(sorted(fences), sorted(fences)[1:], strict=False):
            again += 1
            assert len(fences[earlier]) == 2, (job, fences)
            assert max(fences[earlier]) <= min(fences[later]) + GRACE_S, (job, fences)
    assert again >= min(16, JOBS), "the stopped worker's jobs were begun again"
    for job in jobs:
        accepted = ended[job]["fence"]
        assert b"".join(client.lines(f"/v1/jobs/{job}/logs", {"stream": "stdout"})).strip() == str(accepted).encode()


def events(client) -> list[dict]:
    lines = client.lines("/v1/events", {"after": "0-0", "follow": "0"})
    return [json.loads(line[5:]) for line in lines if line.startswith(b"data:")]
