"""`/v1/tokens`: API tokens for programs, with scopes and an end. The text of one is shown once, when it is made."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from api import documents, query_strings, scopes
from api.access import Access
from api.answers.pages import Page
from api.endpoint import Call, Resource, endpoint
from api.resources.users import owner_id
from swarmsync import ids
from swarmsync.clock import rfc3339
from swarmsync.errors import FieldError, NotAllowed, NotFound, SpecError
from swarmsync.store import credentials
from swarmsync.store.lists import Row

DAYS_MAX: Final = 90


class PageQuery(Struct, frozen=True, forbid_unknown_fields=True):
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 100
    cursor: str = ""


class NewToken(Struct, frozen=True, forbid_unknown_fields=True):
    """`scopes` of `["*"]` is everything that its user may; `user` is for administrators."""

    name: Annotated[str, Meta(pattern="^[a-zA-Z0-9][a-zA-Z0-9@_.-]{0,62}$")]
    scopes: Annotated[list[str], Meta(min_length=1, max_length=32)]
    days: Annotated[int, Meta(ge=1, le=DAYS_MAX)]
    user: Annotated[str, Meta(max_length=63)] = ""


class TokenDocument(Struct, frozen=True, omit_defaults=True):
    """An API token. `token` is there only in the answer that made it."""

    id: str
    name: str
    user: str
    scopes: list[str]
    created_at: str | None
    expires_at: str | None
    token: str = ""


class Tokens(Resource):
    @endpoint(Access.USER, "List one's API tokens; administrators see all", query=PageQuery, answer=Page[TokenDocument])
    async def on_get(self, call: Call) -> Any:
        query: PageQuery = call.query
        before = query_strings.cursor("cursor", query.cursor) or (1 << 63) - 1
        rows = await credentials.tokens(call.services.store, call.caller, before=before, limit=query.limit)
        items = [_document(row) for row in rows[: query.limit]]
        return {"items": items, "next_cursor": items[-1].id if len(rows) > query.limit else None}

    @endpoint(Access.USER, "Make an API token", body=NewToken, answer=TokenDocument, status=201)
    async def on_post(self, call: Call) -> Any:
        wanted = await call.document(NewToken)
        unknown = scopes.unknown(wanted.scopes)
        if unknown:
            sentence = f"{unknown[0][:40]!r} is no scope; known are {', '.join(scopes.SCOPES)}, an area's :*, and *"
            raise SpecError([FieldError("$.scopes", sentence)])
        identity = call.identity
        expires_at = datetime.now(UTC) + timedelta(days=wanted.days)
        beyond = [scope for scope in wanted.scopes if not _holds(identity.scopes, scope)]
        if beyond:
            raise NotAllowed(f"this token lacks the scope {beyond[0]} itself")
        if identity.kind == "token" and expires_at > identity.expires_at:
            raise NotAllowed(f"this token ends {rfc3339(identity.expires_at)}; what it makes cannot last longer")
        owner = await owner_id(call, wanted.user)
        services = call.services
        new_id = (await services.id_source(call.caller))()
        text = await credentials.add_token(
            services.store,
            call.caller,
            new_id,
            owner_id=owner,
            name=wanted.name,
            scopes=wanted.scopes,
            expires_at=expires_at,
        )
        row = await _find(call, ids.encode(new_id))
        await call.audit("token created", wanted.name, user=row["username"], scopes=" ".join(wanted.scopes))
        return _document(row, text)


class OneToken(Resource):
    @endpoint(Access.USER, "Show an API token, by id or name", answer=TokenDocument)
    async def on_get(self, call: Call, token: str) -> Any:
        return _document(await _find(call, token))

    @endpoint(Access.USER, "Revoke an API token", status=204)
    async def on_delete(self, call: Call, token: str) -> None:
        row = await _find(call, token)
        await credentials.remove_token(call.services.store, call.caller, row["id"])
        await call.audit("token revoked", row["name"], user=row["username"])


def _holds(held: frozenset[str], scope: str) -> bool:
    """Tell whether all that `scope` opens is held; `area:*` is more than any one of its members."""
    area = f"{scope.partition(':')[0]}:*"
    return bool(held & {scope, area, "*"})


async def _find(call: Call, text: str) -> Row:
    row = await credentials.token(call.services.store, call.caller, token_id=ids.decode(text), name=text)
    if row is None:
        raise NotFound(f"there is no token {text[:63]!r}")
    return row


def _document(row: Row, text: str = "") -> TokenDocument:
    return TokenDocument(
        documents.text_id(row["id"]) or "",
        row["name"],
        row["username"],
        list(row["scopes"]),
        rfc3339(row["created_at"]),
        rfc3339(row["expires_at"]),
        text,
    )
