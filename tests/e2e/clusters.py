"""Several Cores on one PostgreSQL, one Valkey and three NATS servers, and their workers."""

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from bench.cores import nats_servers
from swarmsync import embedded
from swarmsync.client import Client
from tests.e2e.conftest import BIN, CoreProcess


class Cluster:
    def __init__(self, directory: Path, servers: str) -> None:
        self._directory, self._servers = directory, servers
        self._environ = {"XDG_CONFIG_HOME": str(directory / "config")}
        self.cores: list[CoreProcess] = []

    def add(self) -> CoreProcess:
        """Start one more Core. All use one profile directory: the token of the first lets the tests in everywhere."""
        directory = self._directory / f"core{len(self.cores)}"
        directory.mkdir()
        core = CoreProcess(directory, self._servers)
        core.environ |= {"SWARMSYNC_SEAL_KEY": "AAAA" * 10 + "AAA=", "SWARMSYNC_JOIN_TOKEN": "cluster"}
        core.start()
        self.cores.append(core)
        return core

    def client(self, core: CoreProcess) -> Client:
        return core.client()

    def leader(self) -> CoreProcess | None:
        """Return the Core whose modules run, if there is exactly one."""
        leading = [core for core in self.cores if _runs(core, "swarm-scheduler") and _runs(core, "swarm-harvester")]
        return leading[0] if len(leading) == 1 else None

    def kill(self, core: CoreProcess) -> None:
        """Kill a Core with all that it started, as a machine that loses its power does."""
        for process in [psutil.Process(core.process.pid), *core.children()]:
            with contextlib.suppress(psutil.NoSuchProcess):  # it went with its supervisor
                process.send_signal(signal.SIGKILL)
        core.process.wait(60)


def _runs(core: CoreProcess, comm: str) -> bool:
    if core.process is None or core.process.poll() is not None:
        return False
    for child in core.children():
        try:
            if Path(f"/proc/{child.pid}/comm").read_text().strip() == comm[:15] and child.status() != "stopped":
                return True
        except (OSError, psutil.Error):
            continue
    return False


@contextmanager
def cluster(directory: Path, cores: int, workers: int) -> Iterator[Cluster]:
    """Run servers, that many Cores, and simulated workers in a process of their own."""
    with embedded.running(directory / "servers", ("postgres", "valkey")) as plans, nats_servers(directory) as urls:
        config = f"""
[database]
url = "{plans["postgres"].url}"
[nats]
url = "{urls}"
[redis]
url = "{plans["valkey"].url}"
[worker]
enabled = false
"""
        made = Cluster(directory, config)
        crew = None
        try:
            for _ in range(cores):
                made.add()
            crew = _workers(directory, urls, workers)
            made.cores[0].ready(workers)
            yield made
        finally:
            if crew is not None:
                crew.kill()
                crew.wait(60)
            for core in made.cores:
                core.stop()


def _workers(directory: Path, urls: str, count: int) -> subprocess.Popen:
    command = [BIN / "swarmsyncd", "worker", "--nats", urls, "--token", "cluster", "--runtime", "simulated"]
    command += ["--name", "sim", "--count", str(count), "--data-dir", directory / "workers"]
    with (directory / "workers.out").open("ab") as out:
        return subprocess.Popen(command, stdout=out, stderr=out)
