"""Takes a backup: one snapshot of PostgreSQL, and the few files of the data directory that PostgreSQL does not have.

Core may run meanwhile. The rows are counted in the same snapshot that `pg_dump` reads, so what a restore brings back
can be compared with what was there. The file appears under its name once it is whole, read back and on the disk.
"""

import asyncio
import contextlib
import errno
import importlib.metadata
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

import asyncpg
import msgspec
from msgspec import Struct

from conf.settings import Settings
from engine import data_lock
from engine.backup import archive
from engine.backup.archive import Manifest, Progress, Writer
from engine.bootstrap import seal_keys
from swarmsync import embedded
from swarmsync.errors import ConfigError, Conflict, Unavailable
from swarmsync.postgres_programs import Login, login_of, program
from swarmsync.seal import Sealer
from swarmsync.store import whole

#: Member of the archive, and where it lies in the data directory. The ring of keys is written as it is in force.
FILES: Final = {
    "secrets.json": "secrets.json",
    "seal.keys": "seal.keys",
    "admin-password": "admin-password",
    "nats-port": "nats/port",
}
_PIECE: Final = 1 << 20
_STDERR_MAX: Final = 800
_ANSWER_S: Final = 10.0
#: A statement that changes tables (dropping a day's partition) may be in the way for so long.
_LOCK_WAIT_MS: Final = 60_000


class Taken(Struct, frozen=True):
    """A backup that was written; `outside` names files that Core's settings speak of and that are not in it."""

    path: Path
    bytes: int
    seconds: float
    manifest: Manifest
    outside: tuple[str, ...]


def take(settings: Settings, target: Path, *, logs: bool = True, tell: Progress = archive.nothing) -> Taken:
    """Write a backup to `target`, a file that is not there yet, or a directory that is.

    Raises ConfigError, Conflict where the file exists, Unavailable where PostgreSQL does not answer.
    """
    began = time.monotonic()
    now = datetime.now(UTC)
    files = _files(settings)
    server_id = _server_id(settings, files)
    target = _target(target, server_id, now)
    with database(settings) as url:
        try:
            manifest, size = _write(target, url, files, _about(settings, server_id, now), logs=logs, tell=tell)
        except OSError as problem:
            raise ConfigError(f"cannot write {target}: {problem.strerror}; nothing was left there") from None
    return Taken(target, size, time.monotonic() - began, manifest, _outside(settings))


def _target(target: Path, server_id: str, now: datetime) -> Path:
    if target.is_dir():
        target = target / f"swarmsync-{server_id[:8]}-{now:%Y%m%dT%H%M%SZ}.tar"
    if target.exists():
        raise Conflict(f"{target} exists; a backup replaces nothing: choose another name, or name a directory")
    if not target.parent.is_dir():
        raise ConfigError(f"there is no directory {target.parent}")
    return target


def _files(settings: Settings) -> dict[str, bytes]:
    home = settings.data_path
    if not (home / "secrets.json").exists():
        raise ConfigError(f"no Core has worked in {home}; name its --data-dir")
    try:
        files = {name: (home / place).read_bytes() for name, place in FILES.items() if (home / place).exists()}
    except OSError as problem:
        raise ConfigError(f"{problem.filename} cannot be read: {problem.strerror}") from None
    words = json.loads(files["secrets.json"])
    with contextlib.suppress(FileNotFoundError):  # where Cores share a database, they agreed on these
        words |= json.loads((home / "private" / "shared.json").read_text())
    if settings.workers.join_token:
        words["join_token"] = settings.workers.join_token
    files["secrets.json"] = json.dumps(words).encode()
    files["seal.keys"] = seal_keys(settings).encode()
    return files


def _server_id(settings: Settings, files: dict[str, bytes]) -> str:
    words: dict[str, Any] = json.loads(files["secrets.json"])
    if "instance" not in words:
        raise ConfigError(f"{settings.data_path}/secrets.json does not name this server; start Core once")
    return str(words["instance"])


def _about(settings: Settings, server_id: str, now: datetime) -> Manifest:
    seal_ids = tuple(sorted(Sealer.of(seal_keys(settings)).key_ids))
    version = importlib.metadata.version("swarmsync")
    at = now.isoformat(timespec="seconds").replace("+00:00", "Z")
    return Manifest(archive.FORMAT, version, at, server_id, "", "", (), {}, (), seal_ids)


def _outside(settings: Settings) -> tuple[str, ...]:
    api, nats = settings.api, settings.nats
    named = (api.tls_cert, api.tls_key, api.tls_ca, nats.tls_cert, nats.tls_key, nats.tls_ca)
    return tuple(dict.fromkeys(name for name in named if name))


@contextmanager
def database(settings: Settings) -> Iterator[str]:
    """Yield the owner's URL; an embedded server that does not run is started for as long as this takes."""
    home = settings.data_path
    if settings.database.url:
        yield settings.database.url
    elif data_lock.in_use(home):
        yield embedded.postgres_url(home, embedded.load_secrets(home))
    else:
        with data_lock.take(home), embedded.running(home, ("postgres",)) as plans:
            yield plans["postgres"].url


def _write(
    target: Path, url: str, files: dict[str, bytes], about: Manifest, *, logs: bool, tell: Progress
) -> tuple[Manifest, int]:
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)  # 0600
    fresh = Path(name)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            writer = Writer(file, int(time.time()))
            about = asyncio.run(_dump(url, writer, about, logs=logs, tell=tell))
            for member, content in sorted(files.items()):
                writer.add(member, [content])
            manifest = writer.finish(about)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        _name(fresh, target)
    finally:
        fresh.unlink(missing_ok=True)
    sync_directory(target.parent)
    return manifest, size


def _name(fresh: Path, target: Path) -> None:
    """Give the file its name; unlike a rename, a link replaces nothing. Some network disks have none."""
    try:
        os.link(fresh, target)
    except FileExistsError:
        raise Conflict(f"{target} exists; a backup replaces nothing: choose another name") from None
    except OSError as problem:
        if problem.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        fresh.rename(target)


def sync_directory(path: Path) -> None:
    """Put the names in a directory onto the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def _dump(url: str, writer: Writer, about: Manifest, *, logs: bool, tell: Progress) -> Manifest:
    """Write the dump; return the manifest with what its snapshot shows."""
    try:
        connection = await asyncpg.connect(url, timeout=_ANSWER_S, server_settings=whole.PATIENT)
    except (OSError, TimeoutError, asyncpg.PostgresError) as problem:
        raise Unavailable(f"PostgreSQL does not answer ({problem}); nothing was written") from None
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            seen = await whole.look(connection, left_out=() if logs else whole.LOGS)
            begin = writer.begin()
            await _pg_dump(login_of(url), seen.snapshot, writer, logs=logs, tell=tell)
            writer.end(archive.DUMP, begin)
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        raise ConfigError("the database holds no SwarmSync; start Core on it once") from None
    except asyncpg.PostgresError as problem:
        raise Unavailable(f"PostgreSQL broke off: {problem}; nothing was written") from None
    finally:
        connection.terminate()
    return msgspec.structs.replace(
        about,
        database=seen.version,
        owner=seen.owner,
        schema=seen.schema,
        rows=seen.rows,
        left_out=() if logs else whole.LOGS,
    )


async def _pg_dump(login: Login, snapshot: str, writer: Writer, *, logs: bool, tell: Progress) -> None:
    words = [str(program("pg_dump")), "--format=custom", "--no-password", f"--snapshot={snapshot}"]
    words += [f"--schema={name}" for name in whole.SCHEMAS]
    words += ["--enable-row-security", f"--lock-wait-timeout={_LOCK_WAIT_MS}"]
    if not logs:
        words += [f"--exclude-table-data-and-children={whole.SCHEMAS[0]}.{table}" for table in whole.LOGS]
    with tempfile.TemporaryFile() as said:
        process = await asyncio.create_subprocess_exec(
            *words, f"--dbname={login.url}", env=login.environ, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=said,
        )  # fmt: skip
        assert process.stdout is not None
        done = 0
        try:
            while piece := await process.stdout.read(_PIECE):
                writer.write(piece)
                done += len(piece)
                tell(done)
            code = await process.wait()
        finally:
            await put_down(process)
        if code:
            raise ConfigError(f"pg_dump failed: {tail(said)}")


async def put_down(process: asyncio.subprocess.Process) -> None:
    """End a program that was not waited for, and let go of its pipes."""
    if process.returncode is None:
        process.kill()
        await process.communicate()


def tail(said: IO[bytes]) -> str:
    """The end of what a program wrote."""
    said.seek(0)
    return said.read().decode(errors="replace").strip()[-_STDERR_MAX:]
