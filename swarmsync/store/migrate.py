"""Bring PostgreSQL to the schema of this version: roles, then forward-only files under one advisory lock.

Files are `migrations/NNNN_name.sql`; each runs once, in its own transaction, and its SHA-256 is kept: a changed or
missing file is a ConfigError, never a guess. Partitions of the next days are made here and by the Logger.
"""

from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files
from typing import Final

import asyncpg

from swarmsync.errors import ConfigError

LOCK: Final = 0x5357_4152  # any fixed number; all Cores of a database share it
VERSION_MIN: Final = 140_000
LOGIN_ROLES: Final = ("swarmsync_engine", "swarmsync_api")
_NO_RIGHTS: Final = "LOGIN NOINHERIT NOSUPERUSER NOBYPASSRLS"


async def migrate(url: str, passwords: dict[str, str], *, through: str | None = None) -> list[str]:
    """Create roles and tables as the owner of `url`; return the names of the migrations that ran.

    `passwords` maps each of LOGIN_ROLES to the password that it shall have; `through` names the last migration to run,
    for tests that begin with an older schema. Raises ConfigError with a remedy.
    """
    connection = await asyncpg.connect(url, timeout=10, command_timeout=120)
    try:
        version = connection.get_server_version()
        if version.major * 10_000 < VERSION_MIN:
            raise ConfigError(f"PostgreSQL {version.major} is too old; SwarmSync needs 14 or later")
        await connection.execute("SELECT pg_advisory_lock($1)", LOCK)
        await make_roles(connection, passwords)
        await connection.execute("CREATE SCHEMA IF NOT EXISTS swarmsync")
        await connection.execute("SET search_path TO swarmsync")
        ran = await _run_files(connection, through)
        await connection.execute("SELECT ensure_partitions(3)")
    except asyncpg.InsufficientPrivilegeError as error:
        raise ConfigError(
            f"the database login may not set up SwarmSync ({error}); it needs CREATEROLE and CREATE"
        ) from None
    finally:
        await connection.close()
    return ran


async def make_roles(connection: asyncpg.Connection, passwords: dict[str, str]) -> None:
    """Make the roles that the schema grants rights to, or give them these passwords."""
    have = {row[0] for row in await connection.fetch("SELECT rolname FROM pg_roles WHERE rolname LIKE 'swarmsync_%'")}
    for role in ("swarmsync_member", "swarmsync_operator", "swarmsync_admin"):
        if role not in have:
            await connection.execute(f"CREATE ROLE {role} NOLOGIN")
    await connection.execute("GRANT swarmsync_operator TO swarmsync_admin")
    for role in LOGIN_ROLES:
        secret = await connection.fetchval("SELECT quote_literal($1::text)", passwords[role])
        if role not in have:
            await connection.execute(f"CREATE ROLE {role} {_NO_RIGHTS} PASSWORD {secret}")
        elif await connection.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"):
            await connection.execute(f"ALTER ROLE {role} {_NO_RIGHTS} PASSWORD {secret}")
        else:  # only a superuser may say NOSUPERUSER of a role that exists
            if await connection.fetchval("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = $1", role):
                raise ConfigError(f"the role {role} may do too much: ALTER ROLE {role} NOSUPERUSER NOBYPASSRLS")
            await connection.execute(f"ALTER ROLE {role} LOGIN NOINHERIT PASSWORD {secret}")
    await connection.execute("GRANT swarmsync_member, swarmsync_operator, swarmsync_admin TO swarmsync_api")


async def _run_files(connection: asyncpg.Connection, through: str | None) -> list[str]:
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_migrations (name text PRIMARY KEY, sha256 text NOT NULL,"
        " applied_at timestamptz NOT NULL DEFAULT clock_timestamp())"
    )
    sources = known()
    ran = []
    for name in missing(sources, dict(await connection.fetch("SELECT name, sha256 FROM schema_migrations"))):
        if through is not None and name > through:
            break
        async with connection.transaction():
            await connection.execute(sources[name])
            await connection.execute(
                "INSERT INTO schema_migrations (name, sha256) VALUES ($1, $2)",
                name,
                sha256(sources[name].encode()).hexdigest(),
            )
        ran.append(name)
    return ran


def known() -> dict[str, str]:
    """Return the text of each migration of this version."""
    return {
        entry.name: entry.read_text()
        for entry in files("swarmsync.store").joinpath("migrations").iterdir()
        if entry.name.endswith(".sql")
    }


def stamp() -> str:
    """Return what tells this version's schema from every other."""
    return sha256(repr(sorted(known().items())).encode()).hexdigest()


def missing(sources: Mapping[str, str], done: Mapping[str, str]) -> list[str]:
    """Return what is to run, in its order, where `done` (name to SHA-256) has run. Raises ConfigError."""
    for name, digest in done.items():
        if name not in sources:
            raise ConfigError(
                f"the database has migration {name}, which this version does not know; install a newer one"
            )
        if sha256(sources[name].encode()).hexdigest() != digest:
            raise ConfigError(f"migration {name} was changed after it ran; install the version that wrote it")
    return sorted(sources.keys() - done.keys())
