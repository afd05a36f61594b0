"""Who calls: the bearer token of a request, looked up and cached for seconds; and passwords, checked off the loop.

Fails closed: without Redis or PostgreSQL nobody who is not known already gets in (503). A log-out, a disabled user or a
changed password is felt everywhere within CACHE_S.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from enum import Enum
from typing import Final, Literal, TypeVar

from falcon.asgi import Request
from msgspec import Struct

from api import scopes
from api.rates import Rates
from swarmsync.errors import NotAllowed, NotLoggedIn, TooMany
from swarmsync.store import users
from swarmsync.store.pool import Store
from swarmsync.store.sessions import Sessions
from swarmsync.store.users import EVERYTHING, Caller, User

T = TypeVar("T")

CACHE_S: Final = 4.0
CACHED_MAX: Final = 10_000
NOTED_S: Final = 60.0
NOTED_MAX: Final = 1_000
HASHES_AT_ONCE: Final = 2
HASHES_WAITING_MAX: Final = 50
_ALL: Final = frozenset((EVERYTHING,))


class Access(Enum):
    """What a route asks of its caller; every route declares one."""

    PUBLIC = "public"
    USER = "user"
    OPERATOR = "operator"
    ADMIN = "admin"


class Identity(Struct, frozen=True):
    """A caller and by which token it is known."""

    caller: Caller
    kind: Literal["session", "token"]
    name: str  # of an API token
    digest: bytes
    expires_at: datetime
    scopes: frozenset[str] = _ALL


class Gate:
    def __init__(self, store: Store, sessions: Sessions, rates: Rates) -> None:
        self._store = store
        self._sessions = sessions
        self._rates = rates
        self._known: dict[bytes, tuple[float, Identity]] = {}
        self._noted: dict[tuple[bytes, str, str], float] = {}

    async def admit(self, request: Request, access: Access, *, again: bool = False) -> Identity | None:
        """Return who calls, None on public routes; `again` asks for a stream that was let in before.

        Raises NotLoggedIn, NotAllowed, TooMany, Unavailable.
        """
        if access is Access.PUBLIC:
            return None
        identity = await self._identify(_bearer(request))
        wait_ms = 0 if again else self._rates.take(identity.digest, time.monotonic_ns() // 1_000_000)
        if wait_ms:
            raise TooMany("this token makes too many requests", retry_after_s=-(-wait_ms // 1000))
        refusal = _refusal(request, access, identity)
        if refusal:
            await self._note(request, identity, refusal)
            raise NotAllowed(refusal)
        return identity

    def forget(self, digest: bytes) -> None:
        self._known.pop(digest, None)

    async def _note(self, request: Request, identity: Identity, refusal: str) -> None:
        """Write what was denied into the audit log: of each route once a minute for one token."""
        now = time.monotonic()
        what = (identity.digest, request.method, request.uri_template or "")
        if self._noted.get(what, 0.0) > now:
            return
        if len(self._noted) >= NOTED_MAX:
            self._noted.clear()
        self._noted[what] = now + NOTED_S
        detail = {"because": refusal, "address": request.remote_addr or ""}
        await users.audit(self._store, identity.caller.user_id, "denied", f"{request.method} {what[2]}", detail)

    async def _identify(self, token: str) -> Identity:
        digest = users.token_digest(token)
        now = time.monotonic()
        known = self._known.get(digest)
        if known is not None and known[0] > now and known[1].expires_at > datetime.now(UTC):
            return known[1]
        identity = await (self._by_session(digest) if token.startswith("ss_s_") else self._by_token(digest))
        if identity is None:
            self._known.pop(digest, None)
            raise NotLoggedIn("this token is not valid or has ended; log in again")
        if len(self._known) >= CACHED_MAX:
            self._known.clear()
        self._known[digest] = (now + CACHE_S, identity)
        return identity

    async def _by_session(self, digest: bytes) -> Identity | None:
        session = await self._sessions.find(digest)
        if session is None or session.expires_at <= datetime.now(UTC):
            return None
        user = await users.user_of_session(self._store, session.user_id, digest)
        if user is None or user.disabled or user.session_epoch != session.epoch:
            return None
        return Identity(_caller(user), "session", "", digest, session.expires_at)

    async def _by_token(self, digest: bytes) -> Identity | None:
        found = await users.user_of_token(self._store, digest)
        if found is None or found.user.disabled:
            return None
        return Identity(_caller(found.user), "token", found.name, digest, found.expires_at, found.scopes)


def _refusal(request: Request, access: Access, identity: Identity) -> str:
    """Say why this caller may not do this; empty where it may."""
    if access is Access.OPERATOR and not identity.caller.is_operator:
        return "this is for operators"
    if access is Access.ADMIN and identity.caller.role != "admin":
        return "this is for administrators"
    scope = scopes.needed(request.method, request.uri_template or "")
    if not scopes.grants(identity.scopes, scope):
        return f"the token {identity.name!r} lacks the scope {scope}"
    return ""


def is_local(request: Request) -> bool:
    """Whether a program on this machine asks for itself: a proxy that passes a request on says so in a header."""
    passed_on = any(request.get_header(name) for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP"))
    return not passed_on and (request.remote_addr or "").removeprefix("::ffff:").startswith(("127.", "::1"))


#: Who reads metrics without a token where the settings let anybody on this machine do so.
LOCAL_READER: Final = Identity(
    Caller(0, "loopback", "operator"),
    "token",
    "loopback",
    b"",
    datetime.max.replace(tzinfo=UTC),
    frozenset({"system:read"}),
)


def _caller(user: User) -> Caller:
    return Caller(user.user_id, user.username, user.role)


def _bearer(request: Request) -> str:
    header = request.get_header("Authorization") or ""
    scheme, _, token = header.partition(" ")
    if not header:
        raise NotLoggedIn("this needs a token; send the header Authorization: Bearer TOKEN")
    if scheme.lower() != "bearer" or not users.well_formed(token.strip()):
        raise NotLoggedIn("the header Authorization is not of the form: Bearer TOKEN")
    return token.strip()


class PasswordDesk:
    """Argon2id takes 50 ms of CPU: at most two at once and off the event loop, a bounded line, then 429."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(HASHES_AT_ONCE, thread_name_prefix="argon2")
        self._waiting = 0

    async def verify(self, stored: str | None, password: str) -> tuple[bool, str | None]:
        """As users.verify_password. Raises TooMany when the line is full."""
        return await self._do(lambda: users.verify_password(stored, password))

    async def hash(self, password: str) -> str:
        """As users.hash_password. Raises TooMany when the line is full."""
        return await self._do(lambda: users.hash_password(password))

    async def _do(self, work: Callable[[], T]) -> T:
        if self._waiting >= HASHES_WAITING_MAX:
            raise TooMany("too many people are logging in at once", retry_after_s=1)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
