"""`/healthz`, `/readyz`, `/metrics`, `/v1/openapi.json`: for machines that watch machines."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from api.access import Access
from api.endpoint import Call, Resource, endpoint
from api.problems import RETRY_AFTER_S
from swarmsync.errors import Unavailable
from swarmsync.store import overview
from swarmsync.store.sessions import answering

CHECK_S: Final = 2.0
REQUESTS_KEY: Final = "swarmsync:http"


class Health(Resource):
    @endpoint(Access.PUBLIC, "This process lives")
    async def on_get(self, call: Call) -> Any:  # noqa: ARG002 a handler's form
        return {"status": "ok"}


class Ready(Resource):
    @endpoint(Access.PUBLIC, "PostgreSQL, Redis and NATS answer; 503 and which one does not")
    async def on_get(self, call: Call) -> Any:
        services = call.services
        names = ("postgresql", "redis", "nats")
        checks = (lambda: services.store.fetchval("SELECT 1"), services.sessions.ping, services.hub.ping)
        answers = await asyncio.gather(*(_check(check) for check in checks))
        if any(answer != "ok" for answer in answers):
            call.response.status = 503
            call.response.set_header("Retry-After", str(RETRY_AFTER_S))
        status = "ready" if all(answer == "ok" for answer in answers) else "not ready"
        return {"status": status, **dict(zip(names, answers, strict=True))}


async def _check(check: Callable[[], Awaitable[Any]]) -> str:
    try:
        async with asyncio.timeout(CHECK_S):
            await check()
    except (Unavailable, TimeoutError) as error:
        return str(error) or f"does not answer within {CHECK_S:g} s"
    return "ok"


class Metrics(Resource):
    @endpoint(Access.OPERATOR, "Prometheus metrics", answer="text")
    async def on_get(self, call: Call) -> Any:
        services = call.services
        found = await overview.stats(services.store, call.caller)
        own = [[method, status, count] for (method, status), count in sorted(services.answered.items())]
        with answering():
            await services.redis.hset(REQUESTS_KEY, str(os.getpid()), msgspec.json.encode(own))
            await services.redis.expire(REQUESTS_KEY, 3_600)
            kept: dict[bytes, bytes] = await services.redis.hgetall(REQUESTS_KEY)
        lines = ["# TYPE swarmsync_jobs gauge"]
        lines += [f'swarmsync_jobs{{state="{state}"}} {count}' for state, count in sorted(found.jobs.items())]
        lines += ["# TYPE swarmsync_workers gauge"]
        lines += [f'swarmsync_workers{{liveness="{name}"}} {count}' for name, count in sorted(found.workers.items())]
        lines += ["# TYPE swarmsync_jobs_finished_last_minute gauge"]
        lines += [f"swarmsync_jobs_finished_last_minute {found.finished_last_minute}"]
        lines += ["# TYPE swarmsync_http_requests_total counter"]
        for process, raw in sorted(kept.items()):
            for method, status, count in msgspec.json.decode(raw, type=list[tuple[str, int, int]]):
                labels = f'process="{process.decode()}",method="{method}",status="{status}"'
                lines.append(f"swarmsync_http_requests_total{{{labels}}} {count}")
        call.response.content_type = "text/plain; version=0.0.4; charset=utf-8"
        call.response.data = ("\n".join(lines) + "\n").encode()


class OpenApi(Resource):
    """`document` is made once all routes are known."""

    document: bytes = b"{}"

    @endpoint(Access.USER, "This description of the API", answer="OpenAPI 3.1")
    async def on_get(self, call: Call) -> Any:  # noqa: ARG002 a handler's form
        return self.document
