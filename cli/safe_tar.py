"""Unpacking a tar that a job made: nothing is written outside its directory, whatever its names and links say."""

import contextlib
import os
import posixpath
import stat
import tarfile
from pathlib import Path, PurePosixPath
from typing import IO, Final

from swarmsync.errors import RequestError

COPY_BYTES: Final = 1 << 20


class UnsafeTar(RequestError):
    """The tar wants to write, or to point, out of its directory. What came before it is there, the rest is not."""


def unpack(tar: IO[bytes], directory: Path) -> tuple[int, int]:
    """Unpack regular files and links within `directory`, which is made. Return (files, bytes). Raises UnsafeTar.

    Files are opened below a directory that was reached without following links, and are never written through one: not
    through one that the tar itself has made, nor through one that was there before.
    """
    root = _made(directory)
    files = size = 0
    try:
        with tarfile.open(fileobj=tar, mode="r:") as archive:
            for entry in archive:
                parts = _parts(entry.name)
                parent = _parent(root, parts)
                try:
                    _put(archive, entry, parts, parent, root)
                finally:
                    os.close(parent)
                files += 1
                size += entry.size if entry.isreg() else 0
    except tarfile.TarError as error:
        raise UnsafeTar(f"the tar cannot be read: {error}") from None
    except OSError as error:
        raise RequestError(f"cannot unpack into {directory}: {error.strerror} ({error.filename})") from None
    finally:
        os.close(root)
    return files, size


def _made(directory: Path) -> int:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except (FileExistsError, NotADirectoryError):
        problem = "there is a file where a directory is needed"
    except OSError as error:
        problem = str(error.strerror)
    raise RequestError(f"cannot unpack into {directory}: {problem}; choose another place with -o DIR")


def _parts(name: str) -> tuple[str, ...]:
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\0" in name:
        raise UnsafeTar(f"the tar has a file {name[:200]!r}, which would lie outside")
    return parts


def _parent(root: int, parts: tuple[str, ...]) -> int:
    """Open the directory that a file goes into, making what is missing; a link on the way is refused."""
    at = os.dup(root)
    for part in parts[:-1]:
        with contextlib.suppress(FileExistsError):
            os.mkdir(part, dir_fd=at)
        try:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
        except OSError:
            raise UnsafeTar(f"{'/'.join(parts)[:200]!r} leads through {part[:200]!r}, which is no directory") from None
        finally:
            os.close(at)
        at = below
    return at


def _put(archive: tarfile.TarFile, entry: tarfile.TarInfo, parts: tuple[str, ...], parent: int, root: int) -> None:
    name = parts[-1]
    if entry.issym():
        _check_link(entry.name, entry.linkname)
        _clear(name, parent)
        os.symlink(entry.linkname, name, dir_fd=parent)
        return
    if entry.islnk():
        first = _parts(entry.linkname)
        source = _parent(root, first)
        try:
            _clear(name, parent)
            os.link(first[-1], name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(source)
        return
    if not entry.isreg():
        raise UnsafeTar(f"the tar has {entry.name[:200]!r}, which is neither a file nor a link")
    _clear(name, parent)
    content = archive.extractfile(entry)
    assert content is not None
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=parent)
    with os.fdopen(descriptor, "wb") as file:
        while data := content.read(COPY_BYTES):
            file.write(data)
        os.fchmod(file.fileno(), (entry.mode & 0o755) | stat.S_IRUSR | stat.S_IWUSR)
        file.flush()
        os.utime(file.fileno(), (entry.mtime, entry.mtime))


def _check_link(name: str, target: str) -> None:
    landing = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
    if target.startswith("/") or landing == ".." or landing.startswith("../") or "\0" in target:
        raise UnsafeTar(f"the tar has a link {name[:200]!r} to {target[:200]!r}, which lies outside")


def _clear(name: str, parent: int) -> None:
    """Make way: an older file of this name is replaced, not written into."""
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return
