"""Restores a backup into an empty data directory (and, where the settings name one, into an empty database).

Everything is made in `DIR/.restoring` and moved to its places when it is whole; a Core does not start beside that
directory, so one that was interrupted is never taken for a restored one. A failure leaves nothing behind.
"""

import asyncio
import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import asyncpg
from msgspec import Struct

from conf.settings import Settings
from engine import data_lock
from engine.backup import archive
from engine.backup.archive import Found, Manifest, Progress, Scan
from engine.backup.taking import FILES, put_down, sync_directory, tail
from swarmsync import embedded
from swarmsync.clock import SystemClock
from swarmsync.errors import ChecksumError, ConfigError, Conflict, Unavailable
from swarmsync.nats_config import NatsConfig
from swarmsync.postgres_programs import login_of, program
from swarmsync.store import migrate, whole

_ANSWER_S: Final = 10.0
#: What a data directory may hold and still be empty.
_NO_CONTENT: Final = {data_lock.LOCK, "lost+found"}
#: Where pg_dump writes the roles of a policy.
_POLICY: Final = re.compile(
    r"(CREATE POLICY .*? ON .*?(?: AS \w+)?(?: FOR \w+)? TO )(.*?)(;| USING \(| WITH CHECK \()", re.DOTALL
)


class Restored(Struct, frozen=True):
    manifest: Manifest
    seconds: float
    upgraded: tuple[str, ...]  # migrations that this version had and the backup had not


def restore(settings: Settings, file: Path, tell: Progress = archive.nothing) -> Restored:
    """Restore `file`. Raises ChecksumError, ConfigError, Conflict where there is something already, Unavailable."""
    began = time.monotonic()
    home = settings.data_path
    _empty(home)
    manifest, scan = archive.check(file, tell)
    _not_newer(manifest)
    with data_lock.take(home):
        staging = home / data_lock.RESTORING
        try:
            staging.mkdir(mode=0o700)
            _put_files(staging, scan)
            with _database(settings, staging) as url:
                passwords = embedded.load_secrets(staging)
                upgraded, keys = asyncio.run(_fill(url, file, manifest, scan, passwords))
            if keys:  # NATS lets workers in before the engine has looked into PostgreSQL
                (staging / "nats").mkdir(mode=0o700, exist_ok=True)
                NatsConfig(str(staging / "nats"), 0, passwords).keep(keys)
            _move(staging, home)
        except OSError as problem:
            raise ConfigError(f"cannot restore into {home}: {problem.strerror} ({problem.filename})") from None
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return Restored(manifest, time.monotonic() - began, tuple(upgraded))


def _empty(home: Path) -> None:
    if not home.exists():
        return
    if data_lock.in_use(home):
        raise Conflict(f"a Core runs in {home}; restore into another --data-dir, which is empty")
    there = sorted(entry.name for entry in home.iterdir() if entry.name not in _NO_CONTENT)
    if data_lock.RESTORING in there:
        raise Conflict(f"a restore into {home} did not end; remove the directory and restore again")
    if there:
        raise Conflict(
            f"{home} is not empty ({', '.join(there[:3])}...); a restore replaces nothing: name another --data-dir,"
            " or move this one away"
        )


def _not_newer(manifest: Manifest) -> None:
    unknown = sorted(set(manifest.schema) - migrate.known().keys())
    if unknown:
        raise ConfigError(
            f"the backup was taken by SwarmSync {manifest.version} and has {unknown[0]}, which this version does not"
            " know; install a newer one"
        )


def _put_files(staging: Path, scan: Scan) -> None:
    embedded.make_directories(staging)
    for name, place in FILES.items():
        if name not in scan.small:
            continue
        path = staging / place
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(scan.small[name])
            file.flush()
            os.fsync(file.fileno())


def _move(staging: Path, home: Path) -> None:
    shutil.rmtree(staging / "run", ignore_errors=True)
    for entry in sorted(staging.iterdir()):
        entry.rename(home / entry.name)
    sync_directory(home)
    staging.rmdir()
    sync_directory(home)


@contextmanager
def _database(settings: Settings, staging: Path) -> Iterator[str]:
    """Yield the owner's URL of an empty database; what was put there is taken out again when something fails."""
    if not settings.database.url:
        with embedded.running(staging, ("postgres",)) as plans:
            yield plans["postgres"].url
        return
    url = settings.database.url
    asyncio.run(_must_be_empty(url))
    try:
        yield url
    except BaseException:
        with contextlib.suppress(OSError, asyncpg.PostgresError):
            asyncio.run(_execute(url, f"DROP SCHEMA IF EXISTS {', '.join(whole.SCHEMAS)} CASCADE"))
        raise


async def _connect(url: str) -> asyncpg.Connection:
    try:
        return await asyncpg.connect(url, timeout=_ANSWER_S, server_settings=whole.PATIENT)
    except (OSError, TimeoutError, asyncpg.PostgresError) as problem:
        raise Unavailable(f"PostgreSQL does not answer ({problem}); nothing was restored") from None


async def _execute(url: str, statement: str) -> None:
    connection = await _connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def _must_be_empty(url: str) -> None:
    connection = await _connect(url)
    try:
        query = "SELECT nspname FROM pg_namespace WHERE nspname = ANY ($1::text[])"
        there = await connection.fetchval(query, list(whole.SCHEMAS))
    finally:
        await connection.close()
    if there is not None:
        raise Conflict(f"the database has a schema {there}; a restore replaces nothing: name an empty database")


async def _fill(
    url: str, file: Path, manifest: Manifest, scan: Scan, passwords: dict[str, str]
) -> tuple[list[str], dict[str, str]]:
    """Bring back rows, then what guards them, then what must be otherwise here.

    Return the migrations that ran, and the keys of workers.
    """
    dump = next(found for found in scan.members if found.member.name == archive.DUMP)
    connection = await _connect(url)
    try:
        await migrate.make_roles(connection, passwords)
        owner = await connection.fetchval("SELECT quote_ident(current_user)")
        await _pg_restore(url, file, dump, "--section=pre-data", "--section=data")
        rows = await whole.counts(connection)
        if rows != manifest.rows:
            wrong = next(name for name in manifest.rows if rows.get(name) != manifest.rows[name])
            raise ChecksumError(f"{rows.get(wrong, 0)} rows of {wrong} came back, not {manifest.rows[wrong]}")
        await whole.carry_over(connection)
        if owner == manifest.owner:
            await _pg_restore(url, file, dump, "--section=post-data")
        else:
            await _guards_of(url, file, dump, manifest.owner, owner)
        ran = await migrate.migrate(url, passwords)
        await whole.begin_anew(connection, SystemClock().wall_ms(), manifest.taken_at)
        await connection.execute("ANALYZE")
        keys = await connection.fetch("SELECT name, public_key FROM worker_keys WHERE revoked_at IS NULL")
    except asyncpg.PostgresError as problem:
        raise ConfigError(f"PostgreSQL refused what is in the backup: {problem}") from None
    finally:
        await connection.close()
    return ran, dict(keys)


async def _pg_restore(url: str, file: Path, dump: Found, *words: str) -> None:
    login = login_of(url)
    own = (str(program("pg_restore")), "--no-password", "--no-owner", "--exit-on-error", f"--dbname={login.url}")
    await _run((*own, *words), login.environ, archive.pieces(file, dump))


async def _guards_of(url: str, file: Path, dump: Found, old: str, new: str) -> None:
    """Restore indexes, triggers and policies where the tables belong to another role than they did."""
    login = login_of(url)
    words = (str(program("pg_restore")), "--no-owner", "--section=post-data", "--file=-")
    script = (await _run(words, login.environ, archive.pieces(file, dump))).decode()
    script = of_owner(script, old, new)
    psql = (str(program("psql")), "--no-password", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", login.url)
    await _run((*psql, "--output=/dev/null"), login.environ, iter([script.encode()]))


def of_owner(script: str, old: str, new: str) -> str:
    """Return the script with its policies for another owner of the tables."""

    def renamed(found: re.Match[str]) -> str:
        roles = ", ".join(new if role == old else role for role in found[2].split(", "))
        return f"{found[1]}{roles}{found[3]}"

    return _POLICY.sub(renamed, script)


async def _run(words: tuple[str, ...], environ: dict[str, str], content: Iterator[bytes]) -> bytes:
    """Run a program that reads `content`; return what it wrote. Raises ConfigError with the end of its complaint."""
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as wrote:
        process = await asyncio.create_subprocess_exec(
            *words, env=environ, stdin=asyncio.subprocess.PIPE, stdout=wrote, stderr=said
        )
        assert process.stdin is not None
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it reads no further than it needs
                for piece in content:
                    process.stdin.write(piece)
                    await process.stdin.drain()
            process.stdin.close()
            code = await process.wait()
        finally:
            await put_down(process)
        if code:
            raise ConfigError(f"{Path(words[0]).name} failed: {tail(said)}")
        wrote.seek(0)
        return wrote.read()
