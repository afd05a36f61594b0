"""What an API process must know. The supervisor writes it as a JSON file that only its user can read."""

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from swarmsync.errors import ConfigError

Positive = Annotated[int, Meta(ge=1)]


class ApiConfig(Struct, frozen=True):
    """`bind`, `port` and `processes` are for Gunicorn; all else for the application.

    `requests_*` hold for one token in one process, `tries_per_address` for log-ins. `audiences` are the addresses under
    which people reach this Core: what a key signs for another one is worth nothing here.
    """

    api_database_url: str
    nats_url: str
    redis_url: str
    join_url: str = ""  # for machines that join; empty on a foreign NATS
    body_max_bytes: Positive = 8 << 20
    batch_jobs_max: Positive = 10_000
    session_hours: Positive = 12
    server_id: str = ""
    lease_ms: Positive = 30_000
    lease_slack_ms: Positive = 5_000
    seal_keys: str = ""  # a ring for `Sealer.of`
    webhook_networks: tuple[str, ...] = ()  # private ones that webhooks may lead to
    pool_size: Positive = 8
    statement_timeout_ms: Positive = 30_000
    streams_max: Positive = 200
    requests_per_s: Positive = 5_000
    requests_burst: Positive = 10_000
    tries_per_address: Positive = 60
    audiences: tuple[str, ...] = ("http://127.0.0.1:8420",)
    log_format: str = "text"
    traces_endpoint: str = ""  # of a collector, OTLP over HTTP; empty: no traces
    open_metrics: bool = False  # on loopback `/metrics` needs no token
    tls_cert: str = ""
    tls_key: str = ""
    bind: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8420
    processes: Positive = 2


def load(path: str) -> ApiConfig:
    """Read the file. Raises ConfigError."""
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=ApiConfig)
    except OSError as error:
        raise ConfigError(f"cannot read the API's configuration {path}: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise ConfigError(f"the API's configuration {path} is wrong: {error}") from None
