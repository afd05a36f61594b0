"""What a Core does once before its modules start: the schema, the first user, this machine's login for `consumer`."""

import asyncio
import importlib.metadata
import importlib.util
import json
import os
import secrets
import socket
import tempfile
from collections.abc import Callable
from functools import partial
from hashlib import blake2b
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import msgspec
from msgspec import Struct

from conf.settings import Settings
from engine.keeper import Identity
from engine.lead_word import ALWAYS_MS, LeadWord
from engine.site import Site
from swarmsync import embedded
from swarmsync.clock import SystemClock
from swarmsync.embedded import ServerPlan
from swarmsync.errors import ConfigError
from swarmsync.ids import IdSource
from swarmsync.nats_config import JOIN, NatsConfig
from swarmsync.profiles import profile_path
from swarmsync.seal import Sealer, load_ring
from swarmsync.store import cores, users, whole, worker_keys
from swarmsync.store.migrate import LOGIN_ROLES, migrate, stamp
from swarmsync.store.pool import as_login

ADMIN = "admin"
TOKEN_DAYS = 90
LOCAL_TOKEN_MINUTES = 60
#: What all Cores of one database must have alike.
SHARED = ("swarmsync_engine", "swarmsync_api", "instance", "join_token")


class Servers(Struct, frozen=True):
    """Which servers this Core runs itself, and the owner's URLs of all."""

    plans: tuple[ServerPlan, ...]
    database_url: str
    nats_url: str
    redis_url: str
    passwords: dict[str, str]
    seal_keys: str
    nats_config: NatsConfig | None = None
    local_token: str = ""  # with which this machine's worker is enrolled, where it is not yet

    @property
    def alone(self) -> bool:
        """Whether no other Core can reach this one's PostgreSQL."""
        return any(plan.name == "postgres" for plan in self.plans)

    @property
    def engine_url(self) -> str:
        return as_login(self.database_url, "swarmsync_engine", self.passwords["swarmsync_engine"])

    def site(self, term: int) -> Site:
        join, keys = self.passwords["join_token"], self.seal_keys
        return Site(self.engine_url, self.nats_url, join, keys, self.nats_config, term)


def prepare(settings: Settings) -> Servers:
    """Make directories, passwords and server plans. Raises ConfigError."""
    data_dir = settings.data_path
    try:
        embedded.make_directories(data_dir)
    except OSError as problem:
        raise ConfigError(f"cannot use the data directory {data_dir}: {problem.strerror}") from None
    passwords = embedded.load_secrets(data_dir)
    if settings.workers.join_token:
        passwords = {**passwords, "join_token": settings.workers.join_token}
    plans: list[ServerPlan] = []
    urls = {"postgres": settings.database.url, "nats": settings.nats.url, "valkey": settings.redis.url}
    nats_config = None
    if not urls["nats"]:
        shared = settings.worker.runtime == "simulated"
        own = settings.nats
        nats_config = embedded.nats_config(
            data_dir, passwords, port=own.port, bind=own.bind, shared_worker=shared,
            tls_cert=own.tls_cert, tls_key=own.tls_key, tls_ca=own.tls_ca,
        )  # fmt: skip
    makers: dict[str, Callable[[Path, dict[str, str]], ServerPlan]] = {
        "postgres": embedded.plan_postgres,
        "nats": partial(embedded.plan_nats, config=nats_config),
        "valkey": embedded.plan_valkey,
    }
    for name, maker in makers.items():
        if not urls[name]:
            plan = maker(data_dir, passwords)
            plans.append(plan)
            urls[name] = plan.url
    keys, token = seal_keys(settings), worker_keys.new_token()
    return Servers(tuple(plans), urls["postgres"], urls["nats"], urls["valkey"], passwords, keys, nats_config, token)


def seal_keys(settings: Settings) -> str:
    """Return the ring of keys that seals at rest: the setting, else the data directory's own. Raises ConfigError."""
    ring = settings.seal.keys or load_ring(settings.data_path / "seal.keys")
    Sealer.of(ring)
    return ring


def nats_login(servers: Servers, kind: str) -> str:
    """The URL for the API or for machines that join: an own login on our NATS, the given one on a foreign NATS."""
    if any(plan.name == "nats" for plan in servers.plans):
        return as_login(servers.nats_url, kind, servers.passwords[f"nats_{kind}"])
    return servers.nats_url


def write_api_config(settings: Settings, servers: Servers) -> Path:
    """Write what the API's processes must know; 0600, since it holds passwords."""
    path = settings.data_path / "private" / "api.json"
    document = {
        "api_database_url": as_login(servers.database_url, "swarmsync_api", servers.passwords["swarmsync_api"]),
        "nats_url": nats_login(servers, "api"),
        "join_url": _join_url(settings, servers),
        "redis_url": servers.redis_url,
        "bind": settings.api.bind,
        "tls_cert": settings.api.tls_cert,
        "tls_key": settings.api.tls_key,
        "port": settings.api.port,
        "processes": settings.api.processes,
        "pool_size": settings.database.api_pool_size,
        "body_max_bytes": settings.api.body_max_bytes,
        "batch_jobs_max": settings.api.batch_jobs_max,
        "session_hours": settings.api.session_hours,
        "seal_keys": servers.seal_keys,
        "webhook_networks": settings.webhooks.allow_networks,
        "requests_per_s": settings.api.requests_per_s,
        "log_format": settings.logs.format,
        "traces_endpoint": _traces_endpoint(settings),
        "open_metrics": settings.api.open_metrics,
        "requests_burst": 2 * settings.api.requests_per_s,
        "audiences": _audiences(settings),
        "lease_ms": settings.workers.lease_ms,
        "lease_slack_ms": settings.workers.lease_slack_ms,
        "server_id": servers.passwords["instance"],
    }
    write_private(path, json.dumps(document))
    return path


def _traces_endpoint(settings: Settings) -> str:
    """Return where traces go. Raises ConfigError where they cannot be sent."""
    endpoint = settings.traces.endpoint
    if endpoint and not urlsplit(endpoint).scheme.startswith("http"):
        raise ConfigError(f"traces.endpoint is {endpoint!r}; write it like http://collector:4318/v1/traces")
    if endpoint and importlib.util.find_spec("opentelemetry") is None:
        raise ConfigError("traces.endpoint is set, and OpenTelemetry is missing: install swarmsync[traces]")
    return endpoint


def _join_url(settings: Settings, servers: Servers) -> str:
    """What a machine that shall become a worker is told; empty on a foreign NATS."""
    if servers.nats_config is None:
        return ""
    bind = settings.nats.bind
    public = urlsplit(settings.api.public_url).hostname
    address = bind if bind not in ("0.0.0.0", "::") else public or socket.gethostname()  # noqa: S104 compared, not bound
    return servers.nats_config.login_url(JOIN, f"[{address}]" if ":" in address else address, trust=False)


def _audiences(settings: Settings) -> list[str]:
    """The addresses for which a key may sign a login here."""
    names = [settings.api.bind, "127.0.0.1", "localhost"]
    scheme = "https" if settings.api.tls_cert else "http"
    urls = [f"{scheme}://{f'[{name}]' if ':' in name else name}:{settings.api.port}" for name in dict.fromkeys(names)]
    return [url for url in (settings.api.public_url, *urls) if url]


def write_private(path: Path, text: str) -> None:
    """Replace a file at once; nobody ever sees half of it, nobody else may read it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    Path(name).replace(path)


def identity(settings: Settings) -> Identity:
    """How this Core is listed beside others."""
    own = embedded.load_secrets(settings.data_path)["instance"]
    version = importlib.metadata.version("swarmsync")
    return Identity(
        blake2b(own.encode(), digest_size=6).hexdigest(), socket.gethostname(), local_url(settings), version
    )


def shared(settings: Settings, servers: Servers) -> Servers:
    """Return the servers with the passwords that all Cores of this database agreed on; after `set_up`."""
    if servers.alone:
        return servers
    words = json.loads((settings.data_path / "private" / "shared.json").read_text())
    return msgspec.structs.replace(servers, passwords={**servers.passwords, **words})


def set_up(settings: Settings, servers: Servers, word: LeadWord) -> None:
    """Migrate, make the first user, write the local profile. Runs in a forked child: it has an event loop.

    A Core that is alone on its database leads from here on.
    """
    asyncio.run(_set_up(settings, servers, word))


def was_set_up(settings: Settings) -> bool:
    """Tell whether this data directory's own PostgreSQL has the schema of this version already."""
    try:
        return _set_up_file(settings).read_text() == stamp()
    except OSError:
        return False


def _set_up_file(settings: Settings) -> Path:
    return settings.data_path / "postgres" / "swarmsync-schema"


async def _agree(settings: Settings, servers: Servers) -> dict[str, str]:
    if servers.alone:
        return servers.passwords
    own = {name: servers.passwords[name] for name in SHARED}
    words = await cores.agree(servers.database_url, own, identity(settings).id, Sealer.of(servers.seal_keys).key_ids)
    if settings.workers.join_token:
        words["join_token"] = settings.workers.join_token
    write_private(settings.data_path / "private" / "shared.json", json.dumps(words))
    return words


async def _set_up(settings: Settings, servers: Servers, word: LeadWord) -> None:
    try:
        passwords = await _agree(settings, servers)
        await migrate(servers.database_url, passwords)
        await _hold_back(settings, as_login(servers.database_url, LOGIN_ROLES[0], passwords[LOGIN_ROLES[0]]))
        connection = await asyncpg.connect(servers.database_url, server_settings={"search_path": "swarmsync"})
    except (OSError, asyncpg.PostgresError) as problem:
        raise ConfigError(f"PostgreSQL cannot be used: {problem}") from None
    try:
        number = await connection.fetchval("SELECT nextval('generator_numbers')")
        new_ids = IdSource(number, SystemClock().wall_ms)
        user_id = await connection.fetchval("SELECT id FROM users WHERE username = $1", ADMIN)
        if user_id is None and not await connection.fetchval("SELECT count(*) FROM users"):
            password = secrets.token_urlsafe(18)
            user_id = await users.create_user(connection, new_ids.next(), ADMIN, password=password, role="admin")
            write_private(settings.data_path / "admin-password", password + "\n")
        if servers.nats_config is not None and settings.worker.enabled:
            await worker_keys.add_token(
                connection, new_ids.next(), servers.local_token, minutes=LOCAL_TOKEN_MINUTES, replaces=True
            )
        if servers.alone:
            word.lead(await cores.lead_alone(connection, identity(settings).row), ALWAYS_MS)
            write_private(_set_up_file(settings), stamp())
        if user_id is not None:
            url = local_url(settings)
            if not await _still_good(connection, url):
                name = "local" if servers.alone else f"local-{identity(settings).id}"  # one for each Core
                token, _ = await users.create_token(connection, new_ids.next(), user_id, name, days=TOKEN_DAYS)
                _write_profile(url, token, settings.api.tls_ca)
    finally:
        await connection.close()


async def _hold_back(settings: Settings, engine_url: str) -> None:
    """After a restore: what waits goes on when nothing can run any more that the backup does not know."""
    connection = await asyncpg.connect(engine_url, server_settings={"search_path": "swarmsync"})
    try:
        await whole.hold_back(connection, settings.workers.lease_ms, settings.workers.lease_slack_ms)
    finally:
        await connection.close()


def local_url(settings: Settings) -> str:
    """The address under which `consumer` reaches this Core: the public one where it is set."""
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.api.bind, settings.api.bind)  # noqa: S104 compared, not bound
    scheme = "https" if settings.api.tls_cert else "http"
    return settings.api.public_url or f"{scheme}://{name}:{settings.api.port}"


async def _still_good(connection: asyncpg.Connection, url: str) -> bool:
    """Tell whether the profile's token lets its user in here for another while: then programs may keep using it."""
    try:
        local = json.loads(profile_path().read_text())["profiles"]["local"]
        if not users.well_formed(local["token"]):
            return False
        digest = users.token_digest(local["token"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    query = "SELECT count(*) FROM tokens WHERE sha256 = $1 AND expires_at > clock_timestamp() + interval '30 days'"
    return local.get("url") == url and bool(await connection.fetchval(query, digest))


def _write_profile(url: str, token: str, authority: str) -> None:
    """Write the profile `local`; others stay, and a chosen other one stays chosen."""
    path = profile_path()
    try:
        document = json.loads(path.read_text())
        profiles = dict(document["profiles"])
    except (OSError, ValueError, KeyError, TypeError):
        document, profiles = {}, {}
    profiles["local"] = {"url": url, "token": token, **({"ca": authority} if authority else {})}
    current = document.get("current", "local")
    write_private(path, json.dumps({"current": current, "profiles": profiles}, indent=2) + "\n")
