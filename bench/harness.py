"""What scenarios with a real Core need: a Core of their own, and a client of it."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct, field

from swarmsync.client import Client


class Core(Struct):
    """A running Core and how to reach it."""

    url: str
    token: str
    data_dir: Path
    process: "subprocess.Popen[bytes]"

    clients: list[Client] = field(default_factory=list)

    def client(self) -> Client:
        """Return a client of its own; all are closed with the Core."""
        self.clients.append(Client(self.url, self.token))
        return self.clients[-1]


@contextmanager
def core(worker: str, *, config: str = "") -> Iterator[Core]:
    """Run `swarmsyncd` in a temporary directory with a runtime of this name; `config` is added to its TOML."""
    with tempfile.TemporaryDirectory(prefix="swarmsync-bench-") as name:
        directory = Path(name)
        port = free_port()
        settings = directory / "bench.toml"
        settings.write_text(f'[worker]\nruntime = "{worker}"\nname = "bench"\n{config}')
        environ = {key: value for key, value in os.environ.items() if not key.startswith("SWARMSYNC_")}
        environ["XDG_CONFIG_HOME"] = str(directory / "config")
        command = [
            sys.executable,
            "-m",
            "engine.swarmsyncd",
            "--data-dir",
            str(directory / "data"),
            "--port",
            str(port),
        ]
        with (directory / "out").open("wb") as out:
            process = subprocess.Popen([*command, "--config", str(settings)], env=environ, stdout=out, stderr=out)
        try:
            wait_until(lambda: "is up" in (directory / "out").read_text() or process.poll() is not None, 60)
            if process.poll() is not None:
                raise RuntimeError((directory / "out").read_text())
            profile = json.loads((directory / "config" / "swarmsync" / "profiles.json").read_text())["profiles"][
                "local"
            ]
            there = Core(profile["url"], profile["token"], directory / "data", process)
            there.client().get("/v1/stats")  # asks again until the API listens
            try:
                yield there
            finally:
                for client in there.clients:
                    client.close()
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def wait_until(true: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not so within {timeout_s:g} s")
        time.sleep(0.01)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
