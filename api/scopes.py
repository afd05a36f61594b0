"""What an API token may be limited to, and which scope each route needs. A route that this misses stops the start.

Sessions and tokens of scope `*` may whatever their user may; a scope never adds to that.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from swarmsync.store.users import EVERYTHING

SCOPES: Final[Mapping[str, str]] = {
    "jobs:read": "see jobs, why they wait, results, outputs, counts and events",
    "jobs:write": "submit, change, hold, release, rerun and delete jobs",
    "jobs:cancel": "cancel and kill jobs",
    "logs:read": "read what jobs wrote, and the system log",
    "logs:write": "write, change and delete records of the system log",
    "schedules:read": "see schedules and their history",
    "schedules:write": "create, change, pause, trigger and delete schedules",
    "queues:read": "see queues, limits and who holds their slots",
    "queues:admin": "create, change and delete queues",
    "secrets:read": "see the names of secrets; no scope shows a value",
    "secrets:write": "set and delete secrets",
    "webhooks:read": "see webhooks and what was delivered",
    "webhooks:write": "create, change, test, replay and delete webhooks",
    "policies:read": "see what jobs may loosen",
    "policies:admin": "let jobs loosen their containers",
    "workers:read": "see workers",
    "workers:admin": "cordon, drain and register workers",
    "registries:read": "see which registries have a login; no scope shows a password",
    "registries:admin": "set and delete logins of registries",
    "system:read": "see modules and metrics",
    "account:read": "see the own user, tokens, keys and sessions",
    "account:write": "change the own password, make and revoke tokens, keys and sessions",
    "users:admin": "manage users",
    "audit:read": "read and verify the audit log",
}


class Area(NamedTuple):
    """The scopes of the routes below a path: for GET, and for all that changes something."""

    read: str
    write: str


#: Routes that a valid token of any scope may call.
ANY_TOKEN: Final = ""
_AREAS: Final[Mapping[str, Area]] = {
    "/v1/jobs": Area("jobs:read", "jobs:write"),
    "/v1/events": Area("jobs:read", "jobs:read"),
    "/v1/stats": Area("jobs:read", "jobs:read"),
    "/v1/schedules": Area("schedules:read", "schedules:write"),
    "/v1/queues": Area("queues:read", "queues:admin"),
    "/v1/limits": Area("queues:read", "queues:admin"),
    "/v1/secrets": Area("secrets:read", "secrets:write"),
    "/v1/webhooks": Area("webhooks:read", "webhooks:write"),
    "/v1/deliveries": Area("webhooks:read", "webhooks:write"),
    "/v1/policies": Area("policies:read", "policies:admin"),
    "/v1/workers": Area("workers:read", "workers:admin"),
    "/v1/registries": Area("registries:read", "registries:admin"),
    "/v1/logs": Area("logs:read", "logs:write"),
    "/v1/modules": Area("system:read", "system:read"),
    "/v1/durability": Area("system:read", "system:read"),
    "/v1/cores": Area("system:read", "system:read"),
    "/metrics": Area("system:read", "system:read"),
    "/v1/users": Area("account:read", "users:admin"),
    "/v1/tokens": Area("account:read", "account:write"),
    "/v1/keys": Area("account:read", "account:write"),
    "/v1/auth/sessions": Area("account:read", "account:write"),
    "/v1/auth/session": Area(ANY_TOKEN, ANY_TOKEN),
    "/v1/openapi.json": Area(ANY_TOKEN, ANY_TOKEN),
    "/v1/audit": Area("audit:read", "audit:read"),
}
#: Routes that need another scope than their neighbours.
_ROUTES: Final[Mapping[tuple[str, str], str]] = {
    ("POST", "/v1/jobs/validate"): "jobs:read",
    ("POST", "/v1/jobs/plan"): "jobs:read",
    ("POST", "/v1/jobs/{job}/cancel"): "jobs:cancel",
    ("POST", "/v1/jobs/{job}/kill"): "jobs:cancel",
    ("GET", "/v1/jobs/{job}/logs"): "logs:read",
    ("POST", "/v1/schedules/preview"): "schedules:read",
    ("PATCH", "/v1/users/{user}"): "account:write",
    ("POST", "/v1/users/{user}/logout"): "account:write",
}


def needed(method: str, path: str) -> str:
    """Return the scope of a route. Raises LookupError for one that nobody has thought of."""
    if (method, path) in _ROUTES:
        return _ROUTES[method, path]
    area = next((area for prefix, area in _AREAS.items() if path == prefix or path.startswith(f"{prefix}/")), None)
    if area is None:
        raise LookupError(f"{method} {path} has no scope; add its area to api/scopes.py")
    return area.read if method == "GET" else area.write


def grants(held: Iterable[str], scope: str) -> bool:
    """Tell whether `scope` is among those held: by its name, as a member of `area:*`, or by `*`."""
    return scope == ANY_TOKEN or not {scope, f"{scope.partition(':')[0]}:*", EVERYTHING}.isdisjoint(held)


def unknown(names: Iterable[str]) -> list[str]:
    """Return those of `names` that are no scope."""
    areas = {f"{name.partition(':')[0]}:*" for name in SCOPES}
    return [name for name in names if name not in SCOPES and name not in areas and name != EVERYTHING]
