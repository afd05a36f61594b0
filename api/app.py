"""The API: a Falcon ASGI application. Read `ROUTES`, then `endpoint.py`, then any file of `resources/`.

`create_app` connects to nothing; that happens in the life span of the server process, after it was forked.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from falcon.asgi import App, Request, Response

from api import config as configuration
from api import problems, scopes
from api.access import Access
from api.config import ApiConfig
from api.endpoint import Resource, declared
from api.openapi import RouteEntry
from api.resources import (
    audit,
    auth,
    cores,
    dashboard,
    events,
    health,
    job,
    job_actions,
    job_logs,
    job_outputs,
    job_why,
    jobs,
    key_login,
    keys,
    limits,
    logs,
    metrics,
    overview,
    policies,
    queues,
    registries,
    schedules,
    secrets,
    tokens,
    users,
    webhooks,
    workers,
)
from api.services import Services
from api.streams import RECEIVE, Receive

#: (path, resource, suffix of its responders)
ROUTES: Final[tuple[tuple[str, type[Resource], str | None], ...]] = (
    ("/v1/auth/login", auth.Login, None),
    ("/v1/auth/challenge", key_login.Challenge, None),
    ("/v1/auth/verify", key_login.Verify, None),
    ("/v1/auth/session", auth.OwnSession, None),
    ("/v1/auth/sessions", auth.OwnSessions, None),
    ("/v1/auth/sessions/{session}", auth.OneSession, None),
    ("/v1/users", users.Users, None),
    ("/v1/users/{user}", users.OneUser, None),
    ("/v1/users/{user}/logout", users.OneUser, "logout"),
    ("/v1/tokens", tokens.Tokens, None),
    ("/v1/tokens/{token}", tokens.OneToken, None),
    ("/v1/keys", keys.Keys, None),
    ("/v1/keys/{key}", keys.OneKey, None),
    ("/v1/audit", audit.Entries, None),
    ("/v1/audit/verify", audit.Check, None),
    ("/v1/jobs", jobs.Jobs, None),
    ("/v1/jobs/validate", jobs.Validate, None),
    ("/v1/jobs/plan", job_why.Plan, None),
    ("/v1/jobs/{job}", job.OneJob, None),
    ("/v1/jobs/{job}/cancel", job_actions.Cancel, None),
    ("/v1/jobs/{job}/kill", job_actions.Cancel, "kill"),
    ("/v1/jobs/{job}/hold", job_actions.Hold, None),
    ("/v1/jobs/{job}/release", job_actions.Hold, "release"),
    ("/v1/jobs/{job}/rerun", job_actions.Rerun, None),
    ("/v1/jobs/{job}/why", job_why.Why, None),
    ("/v1/jobs/{job}/logs", job_logs.Logs, None),
    ("/v1/jobs/{job}/result", job.Result, None),
    ("/v1/jobs/{job}/outputs", job_outputs.Outputs, None),
    ("/v1/jobs/{job}/outputs/{output}", job_outputs.OneOutput, None),
    ("/v1/jobs/{job}/verify", job_outputs.Verify, None),
    ("/v1/schedules", schedules.Schedules, None),
    ("/v1/schedules/preview", schedules.Preview, None),
    ("/v1/schedules/{schedule}", schedules.OneSchedule, None),
    ("/v1/schedules/{schedule}/pause", schedules.OneSchedule, "pause"),
    ("/v1/schedules/{schedule}/resume", schedules.OneSchedule, "resume"),
    ("/v1/schedules/{schedule}/trigger", schedules.OneSchedule, "trigger"),
    ("/v1/schedules/{schedule}/history", schedules.OneSchedule, "history"),
    ("/v1/workers", workers.Workers, None),
    ("/v1/workers/{worker}", workers.OneWorker, None),
    ("/v1/workers/{worker}/cordon", workers.OneWorker, "cordon"),
    ("/v1/workers/{worker}/uncordon", workers.OneWorker, "uncordon"),
    ("/v1/workers/{worker}/drain", workers.OneWorker, "drain"),
    ("/v1/workers/{worker}/revoke", workers.OneWorker, "revoke"),
    ("/v1/registries", registries.Registries, None),
    ("/v1/registries/{registry}", registries.OneRegistry, None),
    ("/v1/logs", logs.LogRecords, None),
    ("/v1/logs/{record}", logs.OneRecord, None),
    ("/v1/secrets", secrets.Secrets, None),
    ("/v1/secrets/{secret}", secrets.OneSecret, None),
    ("/v1/webhooks", webhooks.Webhooks, None),
    ("/v1/webhooks/{webhook}", webhooks.OneWebhook, None),
    ("/v1/webhooks/{webhook}/test", webhooks.OneWebhook, "test"),
    ("/v1/webhooks/{webhook}/deliveries", webhooks.Deliveries, None),
    ("/v1/deliveries/{delivery}", webhooks.OneDelivery, None),
    ("/v1/deliveries/{delivery}/replay", webhooks.OneDelivery, "replay"),
    ("/v1/queues", queues.Queues, None),
    ("/v1/queues/{queue}", queues.OneQueue, None),
    ("/v1/queues/{queue}/pause", queues.OneQueue, "pause"),
    ("/v1/queues/{queue}/resume", queues.OneQueue, "resume"),
    ("/v1/limits", limits.Limits, None),
    ("/v1/limits/holders", limits.Holders, "named"),
    ("/v1/limits/{kind}/{name}/holders", limits.Holders, None),
    ("/v1/users/{user}/limits", limits.UserLimits, None),
    ("/v1/policies", policies.Policies, None),
    ("/v1/policies/{scope}/{name}", policies.OnePolicy, None),
    ("/v1/stats", overview.Stats, None),
    ("/v1/stats/history", overview.StatsHistory, None),
    ("/v1/durability", overview.Durability, None),
    ("/v1/modules", overview.Modules, None),
    ("/v1/cores", cores.Cores, None),
    ("/v1/modules/{module}", overview.OneModule, None),
    ("/v1/events", events.Events, None),
    ("/v1/events/history", events.History, None),
    ("/v1/events/snapshot", events.Snapshot, None),
    ("/v1/openapi.json", health.OpenApi, None),
    ("/", dashboard.Dashboard, None),
    ("/static/{file}", dashboard.Dashboard, "file"),
    ("/metrics", metrics.Metrics, None),
    ("/healthz", health.Alive, None),
    ("/readyz", health.Ready, None),
)
METHODS: Final = ("GET", "POST", "PATCH", "PUT", "DELETE")


class LifeSpan:
    """Opens the services after the fork, closes them at the end, and counts what was answered."""

    def __init__(self, config: ApiConfig) -> None:
        self._config = config
        self._services: Services | None = None
        self.stopping: Callable[[], bool] = lambda: False

    def services(self) -> Services:
        assert self._services is not None, "the application was not started"
        return self._services

    def is_stopping(self) -> bool:
        return self.stopping()

    async def process_startup(self, _scope: dict[str, Any], _event: dict[str, Any]) -> None:
        self._services = await Services.open(self._config)
        self._services.stopping = self.is_stopping

    async def process_shutdown(self, _scope: dict[str, Any], _event: dict[str, Any]) -> None:
        if self._services is not None:
            await self._services.close()

    async def process_response(self, request: Request, response: Response, _resource: Any, _succeeded: bool) -> None:  # noqa: FBT001 Falcon's signature
        self.services().answered[request.method, response.status_code] += 1


class Api(App[Request, Response]):
    """`life_span.stopping` is set by the server: streams end when it says so."""

    life_span: LifeSpan

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Callable[[Any], Awaitable[None]]) -> None:  # type: ignore[override]
        """Keep `receive` where streams find it: it says when the client is gone."""
        scope[RECEIVE] = receive
        await super().__call__(scope, receive, send)


def create_app(config: ApiConfig) -> Api:
    """Make the application. Raises AssertionError or LookupError for a responder without access or scope."""
    life_span = LifeSpan(config)
    app = Api(middleware=[life_span])
    app.life_span = life_span
    problems.install(app)
    entries: list[RouteEntry] = []
    made: dict[type[Resource], Resource] = {}
    for path, kind, suffix in ROUTES:
        resource = made.setdefault(kind, kind(life_span.services))
        app.add_route(path, resource, suffix=suffix)
        entries += _entries(path, resource, suffix)
    description = made[health.OpenApi]
    assert isinstance(description, health.OpenApi)
    description.routes = tuple(entries)
    return app


def from_file(path: str) -> Api:
    """Make the application for Gunicorn from the supervisor's file."""
    return create_app(configuration.load(path))


def _entries(path: str, resource: Resource, suffix: str | None) -> list[RouteEntry]:
    found = []
    for method in METHODS:
        responder = getattr(resource, f"on_{method.lower()}{f'_{suffix}' if suffix else ''}", None)
        if responder is not None:
            entry = declared(responder)
            assert entry is not None, f"{method} {path} does not declare who may call it"
            assert entry.access is Access.PUBLIC or scopes.needed(method, path) is not None
            found.append(RouteEntry(method, path, entry))
    return found
