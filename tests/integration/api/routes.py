"""Every route of the application with what a test needs to call it; a new route fails the tests until it is here."""

import base64
from collections.abc import Iterator
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Struct

from api import app as application
from api import scopes
from api.access import Access
from api.endpoint import declared
from swarmsync import ids

PASSWORD = "correct horse battery"
SPEC = {"image": "alpine:3.20", "command": ["true"]}
SCHEDULE = {"cron": "0 0 1 1 *", "timezone": "UTC", **SPEC}
WEBHOOK = {"url": "https://hooks.example/swarm"}
#: What a route is called with; a route that takes a body and is not here fails the tests.
BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/v1/auth/login"): {"username": "nobody", "password": "x"},
    ("POST", "/v1/auth/challenge"): {"username": "nobody", "key_id": "0" * 32},
    ("POST", "/v1/auth/verify"): {"challenge_id": "x", "signature": "x"},
    ("POST", "/v1/users"): {"username": "made-by-matrix"},
    ("PATCH", "/v1/users/{user}"): {"password": "another long password"},
    ("POST", "/v1/tokens"): {"name": "matrix", "scopes": ["jobs:read"], "days": 1},
    ("POST", "/v1/keys"): {"name": "matrix", "public_key": base64.b64encode(bytes(32)).decode()},
    ("POST", "/v1/jobs"): SPEC,
    ("POST", "/v1/jobs/validate"): SPEC,
    ("POST", "/v1/jobs/plan"): SPEC,
    ("PATCH", "/v1/jobs/{job}"): {"priority": 1},
    ("POST", "/v1/jobs/{job}/cancel"): {},
    ("POST", "/v1/jobs/{job}/kill"): {},
    ("POST", "/v1/jobs/{job}/hold"): {},
    ("POST", "/v1/jobs/{job}/release"): {},
    ("POST", "/v1/jobs/{job}/rerun"): {},
    ("POST", "/v1/schedules"): SCHEDULE,
    ("POST", "/v1/schedules/preview"): {"cron": "0 0 1 1 *"},
    ("PATCH", "/v1/schedules/{schedule}"): {"jitter": "1m"},
    ("POST", "/v1/schedules/{schedule}/pause"): {},
    ("POST", "/v1/schedules/{schedule}/resume"): {},
    ("POST", "/v1/schedules/{schedule}/trigger"): {},
    ("POST", "/v1/secrets"): {"name": "matrix", "value": "x"},
    ("PUT", "/v1/secrets/{secret}"): {"value": "x"},
    ("POST", "/v1/webhooks"): WEBHOOK,
    ("PATCH", "/v1/webhooks/{webhook}"): {"queue": "default"},
    ("POST", "/v1/webhooks/{webhook}/test"): {},
    ("POST", "/v1/deliveries/{delivery}/replay"): {},
    ("POST", "/v1/workers"): {},
    ("PATCH", "/v1/workers/{worker}"): {"labels": {"zone": "eu"}},
    ("POST", "/v1/workers/{worker}/drain"): {},
    ("PUT", "/v1/registries/{registry}"): {"username": "x", "password": "y"},
    ("POST", "/v1/queues"): {"name": "matrix"},
    ("PATCH", "/v1/queues/{queue}"): {"weight": 2},
    ("POST", "/v1/queues/{queue}/pause"): {},
    ("POST", "/v1/queues/{queue}/resume"): {},
    ("PUT", "/v1/policies/{scope}/{name}"): {},
    ("PATCH", "/v1/users/{user}/limits"): {"max_running": 100},
    ("POST", "/v1/logs"): {"level": "info", "message": "x"},
    ("PATCH", "/v1/logs/{record}"): {"level": "info"},
}
#: What a route cannot do without; streams end at once.
QUERIES = {"/v1/events": "follow=0&after=0", "/v1/limits/holders": "kind=queue&name=default"}
#: Path parameters that name what no user owns.
SHARED = {
    "worker": "matrix",
    "record": "0000000000001",
    "module": "scheduler",
    "queue": "matrix",
    "registry": "registry.example",
    "kind": "queue",
    "scope": "queue",
    "name": "default",
    "output": "out",
}


class Route(Struct, frozen=True):
    method: str
    path: str
    access: Access
    scope: str
    takes_body: bool

    @property
    def parameters(self) -> list[str]:
        return [part[1:-1] for part in self.path.split("/") if part.startswith("{")]

    @property
    def body(self) -> Any:
        if self.takes_body:
            assert (self.method, self.path) in BODIES, f"give {self.method} {self.path} a body in routes.py"
        return BODIES.get((self.method, self.path))

    def target(self, **values: str) -> str:
        query = QUERIES.get(self.path)
        return self.path.format(**{**SHARED, **values}) + (f"?{query}" if query else "")

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def routes() -> Iterator[Route]:
    for path, kind, suffix in application.ROUTES:
        for method in application.METHODS:
            responder = getattr(kind, f"on_{method.lower()}{f'_{suffix}' if suffix else ''}", None)
            if responder is not None:
                entry = declared(responder)
                public = entry.access is Access.PUBLIC
                scope = "" if public else scopes.needed(method, path)
                yield Route(method, path, entry.access, scope, takes_body=entry.body is not None)


ALL = list(routes())


def near(text_id: str) -> str:
    """An id of the same form that nobody has."""
    return ids.encode(ids.decode(text_id) ^ 1)


async def make(api: Any, kind: str, name: str) -> str:
    """Make a thing of this kind that the caller owns; return how its address names it."""
    match kind:
        case "job":
            return (await api.submit(name=name))["id"]
        case "schedule":
            return (await api.post("/v1/schedules", {**SCHEDULE, "name": name})).json["id"]
        case "token":
            made = await api.post("/v1/tokens", {"name": name, "scopes": ["jobs:read"], "days": 1})
            return made.json["id"]
        case "key":
            public = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
            body = {"name": name, "public_key": base64.b64encode(public).decode(), "password": PASSWORD}
            return (await api.post("/v1/keys", body)).json["id"]
        case "session":
            who = (await api.get("/v1/auth/session")).json["username"]
            made = await api.post("/v1/auth/login", {"username": who, "password": PASSWORD})
            assert made.status == 200, made.text
            return (await api.by(made.json["token"]).get("/v1/auth/sessions")).json["items"][0]["id"]
        case "secret":
            return (await api.post("/v1/secrets", {"name": name, "value": "x"})).json["name"]
        case "webhook":
            return (await api.post("/v1/webhooks", {"url": f"https://hooks.example/{name}"})).json["id"]
        case "delivery":
            hook = await make(api, "webhook", name)
            return (await api.post(f"/v1/webhooks/{hook}/test", {})).json["id"]
        case "user":
            return (await api.get("/v1/auth/session")).json["username"]
        case _:
            raise LookupError(f"say in routes.py how a {kind} is made, or that nobody owns it")


def nobodys(kind: str, theirs: str) -> str:
    """The name of nothing, as long as the name of the thing."""
    if kind in ("user", "secret"):
        return "x" * len(theirs)
    if kind == "session":
        return "0" * len(theirs)
    return near(theirs)
