"""Typed settings, read once and passed down. Only this file reads the environment and the configuration file.

Order: the defaults here, then the TOML file (`--config`), then `SWARMSYNC_*` variables; a variable with `_FILE` behind
its name gives a file to read the value from, as containers get their secrets. A wrong key or value is a ConfigError
that names it; programs end with exit code 3.
"""

import os
import tomllib
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from swarmsync.errors import ConfigError

Port = Annotated[int, Meta(ge=0, le=65_535)]
Positive = Annotated[int, Meta(ge=1)]


class PulseSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """[pulse]: the engine's beats, and when a module counts as late, hung and dead."""

    fast_ms: Positive = 100
    medium_ms: Positive = 1_000
    slow_ms: Positive = 10_000
    late_ms: Positive = 1_500
    abort_ms: Positive = 3_000
    kill_ms: Positive = 4_000


class DatabaseSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """[database]: empty `url` means the embedded PostgreSQL."""

    url: str = ""
    pool_size: Positive = 3
    api_pool_size: Positive = 8
    acquire_timeout_s: Annotated[float, Meta(gt=0, le=3_600)] = 5.0
    statement_timeout_ms: Positive = 30_000


class NatsSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """[nats]: empty `url` means the embedded NATS; the rest is about that one."""

    url: str = ""
    bind: str = "127.0.0.1"
    port: Port = 0
    tls_cert: str = ""
    tls_key: str = ""
    tls_ca: str = ""


class RedisSettings(Struct, frozen=True, forbid_unknown_fields=True):
    url: str = ""


class ApiSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """[api]: where people and programs reach Core."""

    bind: str = "127.0.0.1"
    port: Port = 8420
    processes: Positive = 2
    body_max_bytes: Positive = 8 << 20
    batch_jobs_max: Positive = 10_000
    session_hours: Positive = 12
    public_url: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    tls_ca: str = ""
    plain: bool = False
    requests_per_s: Positive = 5_000
    open_metrics: bool = False


class SchedulerSettings(Struct, frozen=True, forbid_unknown_fields=True):
    batch_places_max: Positive = 2_048
    backlog_jobs_max: Positive = 5_000_000


class DispatcherSettings(Struct, frozen=True, forbid_unknown_fields=True):
    receipt_ms: Annotated[int, Meta(ge=500)] = 3_000  # workers let receipts wait for 200 ms
    resends_max: Positive = 3
    orders_per_message_max: Positive = 200


class WorkerPolicy(Struct, frozen=True, forbid_unknown_fields=True):
    """[workers]: what Core allows a worker. Lease per assignment: max(lease_ms, 2 x stop grace + 10 s)."""

    pulse_ms: Positive = 1_000
    suspect_ms: Positive = 15_000
    lost_ms: Positive = 35_000
    lease_ms: Positive = 30_000
    lease_slack_ms: Positive = 5_000
    crash_limit: Positive = 5
    quarantine_jobs: Annotated[int, Meta(ge=0, le=1_000)] = 5
    join_token: str = ""

    def __repr__(self) -> str:
        return "WorkerPolicy(...)"  # the join token stays out of logs and tracebacks


#: A program of its own for fewer would cost more memory than it gives.
SIMULATED_PER_PROGRAM_MIN: Final = 4


class LocalWorkerSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """[worker]: the worker of this machine. `runtime` auto takes Docker where it answers, else plain processes."""

    enabled: bool = True
    runtime: str = "auto"
    name: str = ""
    cpus: Annotated[float, Meta(ge=0, le=100_000)] = 0
    memory: str = ""
    gpus: Annotated[int, Meta(ge=-1, le=1_024)] = -1
    reserve_cpus: Annotated[float, Meta(ge=0, le=100_000)] = 0
    reserve_memory: str = ""
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    allow_paths: list[str] = msgspec.field(default_factory=list)
    allow_capabilities: list[str] = msgspec.field(default_factory=list)
    allow_devices: list[str] = msgspec.field(default_factory=list)
    allow_machine_network: bool = False
    allow_privileged: bool = False
    simulated_count: Positive = 1
    images_max: str = ""
    keep_networks: bool = True

    def programs(self, processors: int) -> list[range]:
        """Return which numbers of workers each program runs. Many simulated ones are spread over the processors."""
        count = self.simulated_count if self.runtime == "simulated" else 1
        programs = max(1, min(processors, count // SIMULATED_PER_PROGRAM_MIN))
        return [range(number * count // programs, (number + 1) * count // programs) for number in range(programs)]


class RetentionSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """[retention]: days; whole day partitions are dropped."""

    output_days: Positive = 30
    log_days: Positive = 14
    event_days: Positive = 30


class LogsSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """[logs]: how the processes write their own lines."""

    format: Literal["text", "json"] = "text"


class TracesSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """[traces]: where the traces of jobs are sent; empty: nowhere."""

    endpoint: str = ""


class WebhookSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """[webhooks]: where they may lead beside public addresses, and for how long is tried."""

    allow_networks: list[str] = msgspec.field(default_factory=list)
    retry_hours: Annotated[float, Meta(gt=0, le=720)] = 24
    disable_days: Positive = 5
    keep_days: Positive = 7
    timeout_s: Annotated[float, Meta(gt=0, le=60)] = 10
    concurrent_max: Annotated[int, Meta(ge=1, le=64)] = 4


class SealSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """[seal]: keys in base64, parted by commas, the sealing one first. Empty: the file `seal.keys`."""

    keys: str = ""

    def __repr__(self) -> str:
        return "SealSettings(keys=***)"


class CoreSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """[core]: several Cores on one PostgreSQL. A leader that cannot renew its lead stops after `lease_ms`."""

    lease_ms: Annotated[int, Meta(ge=500, le=600_000)] = 3_000
    lease_slack_ms: Annotated[int, Meta(ge=200, le=600_000)] = 1_000


class SupervisorSettings(Struct, frozen=True, forbid_unknown_fields=True):
    restarts_max: Positive = 10
    restarts_window_ms: Positive = 60_000
    backoff_max_ms: Positive = 5_000


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    data_dir: str = ""
    pulse: PulseSettings = PulseSettings()
    database: DatabaseSettings = DatabaseSettings()
    nats: NatsSettings = NatsSettings()
    redis: RedisSettings = RedisSettings()
    api: ApiSettings = ApiSettings()
    scheduler: SchedulerSettings = SchedulerSettings()
    dispatcher: DispatcherSettings = DispatcherSettings()
    workers: WorkerPolicy = WorkerPolicy()
    worker: LocalWorkerSettings = LocalWorkerSettings()
    retention: RetentionSettings = RetentionSettings()
    logs: LogsSettings = LogsSettings()
    traces: TracesSettings = TracesSettings()
    webhooks: WebhookSettings = msgspec.field(default_factory=WebhookSettings)
    seal: SealSettings = SealSettings()
    supervisor: SupervisorSettings = SupervisorSettings()
    core: CoreSettings = CoreSettings()

    @property
    def data_path(self) -> Path:
        return Path(self.data_dir).expanduser().absolute()


class WorkerSite(Struct, frozen=True):
    """What a worker's program is started with: where Core is, and this machine's settings."""

    nats_url: str
    join_token: str
    state_dir: str
    worker: LocalWorkerSettings
    enroll_token: str = ""  # for a machine without a key; used once
    log_format: str = "text"
    owner: str = ""  # what its containers are told apart by; empty: the join token
    numbers: tuple[int, int] | None = None  # of simulated workers: from, and up to but not with; None: all

    def __repr__(self) -> str:
        return f"WorkerSite({self.state_dir!r}, ***)"


#: Environment variables and the setting that each replaces.
VARIABLES: Final[Mapping[str, str]] = {
    "SWARMSYNC_DATA_DIR": "data_dir",
    "SWARMSYNC_DATABASE_URL": "database.url",
    "SWARMSYNC_NATS_URL": "nats.url",
    "SWARMSYNC_REDIS_URL": "redis.url",
    "SWARMSYNC_API_BIND": "api.bind",
    "SWARMSYNC_API_PORT": "api.port",
    "SWARMSYNC_API_PUBLIC_URL": "api.public_url",
    "SWARMSYNC_API_PLAIN": "api.plain",
    "SWARMSYNC_API_TLS_CERT": "api.tls_cert",
    "SWARMSYNC_API_TLS_KEY": "api.tls_key",
    "SWARMSYNC_NATS_BIND": "nats.bind",
    "SWARMSYNC_NATS_PORT": "nats.port",
    "SWARMSYNC_NATS_TLS_CERT": "nats.tls_cert",
    "SWARMSYNC_NATS_TLS_KEY": "nats.tls_key",
    "SWARMSYNC_JOIN_TOKEN": "workers.join_token",
    "SWARMSYNC_SEAL_KEY": "seal.keys",
    "SWARMSYNC_LOGS_FORMAT": "logs.format",
    "SWARMSYNC_TRACES_ENDPOINT": "traces.endpoint",
    "SWARMSYNC_WORKER_RUNTIME": "worker.runtime",
    "SWARMSYNC_WORKER_NAME": "worker.name",
    "SWARMSYNC_WORKER_CPUS": "worker.cpus",
    "SWARMSYNC_WORKER_MEMORY": "worker.memory",
    "SWARMSYNC_WORKER_ENABLED": "worker.enabled",
}


def default_data_dir(environ: Mapping[str, str]) -> Path:
    """`$XDG_DATA_HOME/swarmsync`, usually `~/.local/share/swarmsync`."""
    base = environ.get("XDG_DATA_HOME") or str(Path(environ.get("HOME", "/")) / ".local" / "share")
    return Path(base) / "swarmsync"


def load(config: Path | None = None, environ: Mapping[str, str] = os.environ, **overrides: Any) -> Settings:
    """Read the settings. `overrides` are dotted keys with `__` for the dot. Raises ConfigError."""
    document: dict[str, Any] = {}
    if config is not None:
        try:
            document = tomllib.loads(config.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"cannot read the configuration file {config}: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{config} is not TOML: {error}") from None
    for variable, key in VARIABLES.items():
        value = _variable(environ, variable)
        if value:
            _put(document, key, value)
    for key, value in overrides.items():
        if value is not None:
            _put(document, key.replace("__", "."), value)
    if not document.get("data_dir"):
        document["data_dir"] = str(default_data_dir(environ))
    try:
        settings = msgspec.convert(document, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"a setting is wrong: {error}") from None
    if settings.worker.runtime not in ("auto", "docker", "process", "simulated"):
        raise ConfigError(f"worker.runtime is {settings.worker.runtime!r}; it is auto, docker, process or simulated")
    _check_tls(settings)
    try:
        [ip_network(text) for text in settings.webhooks.allow_networks]
    except ValueError as error:
        raise ConfigError(f"webhooks.allow_networks: {error}; write networks like 10.0.0.0/8") from None
    return settings


def _check_tls(settings: Settings) -> None:
    """Raise ConfigError where something would listen beyond this machine in plain text."""
    for name, section in (("api", settings.api), ("nats", settings.nats)):
        if bool(section.tls_cert) != bool(section.tls_key):
            raise ConfigError(f"{name}.tls_cert and {name}.tls_key go together")
    remedy = "make certificates with swarmsyncd certs and set"
    if not _is_loopback(settings.api.bind) and not settings.api.tls_cert and not settings.api.plain:
        raise ConfigError(
            f"api.bind is {settings.api.bind}: {remedy} api.tls_cert and api.tls_key, or set api.plain = true"
            " where a proxy speaks TLS for it"
        )
    if not settings.nats.url and not _is_loopback(settings.nats.bind) and not settings.nats.tls_cert:
        raise ConfigError(f"nats.bind is {settings.nats.bind}: {remedy} nats.tls_cert and nats.tls_key")


def _is_loopback(address: str) -> bool:
    return address in ("localhost", "::1") or address.startswith("127.")


def _variable(environ: Mapping[str, str], name: str) -> str:
    """Return a variable's value, or what stands in the file that NAME_FILE names. Raises ConfigError."""
    path = environ.get(f"{name}_FILE")
    if environ.get(name) or not path:
        return environ.get(name, "")
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name}_FILE: cannot read {path}: {error}") from None


def _put(document: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    for section in sections:
        document = document.setdefault(section, {})
        if not isinstance(document, dict):
            raise ConfigError(f"a setting is wrong: {section} is a section, not a value; write [{section}]")
    document[last] = value
