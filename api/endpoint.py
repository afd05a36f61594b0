"""From HTTP to a handler and back: every responder declares who may call it, what it takes and what it answers.

A handler gets a Call and returns what is to be sent: a value that becomes JSON, bytes that are JSON already, or None
when it has filled the response itself. The declarations are also what `/v1/openapi.json` is made from.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, TypeVar

import msgspec
from falcon.asgi import Request, Response
from msgspec import Struct

from api import query_strings, scopes, strict_json
from api.access import LOCAL_READER, Access, Identity, is_local
from api.problems import WrongMediaType
from api.query_strings import NoQuery
from api.services import Services
from swarmsync.errors import FieldError, NotAllowed, NotFound, SpecError
from swarmsync.model.fields import dec_hook
from swarmsync.protocol.codec import encode_json, explain
from swarmsync.store import users
from swarmsync.store.users import Caller

T = TypeVar("T")
Responder = Callable[..., Awaitable[None]]
JSON: Final = "application/json"
#: What `curl -d` says unless told otherwise; whoever types that sends JSON. Sessions are in a header, not in a cookie,
#: so that a form of a foreign page gains nothing by it.
CURLS_OWN: Final = "application/x-www-form-urlencoded"


class Endpoint(Struct, frozen=True):
    """What a route says of itself. `body` and `answer` are types, or sentences where there is no type.

    `answer` of a stream is the type of one line or event of it; `media` says what kind of stream.
    """

    access: Access
    summary: str
    query: type[Struct]
    body: Any
    answer: Any
    status: int
    media: str = JSON


class Resource:
    """Handlers that share the services of their process."""

    def __init__(self, services: Callable[[], Services]) -> None:
        self._services = services


class Call:
    """One request: who calls, with which parameters, and the response that is being made."""

    def __init__(
        self, request: Request, response: Response, services: Services, identity: Identity | None, query: Any
    ) -> None:
        self.request = request
        self.response = response
        self.services = services
        self.query = query
        self._identity = identity

    @property
    def identity(self) -> Identity:
        assert self._identity is not None, "a public route has no caller"
        return self._identity

    @property
    def caller(self) -> Caller:
        return self.identity.caller

    def require_admin(self, otherwise: str) -> None:
        """Raise NotAllowed for who is no administrator, and for a token without the scope users:admin."""
        if self.caller.role != "admin":
            raise NotAllowed(f"this is for administrators; {otherwise}")
        if not scopes.grants(self.identity.scopes, "users:admin"):
            raise NotAllowed(f"the token {self.identity.name!r} lacks the scope users:admin")

    async def audit(self, action: str, subject: str = "", *, user_id: int | None = None, **detail: str) -> None:
        """Write a line of the audit log: who, from where, with which token; `user_id` where nobody is logged in yet."""
        identity = self._identity
        if identity is not None and identity.kind == "token":
            detail["token"] = identity.name
        detail["address"] = self.address
        by = identity.caller.user_id if identity is not None else user_id
        await users.audit(self.services.store, by, action, subject, detail)

    @property
    def address(self) -> str:
        """Where the request came from: the client, or the proxy before this."""
        return self.request.remote_addr or ""

    async def body(self) -> bytes:
        """Return the body. Raises TooLarge, or WrongMediaType for what is not plain JSON."""
        kind = (self.request.content_type or JSON).partition(";")[0].strip().lower()
        if kind not in (JSON, CURLS_OWN) and not (kind.startswith("application/") and kind.endswith("+json")):
            raise WrongMediaType(f"the body is {kind[:60]}; send JSON with the header Content-Type: {JSON}")
        coding = (self.request.get_header("Content-Encoding") or "identity").strip().lower()
        if coding != "identity":
            raise WrongMediaType(f"the body is compressed ({coding[:20]}); send it plain")
        limit = self.services.config.body_max_bytes
        return await strict_json.read_body(_chunks(self.request), self.request.content_length, limit)

    async def document(self, kind: type[T], *, optional: bool = False) -> T:
        """Return the body as `kind`. Raises MalformedJson, or SpecError that names the wrong fields."""
        content = await self.body()
        raw = {} if optional and not content.strip() else strict_json.decode(content)
        return convert(raw, kind)


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    async for chunk in request.stream:
        yield chunk


def convert(raw: Any, kind: type[T], root: str = "$") -> T:
    """Read plain JSON values as `kind`. Raises SpecError that names the wrong field and its neighbours."""
    try:
        return msgspec.convert(raw, kind, dec_hook=dec_hook)
    except msgspec.ValidationError as error:
        known = list(getattr(kind, "__struct_fields__", ()))
        message, _, place = str(error).partition(" - at `")
        if message.startswith("Object contains unknown field `"):
            unknown = message.removeprefix("Object contains unknown field `").rstrip("`")
            sentence = f"is not a known field; known are {', '.join(known)}"
            raise SpecError([FieldError(f"{root}{place.rstrip('`').removeprefix('$')}.{unknown}", sentence)]) from None
        raise SpecError([explain(str(error), root, kind=kind)]) from None


def endpoint(
    access: Access,
    summary: str,
    *,
    query: type[Struct] = NoQuery,
    body: Any = None,
    answer: Any = None,
    status: int = 200,
    media: str = JSON,
    open_to_loopback: bool = False,
) -> Callable[[Callable[..., Awaitable[Any]]], Responder]:
    """Make a Falcon responder of a handler `(self, call, **path) -> answer`.

    `open_to_loopback`: programs on this machine need no token where `api.open_metrics` says so.
    """

    def wrap(handler: Callable[..., Awaitable[Any]]) -> Responder:
        async def responder(self: Any, request: Request, response: Response, **path: str) -> None:
            services: Services = self._services()
            if open_to_loopback and services.config.open_metrics and is_local(request):
                identity: Identity | None = LOCAL_READER
            else:
                identity = await services.gate.admit(request, access)
            _check_path(path)
            call = Call(request, response, services, identity, query_strings.read(request, query))
            response.status = status
            result = await handler(self, call, **path)
            if result is not None:
                response.content_type = JSON
                response.data = result if isinstance(result, bytes) else encode_json(result)

        responder.__doc__ = handler.__doc__
        responder.endpoint = Endpoint(access, summary, query, body, answer, status, media)  # type: ignore[attr-defined]
        return responder

    return wrap


def _check_path(path: dict[str, str]) -> None:
    """Raise NotFound for an address that no name can have: PostgreSQL takes neither NUL nor what is no Unicode."""
    for text in path.values():
        if "\x00" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
            raise NotFound("there is nothing at this address")


def declared(responder: Any) -> Endpoint | None:
    """Return what a responder declares; None for one that was written without `endpoint`."""
    found: Endpoint | None = getattr(responder, "endpoint", None)
    return found
