"""`/v1/auth`: logging in with a password, who am I, the open sessions, logging out."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from api.access import Access
from api.answers.pages import Page
from api.endpoint import Call, Resource, endpoint
from swarmsync.clock import rfc3339
from swarmsync.errors import Conflict, NotFound, NotLoggedIn, TooMany
from swarmsync.store import users
from swarmsync.store.sessions import OpenSession, session_id
from swarmsync.store.users import PASSWORD_MAX, User

#: An address gets its tries back one by one this often.
ADDRESS_INTERVAL_MS = 2_000


class Credentials(Struct, frozen=True, forbid_unknown_fields=True):
    username: Annotated[str, Meta(min_length=1, max_length=256)]
    password: Annotated[str, Meta(min_length=1, max_length=PASSWORD_MAX)]


class LoggedIn(Struct, frozen=True):
    token: str
    expires_at: str | None


class Who(Struct, frozen=True):
    """The caller. `kind` says whether the token is a session's or an API token, which has a `name` and `scopes`."""

    username: str
    role: str
    kind: str
    name: str
    expires_at: str | None
    server_id: str
    scopes: list[str]


class SessionDocument(Struct, frozen=True):
    """An open session; `id` is a name for it, nobody gets in with it."""

    id: str
    began_at: str | None
    expires_at: str | None
    how: str
    address: str
    client: str
    current: bool


class SessionsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 100
    cursor: str = ""


class Login(Resource):
    @endpoint(Access.PUBLIC, "Log in with a password", body=Credentials, answer=LoggedIn)
    async def on_post(self, call: Call) -> Any:
        """Answer 401 alike for unknown users, wrong passwords and disabled users, after the same work."""
        wanted = await call.document(Credentials)
        await take_address(call, "password")
        user, right = await check_password(call, wanted.username, wanted.password)
        if user is None or not right or user.disabled:
            await call.audit("login refused", user_id=user.user_id if user else None, how="password")
            raise NotLoggedIn("user name or password is wrong")
        return await begin_session(call, user, "password")


async def take_address(call: Call, kind: str) -> None:
    """Raise TooMany when this address tries too often; passwords and keys are counted apart."""
    services = call.services
    burst = services.config.tries_per_address
    wait_ms = await services.throttle.try_address(kind, call.address, burst=burst, interval_ms=ADDRESS_INTERVAL_MS)
    if wait_ms:
        seconds = -(-wait_ms // 1000)
        raise TooMany(f"too many log-ins from this address; try again in {seconds} s", retry_after_s=seconds)


async def check_password(call: Call, username: str, password: str) -> tuple[User | None, bool]:
    """Return the user of this name and whether the password is right, after the same work. Raises TooMany."""
    services = call.services
    verdict = await services.throttle.try_account(username)
    if verdict.wait_ms is None:
        sentence = "too many failures for this user; log in with a key, or let an administrator set a new password"
        raise TooMany(sentence, retry_after_s=900)
    if verdict.wait_ms:
        seconds = -(-verdict.wait_ms // 1000)
        raise TooMany(f"too many failures for this user; try again in {seconds} s", retry_after_s=seconds)
    user = await users.user_named(services.store, username)
    right, fresh_hash = await services.passwords.verify(user.password_hash if user else None, password)
    if user is None or not right:
        return user, False
    await services.throttle.forget(username)
    if fresh_hash is not None and user.password_hash is not None:
        await users.renew_hash(services.store, user.user_id, user.password_hash, fresh_hash)
    return user, True


async def begin_session(call: Call, user: User, how: Any, **detail: str) -> LoggedIn:
    token, expires_at = await call.services.sessions.create(
        user,
        call.services.config.session_hours,
        how=how,
        address=call.address,
        client=call.request.get_header("User-Agent") or "",
    )
    await call.audit("login", user_id=user.user_id, how=how, **detail)
    return LoggedIn(token, rfc3339(expires_at))


class OwnSession(Resource):
    @endpoint(Access.USER, "Who am I", answer=Who)
    async def on_get(self, call: Call) -> Any:
        identity = call.identity
        return Who(
            identity.caller.username,
            identity.caller.role,
            identity.kind,
            identity.name,
            rfc3339(identity.expires_at),
            call.services.config.server_id,
            sorted(identity.scopes),
        )

    @endpoint(Access.USER, "Log out: end this session", status=204)
    async def on_delete(self, call: Call) -> None:
        identity = call.identity
        if identity.kind != "session":
            raise Conflict(
                f"this is the API token {identity.name!r}, not a session; it ends {rfc3339(identity.expires_at)}"
            )
        await users.end_session(call.services.store, identity.digest, identity.expires_at)
        await call.services.sessions.end(identity.digest, identity.caller.user_id)
        call.services.gate.forget(identity.digest)
        await call.audit("logout")


class OwnSessions(Resource):
    @endpoint(Access.USER, "List one's open sessions", query=SessionsQuery, answer=Page[SessionDocument])
    async def on_get(self, call: Call) -> Any:
        """All in one page: there are SESSIONS_MAX at most."""
        mine = call.identity.digest
        items = [
            SessionDocument(
                entry.session_id,
                rfc3339(entry.session.began_at),
                rfc3339(entry.session.expires_at),
                entry.session.how,
                entry.session.address,
                entry.session.client,
                entry.digest == mine,
            )
            for entry in (await _open_sessions(call))[: call.query.limit]
        ]
        return {"items": items, "next_cursor": None}


class OneSession(Resource):
    @endpoint(Access.USER, "End one of one's sessions", status=204)
    async def on_delete(self, call: Call, session: str) -> None:
        found = next((entry for entry in await _open_sessions(call) if entry.session_id == session), None)
        if found is None:
            raise NotFound(f"there is no session {session[:40]!r}")
        await users.end_session(call.services.store, found.digest, found.session.expires_at)
        await call.services.sessions.end(found.digest, found.session.user_id)
        call.services.gate.forget(found.digest)
        await call.audit("session ended", session_id(found.digest))


async def _open_sessions(call: Call) -> list[OpenSession]:
    user = await users.user_of(call.services.store, call.caller.user_id)
    return [] if user is None else await call.services.sessions.of_user(user.user_id, user.session_epoch)
