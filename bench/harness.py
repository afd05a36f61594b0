"""What all scenarios need: a Core of their own, a client of it, statistics, and results with what they depend on."""

import importlib.metadata
import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from swarmsync.client import Client

PROJECT = Path(__file__).parent.parent


class Core(Struct):
    """A running Core and how to reach it."""

    url: str
    token: str
    data_dir: Path
    process: "subprocess.Popen[bytes]"

    def client(self) -> Client:
        return Client(self.url, self.token)


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
            yield Core(profile["url"], profile["token"], directory / "data", process)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def wait_until(true: Any, timeout_s: float) -> None:
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


def spread(values: Sequence[float], digits: int = 2) -> dict[str, float]:
    """Return p50, p90, p99, the extremes and the count."""
    ordered = sorted(values)

    def at(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], digits)

    return {
        "p50": round(statistics.median(ordered), digits),
        "p90": at(0.9),
        "p99": at(0.99),
        "min": round(ordered[0], digits),
        "max": round(ordered[-1], digits),
        "n": len(ordered),
    }


def circumstances() -> dict[str, Any]:
    """What a figure depends on."""
    commit = subprocess.run(
        ["git", "-C", str(PROJECT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    began = time.perf_counter()
    turns = 0
    while time.perf_counter() - began < 0.2:
        turns += 1
    return {
        "version": importlib.metadata.version("swarmsync"),
        "commit": commit or "unknown",
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "loop_turns_per_s": round(turns / 0.2),
    }
