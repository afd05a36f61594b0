"""Secret values as files that live in memory only, one directory per container.

Docker cannot fill a tmpfs before its container starts, so the files lie in a tmpfs of the worker's machine and the
container gets their directory as a read-only bind mount. `docker inspect` then shows a path, never a value.
"""

import contextlib
import os
import shutil
from collections.abc import Collection, Iterable
from pathlib import Path

from worker.container_runtime import SecretFile


class SecretFiles:
    """Directories below `root`, which only root may enter; inside a container its user may read them."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def in_memory(self) -> bool:
        """Whether `root` lies on a tmpfs (or ramfs), so that values never reach a disk."""
        at = self._root if self._root.exists() else self._root.parent
        path, best, kind = at.resolve(), "", ""
        for line in Path("/proc/self/mounts").read_text().splitlines():
            _, point, file_system, *_ = line.split()
            if path.is_relative_to(point) and len(point) >= len(best):
                best, kind = point, file_system
        return kind in ("tmpfs", "ramfs")

    def write(self, name: str, secrets: Iterable[SecretFile], user: str | None = None) -> str | None:
        """Write those that are wanted as files; return their directory, or None when there are none. Raises OSError.

        Where the container's `user` is a number and we are root, the files are that user's alone. Otherwise only the
        image knows who will read them: then everybody in the container may.
        """
        files = [secret for secret in secrets if secret.env is None]
        if not files:
            return None
        number = (user or "").partition(":")[0]
        owner = int(number) if number.isdecimal() and os.geteuid() == 0 else None
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._root.stat().st_uid != os.geteuid():
            raise PermissionError(f"{self._root} belongs to another user")
        directory = self._root / name
        directory.mkdir(exist_ok=True)
        directory.chmod(0o755)
        for secret in files:
            path = directory / secret.name
            path.unlink(missing_ok=True)
            path.write_bytes(secret.value)
            if owner is None:
                path.chmod(0o444)
            else:
                path.chmod(0o400)
                os.chown(path, owner, -1)
        return str(directory)

    def forget(self, name: str) -> None:
        shutil.rmtree(self._root / name, ignore_errors=True)
        with contextlib.suppress(OSError):
            self._root.rmdir()  # works for an empty one only

    def forget_all_but(self, names: Collection[str]) -> None:
        """Clean up after a crash between the removal of a container and that of its secrets."""
        if self._root.exists():
            for directory in list(self._root.iterdir()):
                if directory.name not in names:
                    self.forget(directory.name)
