"""`swarmsyncd check`: everything that Core needs, one line each, with what to do about what is missing."""

import asyncio
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import asyncpg
import docker
import redis

from conf.settings import Settings
from engine import data_lock
from swarmsync import compiled, embedded
from swarmsync.bus import Bus
from swarmsync.errors import ConfigError, NotAllowed, Unavailable
from swarmsync.model.durability import SETTINGS, Durability, Judgement, judge

DISK_FREE_MIN = 2 << 30

#: Fine, failed or (None) merely worth knowing; what; the sentence.
Line: TypeAlias = tuple[bool | None, str, str]


def run_checks(settings: Settings) -> int:
    """Print one line a check; return 0, or 3 when Core could not work."""
    failed = False
    for fine, name, sentence in _checks(settings):
        failed |= fine is False
        print({True: "ok     ", False: "FAILED ", None: "note   "}[fine] + f"{name:<12} {sentence}")
    return 3 if failed else 0


def _checks(settings: Settings) -> Iterator[Line]:
    yield True, "settings", "read"
    yield _speed()
    yield _data_dir(settings)
    yield from _server("PostgreSQL", settings.database.url, settings, embedded.plan_postgres, _postgres)
    yield from _server("NATS", settings.nats.url, settings, embedded.plan_nats, _nats)
    yield from _server("Redis", settings.redis.url, settings, embedded.plan_valkey, _redis)
    yield _port(settings)
    yield check_docker(settings)


def _speed() -> Line:
    if len(compiled.in_use()) == len(compiled.MODULES):
        return True, "speed", "what is hot is compiled"
    return None, "speed", "what is hot is interpreted; with a C compiler, `make compiled` makes it faster"


def _data_dir(settings: Settings) -> Line:
    path = settings.data_path
    try:
        embedded.make_directories(path)
    except OSError as problem:
        return False, "data", f"{path}: {problem.strerror}; choose another --data-dir"
    low = disk_low(path)
    return (False, "data", low) if low else (True, "data", f"{path}, {shutil.disk_usage(path).free >> 30} GiB free")


def disk_low(path: Path) -> str:
    """Return a sentence when the disk of the data directory is nearly full, else nothing."""
    free = shutil.disk_usage(path).free
    if free >= DISK_FREE_MIN:
        return ""
    return f"{path}: only {free >> 20} MiB free; make room or choose another --data-dir"


def _server(
    name: str, url: str, settings: Settings, maker: Callable[..., object], probe: Callable[[str, str], Line]
) -> Iterator[Line]:
    if url:
        yield probe(url, name)
        return
    try:
        if data_lock.in_use(settings.data_path):
            yield True, name, "embedded; runs in the Core of this data directory"
            return
        maker(settings.data_path, embedded.load_secrets(settings.data_path))
    except ConfigError as problem:
        yield False, name, str(problem)
    except OSError as problem:
        yield False, name, f"cannot be started: {problem.filename}: {problem.strerror}; choose another --data-dir"
    else:
        yield True, name, "embedded; starts with Core"


def _postgres(url: str, name: str) -> Line:
    async def look() -> tuple[str, Judgement]:
        connection = await asyncpg.connect(url, timeout=5)
        try:
            version = await connection.fetchval("SHOW server_version")
            return version, judge(*[await connection.fetchval(f"SHOW {key}") for key in SETTINGS])
        finally:
            await connection.close()

    try:
        version, found = asyncio.run(look())
    except (OSError, TimeoutError, asyncpg.PostgresError, ValueError) as problem:
        return False, name, f"does not answer ({problem}); check SWARMSYNC_DATABASE_URL"
    if int(version.split(".")[0]) < 14:
        return False, name, f"version {version}; SwarmSync needs 14 or later"
    if found.durability is Durability.NOTHING:
        return False, name, f"{found.sentence}; {found.remedy}"
    return True, name, f"version {version}, {found.sentence}"


def _nats(url: str, name: str) -> Line:
    async def look() -> None:
        bus = await Bus.connect(url, "check", wait=False)
        await bus.close()

    try:
        asyncio.run(look())
    except (NotAllowed, Unavailable) as problem:
        return False, name, f"{problem}; check SWARMSYNC_NATS_URL"
    return True, name, "answers"


def _redis(url: str, name: str) -> Line:
    try:
        with redis.Redis.from_url(url, socket_timeout=3, socket_connect_timeout=3) as client:
            client.ping()
    except (redis.RedisError, ValueError) as problem:  # ValueError: this is no URL
        return False, name, f"does not answer ({problem}); check SWARMSYNC_REDIS_URL"
    return True, name, "answers"


def _port(settings: Settings) -> Line:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.api.bind, settings.api.port))
        except OSError as problem:
            sentence = f"{settings.api.bind}:{settings.api.port}: {problem.strerror}"
            return None, "API", f"{sentence} (fine if Core runs already; else set api.port)"
    return True, "API", f"{settings.api.bind}:{settings.api.port} is free"


def check_docker(settings: Settings) -> Line:
    if not settings.worker.enabled or settings.worker.runtime in ("process", "simulated"):
        return None, "Docker", "not used by the local worker"
    try:
        client = docker.from_env(timeout=5)
        version = client.version()["Version"]
        client.close()
    except docker.errors.DockerException as problem:
        fine = False if settings.worker.runtime == "docker" else None
        return fine, "Docker", f"does not answer ({str(problem)[:120]}); jobs would run as plain processes"
    return True, "Docker", f"version {version}"
