"""The file in which an agent notes when its containers must be gone, and the locks by which two processes see another.

All of it lies in one directory per worker. The file is replaced as a whole, so a reader never sees half of it; it is
not synced, for a machine that lost power runs no containers. Locks are the kernel's and end with their process.
"""

import contextlib
import fcntl
import os
import time
from pathlib import Path
from typing import Final

import msgspec

from worker.leases import Leases

LEASES: Final = "leases.json"
AGENT_LOCK: Final = "agent.lock"
WATCHDOG_LOCK: Final = "watchdog.lock"
LOCK_TRIES: Final = 10
_PUT_DOWN: Final = "put-down"
#: What a mark says that the watchdog made.
WATCHDOG: Final = ""


def boot_ms() -> int:
    """Milliseconds since the machine started; the time it slept counts, as it does for Core on another machine."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def try_lock(path: Path) -> int | None:
    """Take the lock for as long as this process lives (or closes the descriptor); None when another one has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def take_lock(path: Path) -> int | None:
    """As `try_lock`, but not put off by one who only looks (`is_locked`)."""
    for _ in range(LOCK_TRIES):
        descriptor = try_lock(path)
        if descriptor is not None:
            return descriptor
        time.sleep(0.01)
    return None


def is_locked(path: Path) -> bool:
    descriptor = try_lock(path)
    if descriptor is None:
        return True
    os.close(descriptor)
    return False


class LeaseFile:
    """One worker's notes. The agent writes; the watchdog reads. Both mark what they put down."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.boot = boot_id()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (directory / _PUT_DOWN).mkdir(mode=0o700, exist_ok=True)

    def write(self, leases: Leases) -> None:
        """Raises OSError, for one when the disk is full."""
        path = f"{self.directory}/{LEASES}"
        with open(f"{path}.new", "wb") as file:  # not pathlib: it takes longer than the kernel, and this is each order
            file.write(msgspec.json.encode(leases))
        os.replace(f"{path}.new", path)

    def read(self) -> Leases | None:
        try:
            return msgspec.json.decode((self.directory / LEASES).read_bytes(), type=Leases)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def changed_ns(self) -> int:
        try:
            return (self.directory / LEASES).stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    # ------------------------------------------------ what was stopped, and why

    def mark(self, key: str, why: str = WATCHDOG) -> None:
        """Say why this container is ended, before it is: an agent may die in between. The first cause counts."""
        with contextlib.suppress(FileExistsError), open(self._mark_of(key), "x") as file:
            file.write(why)

    def marked(self, key: str) -> tuple[str, int] | None:
        """Return why it was ended, and when that was said (Unix milliseconds)."""
        try:
            with open(self._mark_of(key)) as file:
                return file.read(), os.fstat(file.fileno()).st_mtime_ns // 1_000_000
        except FileNotFoundError:
            return None

    def forget(self, key: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._mark_of(key))

    def _mark_of(self, key: str) -> str:
        """A plain string: pathlib has Python intern the key of every assignment."""
        return f"{self.directory}/{_PUT_DOWN}/{key}"

    def forget_all_but(self, keys: set[str]) -> None:
        for path in (self.directory / _PUT_DOWN).iterdir():
            if path.name not in keys:
                path.unlink(missing_ok=True)
