"""A Core as a user runs it, and `consumer` as a user types it."""

import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import psutil
import pytest

from bench.harness import free_port
from swarmsync import embedded
from swarmsync.client import Client

BIN = Path(sys.executable).parent
IMAGE = "swarmsync-demo:latest"
#: With these a Core has something that others take away or use again when it is to be gone: containers, servers, a network.
SHARED = ('runtime = "docker"', "[database]", "bind = ")


@functools.cache
def _empty_database() -> tempfile.TemporaryDirectory[str]:
    """A data directory in which there is nothing but what initdb makes, which takes over a second of a CPU."""
    made = tempfile.TemporaryDirectory(prefix="swarmsync-tests-", ignore_cleanup_errors=True)
    directory = Path(made.name)
    embedded.make_directories(directory)
    passwords = embedded.load_secrets(directory)
    embedded.plan_postgres(directory, passwords)
    owner = {name: secret for name, secret in passwords.items() if name == "swarmsync_owner"}
    (directory / "secrets.json").write_text(json.dumps(owner))  # the others are each Core's own
    return made


class CoreProcess:
    """`swarmsyncd` with a data directory, a port and a profile of its own.

    Its database is a copy of one that was made before. Cores that `bench` starts begin with nothing.
    """

    def __init__(self, directory: Path, config: str) -> None:
        self.directory = directory
        self.data_dir = directory / "data"
        self.port = free_port()
        self._config = directory / "core.toml"
        self._config.write_text(config)
        if "[database]" not in config:
            self._copy_database()
        self.environ = {k: v for k, v in os.environ.items() if not k.startswith("SWARMSYNC_") and k != "NO_COLOR"}
        self.environ["XDG_CONFIG_HOME"] = str(directory / "config")
        self.process: subprocess.Popen | None = None
        self._clients: list[Client] = []

    def _copy_database(self) -> None:
        self.data_dir.mkdir(mode=0o700)
        empty = Path(_empty_database().name)
        for name in ("secrets.json", "postgres"):
            subprocess.run(["cp", "-a", empty / name, self.data_dir / name], check=True)

    def start(self) -> None:
        out = (self.directory / "out").open("ab")
        command = [BIN / "swarmsyncd", "--data-dir", self.data_dir, "--port", str(self.port), "--config", self._config]
        already = self.said().count("is up")
        self.process = subprocess.Popen(command, env=self.environ, stdout=out, stderr=out)
        out.close()
        wait_until(lambda: self.said().count("is up") > already or self.process.poll() is not None, 60)
        assert self.process.poll() is None, self.said()

    def said(self) -> str:
        path = self.directory / "out"
        return path.read_text() if path.exists() else ""

    def client(self) -> Client:
        profiles = json.loads((self.directory / "config" / "swarmsync" / "profiles.json").read_text())
        local = profiles["profiles"]["local"]
        client = Client(local["url"], local["token"], patience_s=30, ca=local.get("ca", ""))
        self._clients.append(client)
        return client

    def ready(self, workers: int = 1) -> Client:
        """Return a client once that many workers are ready."""
        client = self.client()
        wait_until(lambda: sum(w["liveness"] == "ready" for w in client.items("/v1/workers")) >= workers, 60)
        return client

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def pid(self, name: str) -> int:
        """The process id of a module (`scheduler`), a server (`postgres`), the `api` or the `worker`."""
        marks = {"postgres": "/bin/postgres -D", "nats": "nats-server", "valkey": "valkey-server", "api": "-m gunicorn"}
        marks["worker"] = "worker.program"
        for child in psutil.Process(self.process.pid).children():
            try:
                line, comm = " ".join(child.cmdline()), Path(f"/proc/{child.pid}/comm").read_text().strip()
            except (psutil.Error, OSError):
                continue  # it ended while we looked
            if marks[name] in line if name in marks else comm == f"swarm-{name}"[:15]:
                return child.pid
        raise LookupError(name)

    def kill(self, name: str) -> int:
        pid = self.pid(name)
        os.kill(pid, signal.SIGKILL)
        return pid

    def stop(self) -> int:
        while self._clients:
            self._clients.pop().close()
        if self.process is None or self.process.poll() is not None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def let_go(self) -> None:
        """Stop it while the next test begins. Who was let go of before has ended then."""
        text = self._config.read_text()
        if any(word in text for word in SHARED):
            self.stop()
            return
        _wait_for_leaving()
        while self._clients:
            self._clients.pop().close()
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            _leaving.append(self.process)

    def consumer(self, *words: str, **how) -> subprocess.CompletedProcess:
        how = {"capture_output": True, "text": True, "timeout": 100, **how}
        return subprocess.run([BIN / "consumer", *words], env=self.environ, check=False, **how)


_leaving: list[subprocess.Popen] = []


def _wait_for_leaving() -> None:
    while _leaving:
        _leaving.pop().wait(60)


@pytest.fixture(scope="session", autouse=True)
def _nobody_is_left() -> Iterator[None]:
    yield
    _wait_for_leaving()


def wait_until(true: Callable[[], bool], timeout_s: float) -> None:
    """Poll the outside world, which has no signal to wait on."""
    deadline, pause = time.monotonic() + timeout_s, threading.Event()
    while not true():
        assert time.monotonic() < deadline, f"not so within {timeout_s:g} s"
        pause.wait(0.02)


@pytest.fixture(scope="session")
def image() -> str:
    """The demo image; without a Docker engine the tests that need it fail."""
    done = subprocess.run([sys.executable, "-m", "worker.demo_image"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"no Docker engine answers, and these tests need one: {done.stderr}"
    return IMAGE


@pytest.fixture
def make_core(tmp_path: Path) -> Iterator[Callable[..., CoreProcess]]:
    """Make Cores of one test; all are stopped at its end, also when it fails."""
    made = []

    def make(config: str = "") -> CoreProcess:
        directory = tmp_path / f"core{len(made)}"
        directory.mkdir()
        made.append(CoreProcess(directory, config))
        made[-1].start()
        return made[-1]

    yield make
    for core in made:
        core.let_go()


@pytest.fixture(scope="module")
def make_module_core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., CoreProcess]]:
    """Make Cores for all tests of a module, for tests that do not break them."""
    made = []

    def make(config: str = "") -> CoreProcess:
        made.append(CoreProcess(tmp_path_factory.mktemp("core"), config))
        made[-1].start()
        return made[-1]

    yield make
    for core in made:
        core.let_go()


@pytest.fixture(scope="module")
def docker_core(tmp_path_factory: pytest.TempPathFactory, image: str) -> Iterator[CoreProcess]:
    """One Core with a Docker worker for all tests of a module that do not break it."""
    core = CoreProcess(tmp_path_factory.mktemp("core"), '[worker]\nruntime = "docker"\nname = "e2e"\n')
    core.start()
    core.ready()
    yield core
    core.stop()


@pytest.fixture(scope="module")
def process_core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoreProcess]:
    """The same with a worker that runs plain processes, for what does not depend on the runtime."""
    core = CoreProcess(tmp_path_factory.mktemp("core"), '[worker]\nruntime = "process"\nname = "w1"\n')
    core.start()
    core.ready()
    yield core
    core.let_go()


@pytest.fixture
def our_containers() -> Callable[[str], list[str]]:
    """Ids of the containers that a worker of this name has made and that still exist."""
    client = docker.from_env()

    def listed(owner: str) -> list[str]:
        return [
            c.id
            for c in client.containers.list(all=True, ignore_removed=True)
            if c.labels.get("swarmsync.owner") == owner
        ]

    yield listed
    client.close()
