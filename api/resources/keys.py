"""`/v1/keys`: the public halves of the keys that people log in with. Core never sees a private one."""

import base64
import binascii
from typing import Annotated, Any

from msgspec import Meta, Struct

from api import documents, query_strings
from api.access import Access
from api.answers.pages import Page
from api.endpoint import Call, Resource, endpoint
from api.resources.tokens import PageQuery
from api.resources.users import Password, check_again, owner_id
from swarmsync import ids
from swarmsync.clock import rfc3339
from swarmsync.errors import FieldError, NotFound, SpecError
from swarmsync.protocol import challenge
from swarmsync.store import credentials
from swarmsync.store.lists import Row


class NewKey(Struct, frozen=True, forbid_unknown_fields=True):
    """`public_key` is the 32 bytes of an Ed25519 key in Base64; `password` is the caller's own, said again."""

    name: Annotated[str, Meta(pattern="^[a-zA-Z0-9][a-zA-Z0-9@_.-]{0,62}$")]
    public_key: Annotated[str, Meta(min_length=1, max_length=128)]
    password: Password | None = None
    user: Annotated[str, Meta(max_length=63)] = ""


class KeyDocument(Struct, frozen=True):
    id: str
    name: str
    user: str
    key_id: str
    created_at: str | None


class Keys(Resource):
    @endpoint(Access.USER, "List one's login keys; administrators see all", query=PageQuery, answer=Page[KeyDocument])
    async def on_get(self, call: Call) -> Any:
        query: PageQuery = call.query
        before = query_strings.cursor("cursor", query.cursor) or (1 << 63) - 1
        rows = await credentials.keys(call.services.store, call.caller, before=before, limit=query.limit)
        items = [_document(row) for row in rows[: query.limit]]
        return {"items": items, "next_cursor": items[-1].id if len(rows) > query.limit else None}

    @endpoint(Access.USER, "Let a key log in", body=NewKey, answer=KeyDocument, status=201)
    async def on_post(self, call: Call) -> Any:
        wanted = await call.document(NewKey)
        public_key = _public_key(wanted.public_key)
        owner = await owner_id(call, wanted.user)
        await check_again(call, wanted.password, "$.password")
        services = call.services
        new_id = (await services.id_source(call.caller))()
        await credentials.add_key(
            services.store,
            call.caller,
            new_id,
            owner_id=owner,
            name=wanted.name,
            key_id=challenge.key_id(public_key),
            public_key=public_key,
        )
        row = await _find(call, ids.encode(new_id))
        await call.audit("key added", wanted.name, user=row["username"], key_id=row["key_id"])
        return _document(row)


class OneKey(Resource):
    @endpoint(Access.USER, "Show a login key, by id, name or fingerprint", answer=KeyDocument)
    async def on_get(self, call: Call, key: str) -> Any:
        return _document(await _find(call, key))

    @endpoint(Access.USER, "Let a key log in no more; sessions that it began stay", status=204)
    async def on_delete(self, call: Call, key: str) -> None:
        row = await _find(call, key)
        await credentials.remove_key(call.services.store, call.caller, row["id"])
        await call.audit("key removed", row["name"], user=row["username"], key_id=row["key_id"])


def _public_key(text: str) -> bytes:
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if challenge.is_weak(found):
        raise SpecError([FieldError("$.public_key", "is not an Ed25519 public key: 32 bytes in Base64, of full order")])
    return found


async def _find(call: Call, text: str) -> Row:
    row = await credentials.key(call.services.store, call.caller, row_id=ids.decode(text), text=text)
    if row is None:
        raise NotFound(f"there is no key {text[:63]!r}")
    return row


def _document(row: Row) -> KeyDocument:
    return KeyDocument(
        documents.text_id(row["id"]) or "", row["name"], row["username"], row["key_id"], rfc3339(row["created_at"])
    )
