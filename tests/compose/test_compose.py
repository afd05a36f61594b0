"""The Compose stack as a stranger starts it, where no image registry is reached: images, workers, restart, the menu."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent.parent
BASE = "swarmsync-test-base"
NAME = "swarmsync-test"
pytestmark = [pytest.mark.compose, pytest.mark.timeout(900)]


class Stack:
    """`docker compose` (or docker-compose 1.29) with the test's override and names of its own."""

    def __init__(self) -> None:
        plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0
        self._command = ["docker", "compose"] if plugin else ["docker-compose"]
        self._environ = {
            **os.environ,
            "COMPOSE_PROJECT_NAME": NAME,
            "DOCKER_BUILDKIT": "0",
            "COMPOSE_DOCKER_CLI_BUILD": "0",
            "SWARMSYNC_BASE": BASE,
            "SWARMSYNC_PIP_ARGS": "--no-index --find-links /src/wheels",
            "SWARMSYNC_CORE_NAME": f"{NAME}-core",
            "SWARMSYNC_PUBLISH": "127.0.0.1:0",
            **{f"SWARMSYNC_{part}_IMAGE": f"{NAME}-{part.lower()}" for part in ("CORE", "WORKER", "CONSUMER")},
        }

    def __call__(self, *words: str, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
        files = ("-f", "docker-compose.yml", "-f", "tests/compose/override.yml")
        return subprocess.run(
            [*self._command, *files, *words],
            cwd=PROJECT, env=self._environ, capture_output=True, text=True, check=False, timeout=timeout_s,
        )  # fmt: skip

    def do(self, *words: str) -> str:
        done = self(*words)
        assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}\n{done.stderr}\n{self('logs').stdout[-5000:]}"
        return done.stdout

    def consumer(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self("run", "--rm", "-T", "consumer", *words)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    wheels = PROJECT / "wheels"
    for wanted in ([str(PROJECT)], ["setuptools>=68", "wheel", "async-timeout"]):
        subprocess.run(
            [sys.executable, "-m", "pip", "wheel", "-q", "-w", str(wheels), *wanted], check=True, capture_output=True
        )
    for own in wheels.glob("swarmsync-*.whl"):
        own.unlink()
    script = PROJECT / "scripts" / "base-image.sh"
    subprocess.run([script, BASE, "postgresql", "redis-server", "nats-server"], check=True)
    subprocess.run([sys.executable, "-m", "worker.demo_image"], check=True)
    made = Stack()
    made("down", "-v")
    made.do("build", "core", "worker", "consumer")
    yield made
    made("down", "-v")


def test_core_and_three_workers_run_jobs_and_a_restart_keeps_them(stack: Stack) -> None:
    stack.do("up", "-d", "core")
    stack.do("up", "-d", "--scale", "worker=3", "worker")
    listed = stack.consumer("worker", "list", "-o", "json")
    assert listed.returncode == 0, listed.stderr
    assert stack.consumer("run", "swarmsync-demo:latest", "true").returncode == 0  # waits until a worker has joined
    done = stack.consumer("run", "swarmsync-demo:latest", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (done.returncode, done.stdout) == (3, "out\n"), done.stderr
    array = stack.consumer("job", "create", "--cpus", "0.5", "--array", "0-11", "swarmsync-demo:latest", "true")
    assert stack.consumer("job", "wait", array.stdout.strip()).returncode == 0
    members = stack.consumer("job", "list", "--array", array.stdout.strip(), "-o", "json")
    assert len({job["worker"] for job in json.loads(members.stdout)["items"]}) > 1, members.stdout

    stack.do("down")
    stack.do("up", "-d", "core")
    kept = stack.consumer("job", "list", "-o", "json")
    assert kept.returncode == 0, kept.stderr
    states = [(job["state"], job["exit_code"]) for job in json.loads(kept.stdout)["items"]]
    assert states == [("succeeded", 0), ("failed", 3), ("succeeded", 0)]


def test_the_command_line_is_in_the_core_container(stack: Stack) -> None:
    stack.do("up", "-d", "core")
    words = ["docker", "exec", f"{NAME}-core", "consumer", "whoami", "-o", "json"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout)["username"] == "admin"


def test_nothing_but_the_worker_runs_as_root(stack: Stack) -> None:
    stack.do("up", "-d", "core")
    for words in (["docker", "exec", f"{NAME}-core", "id", "-u"],):
        assert subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip() == "10001"
    assert stack("run", "--rm", "-T", "--entrypoint", "id", "consumer", "-u").stdout.strip() == "10001"
