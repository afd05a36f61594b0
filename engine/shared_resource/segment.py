"""Named shared memory under /dev/shm that lives until somebody unlinks it.

A segment is the file `swarmsync-<instance>-<name>`, mode 0600. The supervisor creates and unlinks; children attach by
name or inherit the mapping over fork. `multiprocessing.shared_memory` is not used: its resource tracker unlinks
segments when a process that attached ends, also one that was killed and is about to be replaced.
"""

import mmap
import os
import re
import stat
from pathlib import Path
from typing import Final, Self

from swarmsync.errors import ConfigError

DIRECTORY: Final = Path("/dev/shm")  # noqa: S108 this is the kernel's shared memory, not a place for temporary files
PREFIX: Final = "swarmsync"
ORDERED_MACHINES: Final = frozenset({"x86_64", "AMD64"})

_INSTANCE: Final = re.compile(r"[a-z0-9_]{1,32}")  # no dash: the prefix of one instance is never that of another
_NAME: Final = re.compile(r"[a-z0-9_][a-z0-9_.-]{0,63}")


class Segment:
    """Shared memory of this machine, mapped into this process.

    `memory` serves byte slices (a slice is a copy), `words` serves aligned 8-byte loads and stores. Both are the same
    bytes, and both survive fork.
    """

    def __init__(self, instance: str, name: str, memory: mmap.mmap) -> None:
        self.instance = instance
        self.name = name
        self.memory = memory
        self.words = memoryview(memory).cast("Q")

    @classmethod
    def create(cls, instance: str, name: str, size_bytes: int) -> Self:
        """Make a zeroed segment of `size_bytes`, rounded up to whole pages, all of them reserved now.

        Reserving turns a full /dev/shm into an OSError here; without it, it would be a SIGBUS at some later store.
        Raises FileExistsError when the name is taken (see `unlink_leftovers`).
        """
        if size_bytes <= 0:
            raise ValueError(f"a segment of {size_bytes} bytes cannot hold anything")
        size_bytes = -(-size_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
        path = path_of(instance, name)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(fd, 0o600)
            os.ftruncate(fd, size_bytes)
            os.posix_fallocate(fd, 0, size_bytes)
            memory = mmap.mmap(fd, size_bytes)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(fd)
        return cls(instance, name, memory)

    @classmethod
    def attach(cls, instance: str, name: str) -> Self:
        """Map a segment that exists. Raises FileNotFoundError, or PermissionError when it is not ours alone.

        /dev/shm is open to all users of the machine: a file that another user put under our name, or that others may
        write, is refused.
        """
        path = path_of(instance, name)
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            status = os.fstat(fd)
            if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) != 0o600:
                raise PermissionError(f"{path} is not private to this user: it was not made by this instance")
            if status.st_size == 0 or status.st_size % mmap.PAGESIZE:
                raise ValueError(f"{path} has {status.st_size} bytes: it was never finished; unlink it and start again")
            memory = mmap.mmap(fd, status.st_size)
        finally:
            os.close(fd)
        return cls(instance, name, memory)

    @property
    def size_bytes(self) -> int:
        return len(self.memory)

    @property
    def path(self) -> Path:
        return path_of(self.instance, self.name)

    def let_go(self) -> None:
        """Give up this process's hold on the pages, not the bytes: a page is found again when it is next touched.

        A page that was touched once counts as this process's memory for ever, so whoever walks through a ring seems to
        grow by all of it (madvise(2), MADV_DONTNEED on a shared mapping).
        """
        self.memory.madvise(mmap.MADV_DONTNEED)

    def close(self) -> None:
        """Unmap. Rings and pages on this segment must not be used afterwards. May be called twice."""
        self.words.release()
        self.memory.close()

    def unlink(self) -> None:
        """Remove the name; mappings live on until they are closed. May be called twice, and by any process."""
        self.path.unlink(missing_ok=True)


def path_of(instance: str, name: str) -> Path:
    """Where a segment lies. Raises ValueError for a name that could reach outside, or be taken for another's."""
    if not _INSTANCE.fullmatch(instance):
        raise ValueError(f"{instance!r} is not an instance name: 1 to 32 of a-z, 0-9 and _")
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a segment name: 1 to 64 of a-z, 0-9, _, . and -")
    return DIRECTORY / f"{PREFIX}-{instance}-{name}"


def leftovers(instance: str) -> list[str]:
    """Return the names of this instance's segments that exist now, sorted; in use or not."""
    prefix = path_of(instance, "x").name[:-1]
    return sorted(entry.name.removeprefix(prefix) for entry in DIRECTORY.iterdir() if entry.name.startswith(prefix))


def unlink_leftovers(instance: str) -> list[str]:
    """Unlink every segment of this instance and return their names.

    For the supervisor, when it holds the instance's lock: at start (a predecessor was killed) and at the end.
    """
    names = leftovers(instance)
    for name in names:
        path_of(instance, name).unlink(missing_ok=True)
    return names


def refuse_weak_ordering(machine: str, pointer_bytes: int) -> None:
    """Raise ConfigError where plain stores may become visible out of order, or 8 bytes are two stores."""
    if machine not in ORDERED_MACHINES or pointer_bytes != 8:
        raise ConfigError(
            f"rings in shared memory need 64-bit x86 (this is {machine}, {8 * pointer_bytes} bits): elsewhere a reader"
            " could see a position before the bytes it stands for"
        )
