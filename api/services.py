"""What the resources of one API process share, made at its start and closed at its end."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from api.access import Gate, PasswordDesk
from api.config import ApiConfig
from api.events_hub import EventsHub
from api.gathering import Gatherer
from api.rates import Rates
from api.tracing import Tracer
from swarmsync.clock import SystemClock
from swarmsync.errors import TooMany, Unavailable
from swarmsync.ids import IdSource
from swarmsync.model.policy import Allowance
from swarmsync.seal import Sealer
from swarmsync.store import overview, policies, submit
from swarmsync.store.pool import Store
from swarmsync.store.sessions import Sessions, open_redis
from swarmsync.store.throttle import Throttle
from swarmsync.store.users import Caller

QUEUES_CACHE_MS = 5_000
QUEUES_FRESH_MS = 50
NATS_PATIENCE_S = 1.0
STREAMS_PER_USER_MAX = 50


class Services:
    """Opening succeeds while PostgreSQL, Redis or NATS is away: requests that need it answer 503 until it is back."""

    def __init__(self, config: ApiConfig, store: Store, redis: Any) -> None:
        self.config = config
        self.clock = SystemClock()
        self.store = store
        self.redis = redis
        self.sessions = Sessions(redis)
        self.throttle = Throttle(redis, store)
        self.gate = Gate(store, self.sessions, Rates(config.requests_per_s, config.requests_burst))
        self.passwords = PasswordDesk()
        self._sealer = Sealer.of(config.seal_keys) if config.seal_keys else None
        self.hub = EventsHub(config.nats_url)
        self.gatherer = Gatherer(partial(submit.insert_all, store), self.hub.tell_submitted)
        self.tracer = Tracer(store, redis, config.traces_endpoint, config.server_id)
        self.answered: Counter[tuple[str, int]] = Counter()
        self.stopping: Callable[[], bool] = lambda: False
        self._ids: IdSource | None = None
        self._queues: tuple[int, frozenset[str]] = (0, frozenset())
        self._policies: tuple[int, dict[tuple[str, str], Allowance]] = (0, {})
        self._streams: Counter[int] = Counter()

    @classmethod
    async def open(cls, config: ApiConfig) -> "Services":
        store = await Store.open(
            config.api_database_url,
            size=config.pool_size,
            application="swarmsync-api",
            statement_timeout_ms=config.statement_timeout_ms,
        )
        services = cls(config, store, open_redis(config.redis_url))
        services.hub.on_limits = services.forget_queues
        await services.hub.start(NATS_PATIENCE_S)
        services.tracer.start()
        return services

    async def close(self) -> None:
        await self.tracer.close()
        await self.hub.close()
        self.passwords.close()
        await self.redis.aclose()
        await self.store.close()

    @property
    def sealer(self) -> Sealer:
        """What seals secrets. Raises Unavailable where this process was given no key."""
        if self._sealer is None:
            raise Unavailable("this Core has no seal key, and stores no secrets without one")
        return self._sealer

    async def id_source(self, caller: Caller) -> Callable[[], int]:
        """Return what makes ids; its generator number is fetched at first use. Raises Unavailable."""
        if self._ids is None:
            number = await self.store.fetchval("SELECT nextval('generator_numbers')", **caller.settings)
            self._ids = self._ids or IdSource(number, self.clock.wall_ms)
        return self._ids.next

    async def queue_names(self, caller: Caller) -> frozenset[str]:
        """Return the names of the queues, at most 5 s old."""
        now_ms = self.clock.monotonic_ms()
        if now_ms >= self._queues[0]:
            self._queues = (now_ms + QUEUES_CACHE_MS, await overview.queue_names(self.store, caller))
        return self._queues[1]

    async def policies(self) -> dict[tuple[str, str], Allowance]:
        """Return what users' and queues' jobs may loosen, at most 5 s old."""
        now_ms = self.clock.monotonic_ms()
        if now_ms >= self._policies[0]:
            self._policies = (now_ms + QUEUES_CACHE_MS, await policies.allowances(self.store))
        return self._policies[1]

    def forget_queues(self) -> bool:
        """Read queues and policies anew when they are asked for next; False where they were read just now."""
        fresh = self._queues[0] > self.clock.monotonic_ms() + QUEUES_CACHE_MS - QUEUES_FRESH_MS
        self._queues = (0, frozenset())
        self._policies = (0, {})
        return not fresh

    def check_streams(self, caller: Caller) -> None:
        """Raise TooMany when no place for another open stream is left."""
        if self._streams.total() >= self.config.streams_max or self._streams[caller.user_id] >= STREAMS_PER_USER_MAX:
            raise TooMany("too many streams are open; close one or try again later", retry_after_s=5)

    @contextmanager
    def stream_place(self, caller: Caller) -> Iterator[None]:
        """Count an open stream for as long as it lasts."""
        self._streams[caller.user_id] += 1
        try:
            yield
        finally:
            self._streams[caller.user_id] -= 1
            if not self._streams[caller.user_id]:
                del self._streams[caller.user_id]
