"""`/v1/policies`: what the jobs of a user or a queue may loosen. Admins only; every change is audited."""

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from api.access import Access
from api.answers.pages import Page
from api.answers.system import PolicyDocument
from api.endpoint import Call, Resource, endpoint
from swarmsync.clock import rfc3339
from swarmsync.errors import NotFound
from swarmsync.model.policy import Allowance
from swarmsync.store import policies
from swarmsync.store.lists import Row

SCOPES: Final = ("user", "queue")
_OTHERWISE: Final = "ask one to change a policy"


class PoliciesQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """There are few: `cursor` is always empty, and `limit` cuts the list."""

    limit: Annotated[int, Meta(ge=1, le=1_000)] = 1_000
    cursor: Annotated[str, Meta(max_length=0)] = ""


class Policies(Resource):
    @endpoint(Access.OPERATOR, "List policies", query=PoliciesQuery, answer=Page[PolicyDocument])
    async def on_get(self, call: Call) -> Any:
        rows = await policies.page(call.services.store, call.caller)
        return {"items": [_document(row) for row in rows[: call.query.limit]], "next_cursor": None}


class OnePolicy(Resource):
    @endpoint(
        Access.OPERATOR,
        "Allow, or demand, something of a user's or a queue's jobs",
        body=Allowance,
        answer=PolicyDocument,
    )
    async def on_put(self, call: Call, scope: str, name: str) -> Any:
        """It replaces what was allowed before; jobs that were submitted already keep what they were given."""
        call.require_admin(_OTHERWISE)
        allows: Allowance = await call.document(Allowance)
        row = await policies.put(call.services.store, call.caller, _scope(scope), name, allows)
        await call.services.hub.tell_limits_changed()
        await call.audit("policy set", f"{scope} {name}", allows=msgspec.json.encode(allows).decode())
        return _document(row)

    @endpoint(Access.OPERATOR, "Take a policy back", status=204)
    async def on_delete(self, call: Call, scope: str, name: str) -> None:
        call.require_admin(_OTHERWISE)
        await policies.remove(call.services.store, call.caller, _scope(scope), name)
        await call.services.hub.tell_limits_changed()
        await call.audit("policy deleted", f"{scope} {name}")


def _scope(text: str) -> str:
    if text not in SCOPES:
        raise NotFound(f"policies are for a user or a queue, not for {text[:40]!r}")
    return text


def _document(row: Row) -> dict[str, Any]:
    allows = msgspec.to_builtins(msgspec.json.decode(row["allows"], type=Allowance))
    return {"scope": row["scope"], "name": row["name"], **allows, "updated_at": rfc3339(row["updated_at"])}
