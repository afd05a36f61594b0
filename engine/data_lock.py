"""The lock of a data directory: one process at a time uses it, and everybody can tell whether one does."""

import fcntl
import os
import signal
from pathlib import Path
from typing import IO, Final

from swarmsync.errors import ConfigError, Conflict

LOCK: Final = "lock"
#: A restore that has not ended leaves this directory; nothing starts beside it.
RESTORING: Final = ".restoring"


def in_use(data_path: Path) -> bool:
    """Tell whether a Core (or whoever else took the lock) uses the data directory now. Raises ConfigError."""
    try:
        with (data_path / LOCK).open("a+") as file:
            return _held(file)
    except FileNotFoundError:
        return False
    except OSError as problem:
        raise _unusable(data_path, problem) from None


def _held(file: IO[str]) -> bool:
    """Tell whether somebody has the lock. Who asks shares it: two who ask at once do not take each other for a Core."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def stop_holder(data_path: Path) -> bool:
    """Ask who has the data directory to end, and wait until it has; False when nobody has it.

    Raises Conflict when the lock names no process that runs, ConfigError for a directory or process that is not ours.
    """
    try:
        file = (data_path / LOCK).open()
    except FileNotFoundError:
        return False
    except OSError as problem:
        raise _unusable(data_path, problem) from None
    with file:
        if not _held(file):
            return False
        _terminate(file.read().strip(), data_path)
        fcntl.flock(file, fcntl.LOCK_SH)
    return True


def _terminate(written: str, data_path: Path) -> None:
    """Send SIGTERM to the process that a lock names. None and 0 are never sent to: 0 is our own group of processes."""
    try:
        if written.isdecimal() and int(written) > 0:
            os.kill(int(written), signal.SIGTERM)
            return
    except PermissionError:
        raise ConfigError(f"process {written} uses {data_path}; it is another user's, who can stop it") from None
    except (ProcessLookupError, OverflowError, ValueError):
        pass
    raise Conflict(
        f"{data_path} is in use, but its lock names no process that runs ({written[:20] or 'it is empty'}); a Core"
        f" starts or ends there now: try again, or see who has it with: fuser {data_path / LOCK}"
    )


def _unusable(data_path: Path, problem: OSError) -> ConfigError:
    is_file = isinstance(problem, FileExistsError | NotADirectoryError)
    reason = "it is a file, or lies below one" if is_file else problem.strerror
    return ConfigError(f"cannot use the data directory {data_path}: {reason}; choose another --data-dir")


def take(data_path: Path) -> IO[str]:
    """Take the data directory for this process. Raises ConfigError when another Core has it, or it is half restored."""
    try:
        data_path.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (data_path / LOCK).open("a+")
    except OSError as problem:
        raise _unusable(data_path, problem) from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        pid = file.read().strip() or "unknown"
        file.close()
        raise ConfigError(
            f"another swarmsyncd (process {pid}) uses {data_path};"
            " stop it (swarmsyncd stop) or choose another --data-dir"
        ) from None
    if (data_path / RESTORING).exists():
        file.close()
        raise ConfigError(f"a restore into {data_path} did not end; remove the directory and restore again")
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    os.set_inheritable(file.fileno(), False)
    return file
