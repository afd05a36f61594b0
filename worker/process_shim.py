"""Runs one command and outlives the agent: `python -I -S process_shim.py DIRECTORY`. Only the standard library.

The directory holds `order` (JSON: argv, environment, working_dir, user, group). The shim leaves the agent's session,
writes `running` once the command runs, lets it write straight into `stdout` and `stderr`, and writes `exit` when it has
ended; both JSON, both by rename, so that a reader finds all or nothing, and both into room that was taken before the
command began: a disk that fills up meanwhile swallows no exit code. What the command leaves behind dies with it.
Before it lets go it answers on its own stdout: `{}`, or `{"exit_code", "error"}` when the command could not be started;
without an exit code it was no fault of the command's.
"""

import contextlib
import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import time

#: More than `running` or `exit` ever needs.
ROOM_BYTES = 1024


def main(directory: str) -> None:
    os.chdir(directory)
    lock = os.open("lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.stdout.write("{}")  # another shim has this command
        return
    if os.path.exists("running") or os.path.exists("exit"):  # noqa: PTH110 pathlib takes 10 ms to import
        sys.stdout.write("{}")
        return
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        with os.fdopen(reader) as answer:
            sys.stdout.write(answer.read())
        return
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    attend(writer)
    os._exit(0)


def attend(writer: int) -> None:
    """Start the command, answer through `writer`, and stay until it has ended."""
    with open("order", encoding="utf-8") as file:  # noqa: PTH123
        order = json.load(file)
    handle(signal.SIG_DFL)  # the command inherits this, whatever the agent had
    started_at = time.time()
    try:
        reserve("running")
        reserve("exit")
        child = launch(order)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        code = None if full else 127 if isinstance(error, FileNotFoundError) else 126
        os.write(writer, json.dumps({"exit_code": code, "error": str(error)}).encode())
        return
    running = {"pid": child.pid, "ticks": ticks(child.pid), "shim_pid": os.getpid(), "shim_ticks": ticks(os.getpid())}
    handle(signal.SIG_IGN)  # the agent signals the command; the shim stays to see its end
    publish("running", running | {"started_at": started_at})
    os.write(writer, b"{}")
    os.close(writer)
    _pid, status, used = os.wait4(child.pid, 0)
    finished_at = time.time()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(status)
    end = {"exit_code": code if code >= 0 else 128 - code, "started_at": started_at, "finished_at": finished_at}
    publish("exit", end | {"memory_peak_bytes": used.ru_maxrss * 1024, "cpu_s": used.ru_utime + used.ru_stime})


def handle(disposition: signal.Handlers) -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, disposition)


def launch(order: dict) -> subprocess.Popen:  # type: ignore[type-arg]
    appending = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    stdout, stderr = (os.open(name, appending, 0o600) for name in ("stdout", "stderr"))
    try:
        return subprocess.Popen(  # noqa: S603 running the user's command is what this program is for
            order["argv"],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env=order["environment"],
            cwd=order["working_dir"],
            user=order["user"],
            group=order["group"],
            extra_groups=[] if order["user"] is not None else None,
            start_new_session=True,
            restore_signals=True,
        )
    finally:
        os.close(stdout)
        os.close(stderr)


def ticks(pid: int) -> int:
    """When the process started, in clock ticks since the boot: tells it from a later one of the same number."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
        return int(file.read().rpartition(")")[2].split()[19])


def reserve(name: str) -> None:
    """Take the room that `publish` will need. Raises OSError when there is none."""
    descriptor = os.open(f"{name}.new", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, ROOM_BYTES)
    finally:
        os.close(descriptor)


def publish(name: str, document: dict) -> None:  # type: ignore[type-arg]
    """Write all or nothing. The directory may be gone: then nobody wants to know."""
    with contextlib.suppress(FileNotFoundError):
        with open(f"{name}.new", "r+b", buffering=0) as file:  # noqa: PTH123
            file.truncate(file.write(json.dumps(document).encode()))
            os.fsync(file.fileno())
        os.rename(f"{name}.new", name)  # noqa: PTH104


if __name__ == "__main__":
    main(sys.argv[1])
