"""A worker's agent is replaced while its job runs: the container goes on, and the new agent tells how it ended."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from swarmsync.client import Client
from tests.e2e.conftest import BIN, CoreProcess, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.e2e]


@pytest.fixture
def client(make_core: Callable[..., CoreProcess]) -> Client:
    return make_core("[worker]\nenabled = false\n").client()


@pytest.fixture
def start(client: Client, tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen]]:
    """Start the agent `far`; its first start enrols it."""
    started = []

    def start_one() -> subprocess.Popen:
        made = {"nats_url": started[0].args[3]} if started else client.call("POST", "/v1/workers", {"name": "far"})
        command = [BIN / "swarmsyncd", "worker", "--nats", made["nats_url"], "--runtime", "process", "--name", "far"]
        command += ["--token", made["token"]] if "token" in made else []
        with (tmp_path / "far.log").open("ab") as out:
            environ = {**os.environ, "SWARMSYNC_DATA_DIR": str(tmp_path / "far")}
            started.append(subprocess.Popen(command, env=environ, stdout=out, stderr=out))
        return started[-1]

    yield start_one
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.wait(30)


def test_the_agent_is_replaced_and_its_container_goes_on(client, start, tmp_path):
    first = start()
    end, pid = tmp_path / "end", tmp_path / "pid"
    command = f"echo before; echo $$ > {pid}; until [ -e {end} ]; do sleep 0.05; done; echo after; exit 3"
    job = client.submit({"image": "i", "command": ["sh", "-c", command]})["id"]
    wait_until(pid.exists, 60)
    container = psutil.Process(int(pid.read_text()))
    first.send_signal(signal.SIGHUP)
    assert first.wait(30) == 0
    assert container.is_running()
    second = start()
    wait_until(lambda: "joined" in (tmp_path / "far.log").read_text().partition("joined")[2], 60)
    assert container.is_running()
    end.touch()
    ended = client.wait(job, timeout_s=60)
    assert (ended["state"], ended["exit_code"], ended["attempt"]) == ("failed", 3, 1)
    assert client.get(f"/v1/jobs/{job}/result")["stdout"]["size"] == len("before\nafter\n")
    second.terminate()
    assert second.wait(30) == 0
