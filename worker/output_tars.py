"""From an archive of a container's directory to the tar that is kept: only what matches, and nothing but its content.

Runs in a thread, on streams: neither archive is ever whole in memory. Files keep their bytes, times and permission bits
(without set-user-id and the like); symbolic links stay links; owners, devices, sockets and pipes are left out. The same
files give the same bytes, so that a second agent can go on where a first one was killed.
"""

import posixpath
import tarfile
from collections.abc import Callable
from typing import IO, Final, Protocol

from msgspec import Struct

from swarmsync.model.files import matcher, root_of

FILES_MAX: Final = 100_000
#: What an archive may hold beside the files that match, before reading it is given up.
UNWANTED_MAX: Final = 64 << 30
COPY_BYTES: Final = 1 << 20


class Source(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class TooLarge(Exception):
    """What matches is more than the limit allows. The message is a sentence."""


class Kept(Struct):
    """What was kept so far; `elsewhere` are hard links to files that do not match: read those by themselves."""

    files: int = 0
    bytes: int = 0
    elsewhere: list[str] = []


class TarKeeper:
    """Writes one output's tar; `add` takes the archives that it is made from, `close` ends it."""

    def __init__(self, path: str, bytes_max: int, into: IO[bytes]) -> None:
        self._path = path
        self._root = root_of(path)
        self._matches = matcher(path)
        self._bytes_max = bytes_max
        self._tar = tarfile.open(fileobj=into, mode="w|", format=tarfile.PAX_FORMAT)  # noqa: SIM115 closed by `close`
        self._names: set[str] = set()
        self.kept = Kept()

    def add(self, source: Source, parent: str, checked: Callable[[], None] = lambda: None) -> None:
        """Keep what matches of an archive whose names stand below `parent`. Raises TooLarge, tarfile.TarError.

        `checked` is called per entry, to raise where nobody wants the rest.
        """
        seen = 0
        with tarfile.open(fileobj=source, mode="r|*") as archive:  # type: ignore[call-overload]
            for entry in archive:
                checked()
                seen += entry.size
                if seen > UNWANTED_MAX:
                    raise TooLarge(f"the directory {self._root} holds too much to look through")
                path = posixpath.normpath(posixpath.join(parent, entry.name))
                if self._matches(path):
                    self._keep(archive, entry, path)

    def close(self) -> Kept:
        self._tar.close()
        return self.kept

    def _keep(self, archive: tarfile.TarFile, entry: tarfile.TarInfo, path: str) -> None:
        name = posixpath.relpath(path, self._root)
        if entry.islnk():
            target = posixpath.relpath(posixpath.join(posixpath.dirname(self._root), entry.linkname), self._root)
            if target not in self._names:
                self.kept.elsewhere.append(path)
                return
            self._write(_clean(entry, name, target), None)
        elif entry.issym():
            self._write(_clean(entry, name, entry.linkname), None)
        elif entry.isfile():
            self.kept.bytes += entry.size
            if self.kept.bytes > self._bytes_max:
                raise TooLarge(f"the files that match {self._path} are more than its max of {self._bytes_max} bytes")
            self._write(_clean(entry, name, ""), archive.extractfile(entry))

    def _write(self, entry: tarfile.TarInfo, content: IO[bytes] | None) -> None:
        self.kept.files += 1
        if self.kept.files > FILES_MAX:
            raise TooLarge(f"more than {FILES_MAX} files match {self._path}")
        self._names.add(entry.name)
        self._tar.addfile(entry, content)


def _clean(entry: tarfile.TarInfo, name: str, link: str) -> tarfile.TarInfo:
    clean = tarfile.TarInfo(name)
    clean.type = entry.type if entry.islnk() or entry.issym() else tarfile.REGTYPE
    clean.size = entry.size if clean.isreg() else 0
    clean.mode = entry.mode & 0o777
    clean.mtime = int(entry.mtime)
    clean.linkname = link
    return clean
