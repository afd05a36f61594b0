"""Where the engine's modules find what they work with."""

from msgspec import Struct

from swarmsync.nats_config import NatsConfig


class Site(Struct, frozen=True):
    """Where this Core's servers are, as the engine's roles."""

    engine_url: str
    nats_url: str
    join_token: str
    seal_keys: str  # a ring for `Sealer.of`
    nats_config: NatsConfig | None = None  # of the NATS that Core runs itself
    term: int = 0  # in which this Core leads
