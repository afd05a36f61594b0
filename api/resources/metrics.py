"""`/metrics`: for Prometheus. What does not answer is left out and said, so that an alarm needs no second source."""

import asyncio
import os
from collections.abc import Awaitable
from importlib.metadata import version
from typing import Any, Final, TypeVar

import msgspec

from api import counting, metrics
from api.access import Access
from api.endpoint import Call, Resource, endpoint
from api.metrics import Found, Requests
from api.resources.health import answers
from api.resources.overview import module_figures
from api.services import Services
from swarmsync.errors import Unavailable
from swarmsync.store import invariants, overview, tallies
from swarmsync.store.sessions import answering
from swarmsync.store.tallies import Tally

T = TypeVar("T")
PATIENCE_S: Final = 8.0  # Prometheus waits for ten
REQUESTS_KEY: Final = "swarmsync:http"
TALLY_KEY: Final = "swarmsync:tally"
TALLY_LOCK: Final = "swarmsync:tally:lock"
TALLY_LOCK_MS: Final = 10_000
VERSION: Final = version("swarmsync")


class Metrics(Resource):
    @endpoint(Access.OPERATOR, "Prometheus metrics", answer="text", media="text/plain", open_to_loopback=True)
    async def on_get(self, call: Call) -> Any:
        services = call.services
        dependencies, stats, (fleet, breaks), tally, modules, requests = await asyncio.gather(
            answers(services),
            _or_none(counting.stats(services, call.caller)),
            asyncio.gather(
                _or_none(overview.fleet(services.store, call.caller)),
                _or_none(invariants.look(services.store, call.caller)),
            ),
            _or_none(_tally(call)),
            _or_none(module_figures(call)),
            _or_none(_requests(services)),
        )
        up = {name: answer == "ok" for name, answer in dependencies.items()}
        call.response.content_type = metrics.CONTENT_TYPE
        call.response.data = metrics.text(Found(VERSION, up, stats, fleet, tally, breaks, modules, requests or []))


async def _or_none(wanted: Awaitable[T]) -> T | None:
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await wanted
    except (Unavailable, TimeoutError):
        return None


async def _tally(call: Call) -> Tally:
    """Read on from where the last reader stopped. Of several at a time one reads; the others tell what was known."""
    services = call.services
    with answering():
        mine = await services.redis.set(TALLY_LOCK, b"1", nx=True, px=TALLY_LOCK_MS)
        kept: bytes | None = await services.redis.get(TALLY_KEY)
    try:
        tally = msgspec.json.decode(kept, type=Tally) if kept else Tally()
    except msgspec.DecodeError:
        tally = Tally()
    if mine:
        try:
            await tallies.read_on(services.store, call.caller, tally)
            with answering():
                await services.redis.set(TALLY_KEY, msgspec.json.encode(tally))
        finally:
            with answering():
                await services.redis.delete(TALLY_LOCK)
    return tally


async def _requests(services: Services) -> list[Requests]:
    own = [[method, status, count] for (method, status), count in sorted(services.answered.items())]
    with answering():
        await services.redis.hset(REQUESTS_KEY, str(os.getpid()), msgspec.json.encode(own))
        await services.redis.expire(REQUESTS_KEY, 3_600)
        kept: dict[bytes, bytes] = await services.redis.hgetall(REQUESTS_KEY)
    return [
        Requests(process.decode(), *row)
        for process, raw in sorted(kept.items())
        for row in msgspec.json.decode(raw, type=list[tuple[str, int, int]])
    ]
