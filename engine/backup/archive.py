"""The format of a backup: a tar whose last two members say what the others must be.

    database.dump   PostgreSQL's custom format
    FILE ...        small files of the data directory
    manifest.json   `Manifest`: versions, when, rows per table; bytes and SHA-256 of each member before it
    sum             SHA-256 of every byte of the file before this member

A file that ends early has no sum, and one that was changed has another. Names and sizes are checked before anything is
unpacked; only names that this version knows are ever used, so a hostile archive has nowhere to write.
"""

import re
import tarfile
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Final

import msgspec
from msgspec import Struct

from swarmsync.errors import ChecksumError, ConfigError

FORMAT: Final = 1
DUMP: Final = "database.dump"
MANIFEST: Final = "manifest.json"
SUM: Final = "sum"
MEMBERS_MAX: Final = 64
SMALL_MAX: Final = 4 << 20
_BLOCK: Final = 512
_PIECE: Final = 1 << 20
_NAME: Final = re.compile(r"[a-z][a-z0-9.-]{0,62}")

#: Told how many bytes are done.
Progress = Callable[[int], None]


class Member(Struct, frozen=True):
    name: str
    bytes: int
    sha256: str


class Manifest(Struct, frozen=True):
    """What a backup says of itself. Fields may be added; a reader ignores those that it does not know."""

    format: int
    version: str  # of SwarmSync
    taken_at: str
    server_id: str
    database: str  # version of PostgreSQL
    owner: str  # the role that owned the tables
    schema: tuple[str, ...]  # migrations, in their order
    rows: dict[str, int]
    left_out: tuple[str, ...]  # tables whose rows are not in it
    seal_ids: tuple[str, ...]
    members: tuple[Member, ...] = ()


class Found(Struct, frozen=True):
    """A member as it lies in the file."""

    member: Member
    offset: int


class Scan(Struct, frozen=True):
    """What reading a file from its beginning showed; `digest` is of all bytes before the sum."""

    members: tuple[Found, ...]
    digest: str
    sum: str
    small: dict[str, bytes]


def nothing(_done: int) -> None:
    """For those who tell nobody."""


class Writer:
    """Writes members one after the other into a file that can seek, since a dump's size is known when it has ended."""

    def __init__(self, file: IO[bytes], at_s: int) -> None:
        self._file, self._at_s = file, at_s
        self._members: list[Member] = []

    def add(self, name: str, pieces: Iterable[bytes]) -> Member:
        """Write one member. Raises OSError, for one when the disk is full."""
        begin = self.begin()
        for piece in pieces:
            self.write(piece)
        return self.end(name, begin)

    def begin(self) -> int:
        """Leave room for the header of a member whose bytes come next through `write`."""
        self._sum, self._bytes = sha256(), 0
        at = self._file.tell()
        self._file.write(bytes(_BLOCK))
        return at

    def write(self, piece: bytes) -> None:
        self._sum.update(piece)
        self._bytes += len(piece)
        self._file.write(piece)

    def end(self, name: str, begin: int) -> Member:
        self._file.write(bytes(-self._bytes % _BLOCK))
        behind = self._file.tell()
        self._file.seek(begin)
        self._file.write(_header(name, self._bytes, self._at_s))
        self._file.seek(behind)
        member = Member(name, self._bytes, self._sum.hexdigest())
        self._members.append(member)
        return member

    def finish(self, manifest: Manifest) -> Manifest:
        """Write the manifest and the sum; return the manifest with its members. What is on the disk is read back."""
        manifest = msgspec.structs.replace(manifest, members=tuple(self._members))
        self.add(MANIFEST, [msgspec.json.format(msgspec.json.encode(manifest))])
        self._file.flush()
        end = self._file.tell()
        self._file.seek(0)
        seen, digest = _read(self._file, end, nothing)
        if tuple([found.member for found in seen.members]) != manifest.members:
            raise ChecksumError("the disk gave back other bytes than were written to it; use another one")
        self.add(SUM, [f"{digest}\n".encode()])
        self._file.write(bytes(2 * _BLOCK))
        return manifest


def check(path: Path, tell: Progress = nothing) -> tuple[Manifest, Scan]:
    """Read all of it and compare. Raises ChecksumError with what is wrong, ConfigError where it is too new."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            scan, _ = _read(file, size, tell)
    except OSError as problem:
        raise ConfigError(f"{path} cannot be read: {problem.strerror}") from None
    except ChecksumError as problem:
        raise ChecksumError(f"{path} is no whole backup: {problem}") from None
    if scan.sum != scan.digest:
        raise ChecksumError(f"{path} was changed: its bytes are not those that were written")
    return _manifest(path, scan), scan


def _manifest(path: Path, scan: Scan) -> Manifest:
    try:
        document = msgspec.json.decode(scan.small[MANIFEST])
        if document["format"] > FORMAT:
            raise ConfigError(
                f"{path} has format {document['format']}, this version reads up to {FORMAT}; install a newer SwarmSync"
            )
        manifest = msgspec.convert(document, Manifest)
    except (KeyError, TypeError, msgspec.MsgspecError) as problem:
        raise ChecksumError(f"{path} has a manifest that cannot be read: {problem}") from None
    if manifest.members != tuple([found.member for found in scan.members]):
        raise ChecksumError(f"{path} was changed: its members are not those of its manifest")
    return manifest


def pieces(path: Path, found: Found) -> Iterator[bytes]:
    """Read one member of a file that was checked."""
    with path.open("rb") as file:
        file.seek(found.offset)
        left = found.member.bytes
        while left:
            piece = file.read(min(_PIECE, left))
            if not piece:
                raise ChecksumError(f"{path} became shorter while it was read")
            left -= len(piece)
            yield piece


class _Counted:
    """Reads a file of a known size, hashing what it reads."""

    def __init__(self, file: IO[bytes], size: int, tell: Progress) -> None:
        self._file, self.size, self._tell = file, size, tell
        self.at = 0
        self.sum = sha256()

    def read(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) < count:
            raise ChecksumError(f"it ends after {self.at + len(data)} bytes, in the middle: it was cut")
        self.at += count
        self.sum.update(data)
        self._tell(self.at)
        return data


def _read(file: IO[bytes], size: int, tell: Progress) -> tuple[Scan, str]:
    """Read members up to the sum, or up to `size` where there is none yet. Raises ChecksumError."""
    source = _Counted(file, size, tell)
    members: list[Found] = []
    small: dict[str, bytes] = {}
    while len(members) + len(small) < 2 * MEMBERS_MAX:
        if source.at == size and MANIFEST in small:
            return Scan(tuple(members), "", "", small), source.sum.hexdigest()
        digest = source.sum.hexdigest()
        entry = _entry(source.read(_BLOCK))
        if entry.name == SUM:
            said = source.read(entry.size).decode("ascii", "replace").strip() if entry.size <= _BLOCK else ""
            behind = -entry.size % _BLOCK + 2 * _BLOCK
            if size - source.at != behind or len(said) != sha256().digest_size * 2 or any(source.read(behind)):
                raise ChecksumError("its end is not that of a backup")
            return Scan(tuple(members), digest, said, small), digest
        if MANIFEST in small or entry.name in small or not _NAME.fullmatch(entry.name):
            raise ChecksumError(f"it has a member {entry.name[:80]!r} that does not belong there")
        found = Found(Member(entry.name, entry.size, ""), source.at)
        hashed, kept = _content(source, entry.size)
        if entry.name != MANIFEST:
            members.append(msgspec.structs.replace(found, member=Member(entry.name, entry.size, hashed)))
        if kept is not None:
            small[entry.name] = kept
    raise ChecksumError(f"it has more than {MEMBERS_MAX} members")


def _content(source: _Counted, size: int) -> tuple[str, bytes | None]:
    """Read a member's bytes and padding; return its SHA-256, and the bytes where they are few."""
    if size > source.size - source.at:
        raise ChecksumError(f"it ends after {source.size} bytes, in the middle: it was cut")
    kept: BytesIO | None = BytesIO() if size <= SMALL_MAX else None
    own, left = sha256(), size
    while left:
        piece = source.read(min(_PIECE, left))
        left -= len(piece)
        own.update(piece)
        if kept is not None:
            kept.write(piece)
    source.read(-size % _BLOCK)
    return own.hexdigest(), kept.getvalue() if kept is not None else None


def _header(name: str, size: int, at_s: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime, entry.mode = size, at_s, 0o600
    return entry.tobuf(tarfile.GNU_FORMAT)


def _entry(block: bytes) -> Any:
    try:
        entry = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.HeaderError, UnicodeDecodeError):
        raise ChecksumError("the header of a member cannot be read: it was changed, or is no backup") from None
    if not entry.isreg() or entry.size < 0:
        raise ChecksumError(f"it has a member {entry.name[:80]!r} that is no file")
    return entry
