"""`/v1/secrets`: set, list by name, delete. Nothing here, or anywhere, gives a value back."""

import base64
import binascii
import re
from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from api.access import Access
from api.answers.pages import Page
from api.answers.system import SecretDocument
from api.endpoint import Call, Resource, endpoint
from swarmsync.clock import rfc3339
from swarmsync.errors import FieldError, SpecError
from swarmsync.model.files import SECRET_NAME
from swarmsync.store import secrets, users
from swarmsync.store.lists import Row

VALUE_BYTES_MAX: Final = 64 << 10
_NAME: Final = re.compile(SECRET_NAME)


class SecretsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 100
    cursor: str = ""


class SecretValue(Struct, frozen=True, forbid_unknown_fields=True):
    """One of the two: `value` as text, or `value_b64` for any bytes; 64 KiB at most."""

    value: str | UnsetType = UNSET
    value_b64: str | UnsetType = UNSET

    def __repr__(self) -> str:
        return "SecretValue(***)"


class NewSecret(Struct, frozen=True, forbid_unknown_fields=True):
    """A secret's name and its value, as in SecretValue."""

    name: str
    value: str | UnsetType = UNSET
    value_b64: str | UnsetType = UNSET

    def __repr__(self) -> str:
        return f"NewSecret(name={self.name!r}, ***)"


class Secrets(Resource):
    @endpoint(
        Access.USER, "List your secrets: names and dates, never values", query=SecretsQuery, answer=Page[SecretDocument]
    )
    async def on_get(self, call: Call) -> Any:
        query: SecretsQuery = call.query
        rows = await secrets.page(call.services.store, call.caller, after=query.cursor, limit=query.limit)
        items = [_document(row) for row in rows[: query.limit]]
        return {"items": items, "next_cursor": items[-1]["name"] if len(rows) > query.limit else None}

    @endpoint(Access.USER, "Set or replace a secret", body=NewSecret, answer=SecretDocument, status=201)
    async def on_post(self, call: Call) -> Any:
        given = await call.document(NewSecret)
        return await _put(call, given.name, given)


class OneSecret(Resource):
    @endpoint(Access.USER, "Set or replace a secret", body=SecretValue, answer=SecretDocument)
    async def on_put(self, call: Call, secret: str) -> Any:
        return await _put(call, secret, await call.document(SecretValue))

    @endpoint(Access.USER, "Delete a secret; jobs that name it and have not started end with InputMissing", status=204)
    async def on_delete(self, call: Call, secret: str) -> None:
        await secrets.remove(call.services.store, call.caller, secret)
        await users.audit(call.services.store, call.caller.user_id, "secret deleted", secret)


async def _put(call: Call, name: str, given: SecretValue | NewSecret) -> Any:
    if not _NAME.fullmatch(name):
        sentence = f"{name[:80]!r} is no name of a secret; use 1-128 letters, digits, '.', '_' and '-'"
        raise SpecError([FieldError("$.name", sentence)])
    services, caller = call.services, call.caller
    new_id = (await services.id_source(caller))()
    row = await secrets.put(services.store, caller, services.sealer, new_id, name, _value_of(given))
    await users.audit(services.store, caller.user_id, "secret set", name)
    return _document(row)


def _value_of(given: SecretValue | NewSecret) -> bytes:
    """Return the bytes. Raises SpecError, which never quotes them."""
    if (given.value is UNSET) == (given.value_b64 is UNSET):
        raise SpecError([FieldError("$.value", "give value, or value_b64 for what is no text")])
    field, value = "$.value", b""
    if given.value is not UNSET:
        value = given.value.encode()
    elif given.value_b64 is not UNSET:
        field = "$.value_b64"
        try:
            value = base64.b64decode(given.value_b64, validate=True)
        except (binascii.Error, ValueError):
            raise SpecError([FieldError(field, "is not base64")]) from None
    if not 0 < len(value) <= VALUE_BYTES_MAX:
        raise SpecError([FieldError(field, f"a secret has 1 to {VALUE_BYTES_MAX} bytes; this one has {len(value)}")])
    return value


def _document(row: Row) -> SecretDocument:
    return {"name": row["name"], "created_at": rfc3339(row["created_at"]), "updated_at": rfc3339(row["updated_at"])}
