"""The supervisor's grip on each child: start it, see that it ended, end it.

A child is a forked module (a function that never returns) or a program (an argument list). Both get a session of their
own, so that a Ctrl-C in the terminal reaches only the supervisor, and both are told by Linux when the supervisor dies.
"""

import contextlib
import faulthandler
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path

from msgspec import Struct

from engine.supervision import Condition
from swarmsync import collector
from swarmsync.embedded import ServerPlan, die_with_parent, start
from swarmsync.errors import ConfigError

EXIT_CONFIG = 3


class Phase(StrEnum):
    """Start in this order, stop in the reverse."""

    SERVER = "server"
    LEAD = "lead"
    MODULE = "module"
    API = "api"
    WORKER = "worker"


class ChildSpec(Struct, frozen=True):
    """What shall run. `launch` starts it and returns the process id."""

    name: str
    phase: Phase
    launch: Callable[[], int]
    stop_signal: int = signal.SIGTERM
    stop_grace_ms: int = 5_000
    purpose: str = ""


class Handle:
    """One child as it is: its process, how often it was started, when it may be started next."""

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.pid = 0
        self.starts = 0
        self.started_ms = 0
        self.next_start_ms: int | None = None
        self.restarts_ms: tuple[int, ...] = ()
        self.failing = False
        self.last_exit: int | None = None

    @property
    def condition(self) -> Condition:
        if self.pid:
            return Condition.RUNNING
        if self.next_start_ms is None:
            return Condition.STOPPED
        return Condition.FAILING if self.failing else Condition.WAITING

    def start(self, now_ms: int) -> None:
        self.pid = self.spec.launch()
        self.starts += 1
        self.started_ms = now_ms
        self.next_start_ms = None

    def reap(self) -> int | None:
        """Return the exit code when the child has ended since the last look (negative: the signal), else None."""
        if not self.pid:
            return None
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            pid, status = self.pid, 0
        if pid == 0:
            return None
        self.pid = 0
        self.last_exit = os.waitstatus_to_exitcode(status)
        return self.last_exit

    def signal(self, number: int) -> None:
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def launch_module(name: str, log: Path, main: Callable[[], None]) -> Callable[[], int]:
    """Return a launcher that forks and runs `main` in the child. The parent must have neither loop nor threads."""

    def launch() -> int:
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        collector.share()
        pid = os.fork()
        if pid:
            return pid
        code = 1
        try:
            _become_child(name, parent, log)
            main()
            code = 0
        except ConfigError as problem:
            sys.stderr.write(f"{name}: {problem}\n")
            code = EXIT_CONFIG
        except BaseException:  # noqa: BLE001 the last line of a process: whatever it was, say it and end
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)

    return launch


def _become_child(name: str, parent: int, log: Path) -> None:
    die_with_parent(signal.SIGKILL)
    Path("/proc/self/comm").write_text(f"swarm-{name}"[:15])  # what ps and top show
    if os.getppid() != parent:
        os._exit(1)
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    faulthandler.enable(all_threads=True)  # SIGABRT from the supervisor leaves a traceback


def launch_program(argv: list[str], log: Path, environ: Mapping[str, str]) -> Callable[[], int]:
    """Return a launcher for a program of ours that is executed, not forked."""

    def launch() -> int:
        with log.open("ab") as file:
            process = subprocess.Popen(  # noqa: S603 our own argument lists
                argv,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=dict(environ),
                start_new_session=True,
                preexec_fn=lambda: die_with_parent(signal.SIGKILL),  # noqa: PLW1509 the supervisor has no threads
            )
        return _adopt(process)

    return launch


def launch_server(plan: ServerPlan) -> Callable[[], int]:
    return lambda: _adopt(start(plan))


def _adopt(process: "subprocess.Popen[bytes]") -> int:
    """Take the process id; the handle reaps it, so Popen must not wait for it (or warn that nobody did)."""
    process.returncode = 0
    return process.pid
