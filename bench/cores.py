"""Several Cores on one PostgreSQL, one Valkey and three NATS servers, and workers on their own: what fails over.

Jobs are real processes, so a job that two workers ran would meet itself at its lock. Nothing here is embedded in a
Core: what dies with a leader is the leader alone.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import psutil

from bench.harness import Core, answers, free_port, launcher, wait_until
from swarmsync import embedded

JOIN_TOKEN: Final = "bench-cores"
_SEAL_KEY: Final = "AAAA" * 10 + "AAA="


class Several:
    """The Cores, in the order of their start; `database_url` and `nats_url` are those of the shared servers."""

    def __init__(self, directory: Path, database_url: str, redis_url: str, nats_url: str, config: str) -> None:
        self.database_url, self.nats_url = database_url, nats_url
        self._directory = directory
        self._config = (
            f'[database]\nurl = "{database_url}"\n[nats]\nurl = "{nats_url}"\n[redis]\nurl = "{redis_url}"\n'
            f"[worker]\nenabled = false\n{config}"
        )
        self.cores: list[Core] = []

    def add(self) -> Core:
        """Start one more, with a profile of its own."""
        directory = self._directory / f"core{len(self.cores)}"
        directory.mkdir()
        port = free_port()
        more = {"SWARMSYNC_SEAL_KEY": _SEAL_KEY, "SWARMSYNC_JOIN_TOKEN": JOIN_TOKEN}
        profile = directory / "config"
        launch = launcher(directory, self._config, port, {"XDG_CONFIG_HOME": str(profile), **more})
        process = launch()
        token = json.loads((profile / "swarmsync" / "profiles.json").read_text())["profiles"]["local"]["token"]
        self.cores.append(Core(f"http://127.0.0.1:{port}", token, directory / "data", process, launch))
        return self.cores[-1]

    def leader(self) -> Core | None:
        """Return the Core whose modules run, if there is exactly one."""
        leading = [core for core in self.cores if _leads(core)]
        return leading[0] if len(leading) == 1 else None


def family(core: Core) -> list[psutil.Process]:
    """Return the processes of a Core that lives, the supervisor first."""
    supervisor = psutil.Process(core.process.pid)
    return [supervisor, *supervisor.children(recursive=True)]


def kill(core: Core) -> None:
    """Kill a Core with all that it started, as a machine that loses its power does."""
    send(family(core), signal.SIGKILL)
    core.process.wait(10)


def send(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):  # it went with its supervisor
            process.send_signal(number)


def modules(core: Core) -> list[psutil.Process]:
    """Return the engine's modules that a Core has, whatever state they are in."""
    if core.process.poll() is not None:
        return []
    return [process for process in family(core) if _comm(process) in ("swarm-scheduler", "swarm-harvester")]


def _leads(core: Core) -> bool:
    try:
        return len([process for process in modules(core) if process.status() != "stopped"]) == 2
    except psutil.NoSuchProcess:
        return False


def _comm(process: psutil.Process) -> str:
    try:
        return Path(f"/proc/{process.pid}/comm").read_text().strip()
    except OSError:
        return ""


@contextmanager
def several(directory: Path, *, cores: int, workers: int, config: str = "") -> Iterator[Several]:
    """Run servers, that many Cores, and that many workers of plain processes."""
    with (
        embedded.running(directory / "servers", ("postgres", "valkey")) as plans,
        nats_servers(directory) as nats_url,
    ):
        made = Several(directory, plans["postgres"].url, plans["valkey"].url, nats_url, config)
        crew: list[subprocess.Popen[bytes]] = []
        try:
            for _ in range(cores):
                made.add()
            crew += [_worker(directory, nats_url, number) for number in range(workers)]
            client = made.cores[0].client(patience_s=60)
            wait_until(lambda: sum(w["liveness"] == "ready" for w in client.items("/v1/workers")) == workers, 60)
            yield made
        finally:
            for core in made.cores:
                core.close()
            for worker in crew:
                worker.send_signal(signal.SIGTERM)
            for worker in crew:
                worker.wait(30)


def _worker(directory: Path, nats_url: str, number: int) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "engine.swarmsyncd", "worker", "--nats", nats_url, "--token", JOIN_TOKEN]
    command += ["--runtime", "process", "--name", f"w{number}", "--cpus", "4", "--memory", "4GiB"]
    command += ["--data-dir", str(directory / f"worker{number}")]
    environ = {key: value for key, value in os.environ.items() if not key.startswith("SWARMSYNC_")}
    with (directory / "workers.out").open("ab") as out:
        return subprocess.Popen(command, env=environ, stdout=out, stderr=out)


@contextmanager
def nats_servers(directory: Path, count: int = 3) -> Iterator[str]:
    """Run NATS servers that route to one another; yield their URLs in one."""
    program = Path(sys.executable).parent / "nats-server"
    ports, routes = [free_port() for _ in range(count)], [free_port() for _ in range(count)]
    servers = []
    try:
        for number in range(count):
            others = ",".join(f"nats://127.0.0.1:{port}" for port in routes if port != routes[number])
            argv: list[str | Path] = [program, "-a", "127.0.0.1", "-p", str(ports[number]), "--cluster_name", "several"]
            argv += ["--cluster", f"nats://127.0.0.1:{routes[number]}", "--routes", others]
            argv += ["-l", directory / f"nats{number}.log"]
            servers.append(subprocess.Popen(argv))
        for port in ports:
            wait_until(partial(answers, port), 30)
        yield ",".join(f"nats://127.0.0.1:{port}" for port in ports)
    finally:
        for server in servers:
            server.kill()
            server.wait(10)
