"""`/v1/registries`: logins of image registries, for operators. A password is taken, sealed, and never shown again."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from api.access import Access
from api.answers.pages import Page
from api.endpoint import Call, Resource, endpoint
from swarmsync.clock import rfc3339
from swarmsync.errors import FieldError, NotFound, SpecError
from swarmsync.model.registries import REGISTRY, purpose_of
from swarmsync.seal import Sealer
from swarmsync.store import registries

Text = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f]*$")]


class NewLogin(Struct, frozen=True, forbid_unknown_fields=True):
    """What `docker login` asks for."""

    username: Text
    password: Text

    def __repr__(self) -> str:
        return f"NewLogin(username={self.username!r}, password=***)"


class PageQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """There are few: one page has them all."""

    limit: Annotated[int, Meta(ge=1, le=1_000)] = 1_000
    cursor: str = ""


class LoginDocument(Struct, frozen=True):
    registry: str
    username: str
    changed_at: str | None


class Registries(Resource):
    @endpoint(Access.OPERATOR, "List registries with a login", query=PageQuery, answer=Page[LoginDocument])
    async def on_get(self, call: Call) -> Any:
        query: PageQuery = call.query
        rows = await registries.page(call.services.store, call.caller)
        later = [row for row in rows if row["registry"] > query.cursor]
        items = [LoginDocument(row["registry"], row["username"], rfc3339(row["changed_at"])) for row in later]
        items = items[: query.limit]
        return {"items": items, "next_cursor": items[-1].registry if len(later) > query.limit else None}


class OneRegistry(Resource):
    @endpoint(Access.OPERATOR, "Set the login of a registry, say 127.0.0.1:5000", body=NewLogin, answer=LoginDocument)
    async def on_put(self, call: Call, registry: str) -> Any:
        name = registry.lower()
        if not REGISTRY.fullmatch(name):
            sentence = f"{registry[:60]!r} is no registry; name it as images do, say docker.io or 127.0.0.1:5000"
            raise SpecError([FieldError("$.registry", sentence)])
        wanted = await call.document(NewLogin)
        sealer = Sealer.of(call.services.config.seal_keys)
        sealed = sealer.seal(wanted.password.encode(), purpose_of(name, wanted.username))
        await registries.put(call.services.store, call.caller, name, wanted.username, sealed)
        await call.audit("registry login set", name)
        rows = await registries.page(call.services.store, call.caller)
        changed = next(row["changed_at"] for row in rows if row["registry"] == name)
        return LoginDocument(name, wanted.username, rfc3339(changed))

    @endpoint(Access.OPERATOR, "Forget the login of a registry", status=204)
    async def on_delete(self, call: Call, registry: str) -> None:
        if not await registries.remove(call.services.store, call.caller, registry.lower()):
            raise NotFound(f"there is no login for the registry {registry[:60]!r}")
        await call.audit("registry login removed", registry.lower())
