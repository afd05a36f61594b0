"""Nine ways to die, nine reasons. `SWARMSYNC_TEST_DEATHS=20` makes it the long test."""

import os
import subprocess
import time
from collections.abc import Iterator

import docker
import pytest

from swarmsync.client import Client
from tests.e2e.conftest import CoreProcess, wait_until
from tests.e2e.local_registry import LocalRegistry
from tests.e2e.test_stopped_agent import start_other_worker

TIMES = int(os.environ.get("SWARMSYNC_TEST_DEATHS", "2"))
pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.timeout(240 + 60 * TIMES)]

CONFIG = """
[workers]
lease_ms = 10000
lease_slack_ms = 1000
suspect_ms = 3000
lost_ms = 6000
[worker]
runtime = "docker"
name = "deaths"
cpus = 40
"""
SLEEP = ["sleep", "300"]
EATER = ["sh", "-c", "x=0123456789abcdef; while :; do x=$x$x; done"]


class Deaths:
    """A Core, a second worker of it to be killed, and a registry that wants a password."""

    def __init__(self, core: CoreProcess, image: str, registry: LocalRegistry, other_dir) -> None:
        self.core, self.image, self.registry, self._other_dir = core, image, registry, other_dir
        self.client: Client = core.ready()
        self.engine = docker.from_env()
        self._others: list[subprocess.Popen] = []
        self._orphan = ""

    def close(self) -> None:
        for other in self._others:
            other.kill()
            other.wait(60)
        self.engine.close()

    def begin(self, command: list[str], **spec) -> str:
        resources = {"cpus": 0.25, "memory": "16MiB"}
        document = {"image": self.image, "command": command, "resources": resources, "stop": {"grace": "1s"}}
        return self.client.submit(document | spec)["id"]

    def running(self, job: str, worker: str = "deaths") -> str:
        def runs() -> bool:
            shown = self.client.job(job)
            return shown["state"] == "running" and shown["worker"] == worker

        wait_until(runs, 60)
        return job

    def first_end(self, job: str) -> dict:
        """How the job's first attempt ended."""
        wait_until(lambda: self.client.job(job)["assignments"][:1] and self._ended(job), 60)
        return self.client.job(job)["assignments"][0]

    def _ended(self, job: str) -> bool:
        return self.client.job(job)["assignments"][0]["state"] in ("ended", "lost")

    def end(self, job: str) -> tuple:
        shown = self.client.wait(job, timeout_s=60)
        return shown["state"], shown["reason"], shown["exit_code"]

    # ------------------------------------------------ the nine

    def exit_3(self) -> tuple:
        return self.end(self.begin(["sh", "-c", "exit 3"]))

    def out_of_memory(self) -> tuple:
        return self.end(self.begin(EATER))

    def timeout(self) -> tuple:
        return self.end(self.begin(SLEEP, timeout="1s"))

    def cancelled(self) -> tuple:
        job = self.running(self.begin(SLEEP))
        assert self.core.consumer("job", "cancel", "--wait", job).returncode == 0
        return self.end(job)[:2]

    def drained(self) -> tuple:
        job = self.running(self.begin(SLEEP))
        try:
            done = self.core.consumer("worker", "drain", "--wait", "--deadline", "1s", "deaths")
            assert (done.returncode, done.stdout) == (0, "deaths  drained\n"), done.stderr
            attempt = self.first_end(job)
            assert self.client.job(job)["state"] == "queued", "others may run it; none of its attempts is spent"
            assert self.core.consumer("job", "cancel", "--wait", job).returncode == 0
        finally:
            self.core.consumer("worker", "uncordon", "deaths")
        return attempt["state"], attempt["reason"]

    def killed_by_hand(self) -> tuple:
        job = self.running(self.begin(SLEEP))
        self.engine.containers.get(f"swarmsync-{job}-1").kill()
        return self.end(job)

    def kill_other_worker(self) -> None:
        """Its watchdog ends the container; the job goes back to the line when the lease is over."""
        self.core.consumer("worker", "cordon", "deaths")
        other = start_other_worker(self.core, self._other_dir)
        self._others.append(other)
        try:
            self.core.ready(2)
            self.core.consumer("worker", "uncordon", "other")
            self._orphan = self.running(self.begin(SLEEP), "other")
            self.core.consumer("worker", "cordon", "other")  # or what comes next would wait there for the lease to end
            other.kill()
            other.wait(60)
        finally:
            self.core.consumer("worker", "uncordon", "deaths")

    def worker_killed(self) -> tuple:
        attempt = self.first_end(self._orphan)
        self.client.cancel(self._orphan)
        label = f"swarmsync.job={self._orphan}"
        wait_until(lambda: not self.engine.containers.list(filters={"label": label}, ignore_removed=True), 60)
        return attempt["state"], attempt["reason"]

    def no_image(self) -> tuple:
        return self.end(self.begin(["true"], image=f"{self.registry.address}/open/none:1"))

    def closed_registry(self) -> tuple:
        return self.end(self.begin(["true"], image=f"{self.closed.address}/app:1"))


@pytest.fixture
def deaths(make_core, image, tmp_path) -> Iterator[Deaths]:
    registries = []
    for name, private in (("open", False), ("closed", True)):
        directory = tmp_path / name
        directory.mkdir()
        registries.append(LocalRegistry(directory, private=private))
        registries[-1].start()
    made = Deaths(make_core(CONFIG), image, registries[0], tmp_path)
    made.closed = registries[1]
    yield made
    made.close()
    for registry in registries:
        registry.stop()


def test_nine_deaths_have_nine_reasons(deaths):
    wanted = {
        "exit_3": ("failed", "ExitCode", 3),
        "out_of_memory": ("failed", "OOMKilled", 137),
        "timeout": ("timed_out", "Timeout", 143),
        "cancelled": ("cancelled", "CancelledByUser"),
        "drained": ("ended", "WorkerDrained"),
        "killed_by_hand": ("failed", "Signal", 137),
        "no_image": ("failed", "ImageNotFound", None),
        "closed_registry": ("failed", "ImageUnauthorized", None),
        "worker_killed": ("lost", "WorkerLost"),
    }
    for round_ in range(TIMES):
        began = {"worker_killed": time.monotonic()}
        deaths.kill_other_worker()  # the others die while its lease lasts
        for name, end in wanted.items():
            began.setdefault(name, time.monotonic())
            assert getattr(deaths, name)() == end, (name, round_)
            assert time.monotonic() - began[name] < 60, name
