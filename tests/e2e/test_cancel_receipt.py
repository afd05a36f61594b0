"""`job cancel --wait` returns when the container is gone, and says by when that is where nobody reaches its worker."""

import os
import signal
import subprocess
import time

import docker
import pytest

from tests.e2e.conftest import BIN, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.timeout(180)]

CONFIG = """
[workers]
lease_ms = 10000
lease_slack_ms = 1000
suspect_ms = 3000
lost_ms = 6000
[pulse]
slow_ms = 1000
[worker]
runtime = "docker"
name = "receipts"
"""
DEAF = ["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done"]


def begin(client, image: str, command: list[str], grace: str) -> str:
    spec = {"image": image, "command": command, "init": False, "stop": {"grace": grace}}
    job = client.submit(spec)["id"]
    wait_until(lambda: client.job(job)["state"] == "running", 60)
    return job


def test_a_deaf_process_1_is_gone_at_grace_and_two_seconds_and_the_command_returns_then(docker_core, image):
    client = docker_core.client()
    job = begin(client, image, DEAF, "2s")
    began = time.monotonic()
    done = docker_core.consumer("job", "cancel", "--wait", job)
    took_s = time.monotonic() - began
    assert (done.returncode, done.stdout) == (0, f"{job}\n"), done.stderr
    assert 2 <= took_s <= 2 + 2 + 10, took_s  # the grace, what is promised, and a busy machine
    engine = docker.from_env()
    try:
        assert engine.containers.list(filters={"label": f"swarmsync.job={job}"}, ignore_removed=True) == []
    finally:
        engine.close()
    assert client.job(job)["state"] == "cancelled"


def test_where_the_worker_cannot_be_reached_it_says_by_when(make_core, image):
    core = make_core(CONFIG)
    client = core.ready()
    job = begin(client, image, ["sleep", "300"], "1s")
    agent = core.pid("worker")
    os.kill(agent, signal.SIGSTOP)
    try:
        began = time.monotonic()
        command = [BIN / "consumer", "job", "cancel", "--wait", job]
        program = subprocess.Popen(command, env=core.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        said = program.stderr.readline()
        assert "worker receipts cannot be reached; it ends the container by itself by 20" in said
        assert client.job(job)["gone_by"] in said
        out, _ = program.communicate(timeout=60)
        assert (program.returncode, out) == (0, f"{job}\n")
        assert time.monotonic() - began < 12 + 1 + 15, "a lease of twelve seconds, its slack, pulses, a busy machine"
        assert client.job(job)["reason"] == "CancelledByUser"
        engine = docker.from_env()
        try:
            assert engine.containers.list(filters={"label": f"swarmsync.job={job}"}, ignore_removed=True) == []
        finally:
            engine.close()
    finally:
        os.kill(agent, signal.SIGCONT)
