"""The lock of a data directory: one process at a time uses it, and everybody can tell whether one does."""

import fcntl
import os
from pathlib import Path
from typing import IO, Final

from swarmsync.errors import ConfigError

LOCK: Final = "lock"
#: A restore that has not ended leaves this directory; nothing starts beside it.
RESTORING: Final = ".restoring"


def in_use(data_path: Path) -> bool:
    """Tell whether a Core (or whoever else took the lock) uses the data directory now."""
    try:
        with (data_path / LOCK).open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def take(data_path: Path) -> IO[str]:
    """Take the data directory for this process. Raises ConfigError when another Core has it, or it is half restored."""
    try:
        data_path.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (data_path / LOCK).open("a+")
    except OSError as problem:
        raise ConfigError(f"cannot use the data directory {data_path}: {problem.strerror}") from None
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
