"""`/healthz`, `/readyz`, `/v1/openapi.json`: for machines that watch machines."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import Any, Final

from api import openapi
from api.access import Access
from api.answers.system import Health, Readiness
from api.endpoint import Call, Resource, endpoint
from api.problems import RETRY_AFTER_S
from api.services import Services
from swarmsync.errors import Unavailable

CHECK_S: Final = 2.0


class Alive(Resource):
    @endpoint(Access.PUBLIC, "This process lives", answer=Health)
    async def on_get(self, call: Call) -> Any:  # noqa: ARG002 a handler's form
        return {"status": "ok"}

    on_head = on_get  # watchers often ask for no more than the status


class Ready(Resource):
    @endpoint(Access.PUBLIC, "PostgreSQL, Redis and NATS answer; 503 and which one does not", answer=Readiness)
    async def on_get(self, call: Call) -> Any:
        found = await answers(call.services)
        ready = all(answer == "ok" for answer in found.values())
        if not ready:
            call.response.status = 503
            call.response.set_header("Retry-After", str(RETRY_AFTER_S))
        return {"status": "ready" if ready else "not ready", **found}

    on_head = on_get


async def answers(services: Services) -> dict[str, str]:
    """Return of each server that Core needs "ok", or what is wrong with it."""
    names = ("postgresql", "redis", "nats")
    checks = (lambda: services.store.fetchval("SELECT 1"), services.sessions.ping, services.hub.ping)
    return dict(zip(names, await asyncio.gather(*(_check(check) for check in checks)), strict=True))


async def _check(check: Callable[[], Awaitable[Any]]) -> str:
    try:
        async with asyncio.timeout(CHECK_S):
            await check()
    except (Unavailable, TimeoutError) as error:
        return str(error) or f"does not answer within {CHECK_S:g} s"
    return "ok"


class OpenApi(Resource):
    """`routes` are given once all are known. The description is made for the first who asks: no start waits for it."""

    routes: tuple[openapi.RouteEntry, ...] = ()

    @cached_property
    def document(self) -> bytes:
        return openapi.document(self.routes)

    @endpoint(Access.USER, "This description of the API", answer="OpenAPI 3.1")
    async def on_get(self, call: Call) -> Any:  # noqa: ARG002 a handler's form
        return self.document
