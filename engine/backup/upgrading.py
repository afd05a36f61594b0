"""Brings the schema of an earlier version to this one's, with a backup of how it was before.

A start of Core does the same without asking, and without a backup. Workers need nothing of it: their containers go on,
and what they have to tell waits.
"""

import asyncio
import contextlib
from pathlib import Path
from typing import Final

import asyncpg
from msgspec import Struct

from conf.settings import Settings
from engine import data_lock
from engine.backup import archive
from engine.backup.archive import Progress
from engine.backup.taking import Taken, database, take
from swarmsync import embedded
from swarmsync.errors import ConfigError, Conflict, Unavailable
from swarmsync.store import cores, migrate, whole

#: Where the backup goes unless another place is named; below the data directory.
BACKUPS: Final = "backups"
_ANSWER_S: Final = 10.0


class Schema(Struct, frozen=True):
    """Migrations that have run here, and those that this version has beyond them."""

    here: tuple[str, ...]
    missing: tuple[str, ...]
    alive: tuple[str, ...]  # Cores that work on this database now


class Upgraded(Struct, frozen=True):
    schema: Schema
    backup: Taken | None
    ran: tuple[str, ...]


def look(settings: Settings) -> Schema:
    """Say what there is to do. Raises ConfigError where the database is newer than this version."""
    with database(settings) as url:
        return asyncio.run(_look(url))


def upgrade(
    settings: Settings, target: Path | None, *, backup: bool = True, tell: Progress = archive.nothing
) -> Upgraded:
    """Take a backup, then migrate. Raises Conflict while a Core works on the database."""
    home = settings.data_path
    if not settings.database.url and data_lock.in_use(home):
        raise Conflict(f"a Core runs in {home}; stop it (swarmsyncd stop): jobs on other machines go on meanwhile")
    with database(settings) as url:
        schema = asyncio.run(_look(url))
        if schema.alive:
            raise Conflict(f"the Core at {schema.alive[0]} works on this database; stop it: jobs go on meanwhile")
        if not schema.missing:
            return Upgraded(schema, None, ())
        taken = take(settings, _place(home, target), tell=tell) if backup else None
        ran = asyncio.run(migrate.migrate(url, _passwords(settings, url)))
    return Upgraded(schema, taken, tuple(ran))


def _place(home: Path, target: Path | None) -> Path:
    if target is not None:
        return target
    with contextlib.suppress(FileExistsError):
        (home / BACKUPS).mkdir(mode=0o700)
    return home / BACKUPS


async def _look(url: str) -> Schema:
    try:
        connection = await asyncpg.connect(url, timeout=_ANSWER_S, server_settings=whole.PATIENT)
    except (OSError, TimeoutError, asyncpg.PostgresError) as problem:
        raise Unavailable(f"PostgreSQL does not answer ({problem})") from None
    try:
        done = dict(await connection.fetch("SELECT name, sha256 FROM schema_migrations"))
        missing = migrate.missing(migrate.known(), done)
        return Schema(tuple(sorted(done)), tuple(missing), tuple(await cores.alive(connection)))
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        raise ConfigError("the database holds no SwarmSync; start Core on it once") from None
    finally:
        await connection.close()


def _passwords(settings: Settings, url: str) -> dict[str, str]:
    """The service roles' passwords: those that Cores of one database agreed on, else this data directory's."""
    own = embedded.load_secrets(settings.data_path)
    return {**own, **asyncio.run(cores.agreed(url))}
