"""What scenarios with a real Core need: a Core of their own, and a client of it."""

import asyncio
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from msgspec import Struct, field

from swarmsync.client import Client
from swarmsync.errors import Unavailable
from worker.demo_image import NoDemoImage, ensure_demo_image
from worker.docker_engine import EngineAway

PORTS: Final = range(20_000, 32_768)  # the kernel's own begin where these end
_turn: Final = itertools.count()


class Core(Struct):
    """A running Core and how to reach it."""

    url: str
    token: str
    data_dir: Path
    process: "subprocess.Popen[bytes]"
    launch: "Callable[[], subprocess.Popen[bytes]]"

    clients: list[Client] = field(default_factory=list)

    def client(self, *, patience_s: float = 10.0, timeout_s: float = 30.0) -> Client:
        """Return a client of its own; all are closed with the Core."""
        self.clients.append(Client(self.url, self.token, patience_s=patience_s, timeout_s=timeout_s))
        return self.clients[-1]

    def start(self) -> None:
        """Start it again on the same data, after whoever called this has ended it."""
        self.process = self.launch()

    def close(self) -> None:
        """Close its clients and stop it, if it runs."""
        for client in self.clients:
            client.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def launcher(directory: Path, config: str, port: int, more: dict[str, str]) -> "Callable[[], subprocess.Popen[bytes]]":
    """Return what starts `swarmsyncd` with this TOML below a directory, and waits until it is up."""
    settings = directory / "bench.toml"
    settings.write_text(config)
    environ = {key: value for key, value in os.environ.items() if not key.startswith("SWARMSYNC_")} | more
    command = [sys.executable, "-m", "engine.swarmsyncd", "--data-dir", str(directory / "data")]
    command += ["--port", str(port), "--config", str(settings)]

    def launch() -> "subprocess.Popen[bytes]":
        already = _said(directory).count("is up")
        with (directory / "out").open("ab") as out:
            started = subprocess.Popen(command, env=environ, stdout=out, stderr=out)
        try:
            wait_until(lambda: _said(directory).count("is up") > already or started.poll() is not None, 60)
        except TimeoutError:
            started.kill()
            started.wait(30)
        if started.poll() is not None:
            raise RuntimeError(_said(directory))
        return started

    return launch


@contextmanager
def core(worker: str, *, config: str = "") -> Iterator[Core]:
    """Run `swarmsyncd` in a temporary directory with a runtime of this name; `config` is added to its TOML.

    Raises Unavailable where the runtime is Docker, and none answers or it cannot have the demo image.
    """
    if worker == "docker":
        asyncio.run(_demo_image())
    with tempfile.TemporaryDirectory(prefix="swarmsync-bench-") as name:
        directory = Path(name)
        port = free_port()
        settings = f'[worker]\nruntime = "{worker}"\nname = "bench"\n{config}'
        launch = launcher(directory, settings, port, {"XDG_CONFIG_HOME": str(directory / "config")})
        there = None
        process = launch()
        try:
            document = json.loads((directory / "config" / "swarmsync" / "profiles.json").read_text())
            profile = document["profiles"]["local"]
            there = Core(profile["url"], profile["token"], directory / "data", process, launch)
            there.client().session()  # asks again until the API listens; counts are left to who measures them
            yield there
        finally:
            if there is not None:
                there.close()
            else:
                process.send_signal(signal.SIGTERM)
                process.wait(30)


async def _demo_image() -> None:
    """Make the image that scenarios run: an engine on which no tests ran yet has none."""
    try:
        await ensure_demo_image()
    except EngineAway as away:
        raise Unavailable(f"this needs a Docker engine, and none answers: {away}") from None
    except NoDemoImage as problem:
        raise Unavailable(str(problem)) from None


def _said(directory: Path) -> str:
    path = directory / "out"
    return path.read_text() if path.exists() else ""


def wait_until(true: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not so within {timeout_s:g} s")
        time.sleep(0.01)


def answers(port: int) -> bool:
    """Whether somebody listens at a port of this machine's."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1):
            return True
    except OSError:
        return False


def free_port() -> int:
    """Return a port that nobody has, from below those that the kernel gives to whoever asks for any.

    One that the kernel gave would be somebody else's as often as it is free again before its server listens.
    """
    for _ in PORTS:
        port = PORTS.start + (os.getpid() * 257 + next(_turn)) % len(PORTS)  # no two processes are at the same place
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("", port))
            return port
    raise OSError(f"no port from {PORTS.start} to {PORTS.stop - 1} can be had")
