"""Bring PostgreSQL to the schema of this version: roles, then forward-only files under one advisory lock.

Files are `migrations/NNNN_name.sql`; each runs once, in its own transaction, and its SHA-256 is kept: a changed or
missing file is a ConfigError, never a guess. Partitions of the next days are made here and by the Logger.
"""

from hashlib import sha256
from importlib.resources import files
from typing import Final

import asyncpg

from swarmsync.errors import ConfigError

LOCK: Final = 0x5357_4152  # any fixed number; all Cores of a database share it
VERSION_MIN: Final = 140_000
LOGIN_ROLES: Final = ("swarmsync_engine", "swarmsync_api")


async def migrate(url: str, passwords: dict[str, str]) -> list[str]:
    """Create roles and tables as the owner of `url`; return the names of the migrations that ran.

    `passwords` maps each of LOGIN_ROLES to the password that it shall have. Raises ConfigError with a remedy.
    """
    connection = await asyncpg.connect(url, timeout=10, command_timeout=120)
    try:
        version = connection.get_server_version()
        if version.major * 10_000 < VERSION_MIN:
            raise ConfigError(f"PostgreSQL {version.major} is too old; SwarmSync needs 14 or later")
        await connection.execute("SELECT pg_advisory_lock($1)", LOCK)
        await _make_roles(connection, passwords)
        await connection.execute("CREATE SCHEMA IF NOT EXISTS swarmsync")
        await connection.execute("SET search_path TO swarmsync")
        ran = await _run_files(connection)
        await connection.execute("SELECT ensure_partitions(3)")
    except asyncpg.InsufficientPrivilegeError as error:
        raise ConfigError(
            f"the database login may not set up SwarmSync ({error}); it needs CREATEROLE and CREATE"
        ) from None
    finally:
        await connection.close()
    return ran


async def _make_roles(connection: asyncpg.Connection, passwords: dict[str, str]) -> None:
    have = {row[0] for row in await connection.fetch("SELECT rolname FROM pg_roles WHERE rolname LIKE 'swarmsync_%'")}
    for role in ("swarmsync_member", "swarmsync_operator", "swarmsync_admin"):
        if role not in have:
            await connection.execute(f"CREATE ROLE {role} NOLOGIN")
    await connection.execute("GRANT swarmsync_operator TO swarmsync_admin")
    for role in LOGIN_ROLES:
        verb = "ALTER" if role in have else "CREATE"
        secret = await connection.fetchval("SELECT quote_literal($1::text)", passwords[role])
        await connection.execute(f"{verb} ROLE {role} LOGIN NOINHERIT NOSUPERUSER NOBYPASSRLS PASSWORD {secret}")
    await connection.execute("GRANT swarmsync_member, swarmsync_operator, swarmsync_admin TO swarmsync_api")


async def _run_files(connection: asyncpg.Connection) -> list[str]:
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_migrations (name text PRIMARY KEY, sha256 text NOT NULL,"
        " applied_at timestamptz NOT NULL DEFAULT clock_timestamp())"
    )
    done = dict(await connection.fetch("SELECT name, sha256 FROM schema_migrations"))
    sources = {
        entry.name: entry.read_text()
        for entry in files("swarmsync.store").joinpath("migrations").iterdir()
        if entry.name.endswith(".sql")
    }
    for name, digest in done.items():
        if name not in sources:
            raise ConfigError(
                f"the database has migration {name}, which this version does not know; install a newer one"
            )
        if sha256(sources[name].encode()).hexdigest() != digest:
            raise ConfigError(f"migration {name} was changed after it ran; install the version that wrote it")
    ran = []
    for name in sorted(sources.keys() - done.keys()):
        async with connection.transaction():
            await connection.execute(sources[name])
            await connection.execute(
                "INSERT INTO schema_migrations (name, sha256) VALUES ($1, $2)",
                name,
                sha256(sources[name].encode()).hexdigest(),
            )
        ran.append(name)
    return ran
