"""`/v1/auth`: logging in with a password, who am I, logging out."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from api.access import Access
from api.endpoint import Call, Resource, endpoint
from swarmsync.clock import rfc3339
from swarmsync.errors import Conflict, NotLoggedIn, TooMany
from swarmsync.store import users
from swarmsync.store.users import PASSWORD_MAX


class Credentials(Struct, frozen=True, forbid_unknown_fields=True):
    username: Annotated[str, Meta(min_length=1, max_length=256)]
    password: Annotated[str, Meta(min_length=1, max_length=PASSWORD_MAX)]


class LoggedIn(Struct, frozen=True):
    token: str
    expires_at: str | None


class Who(Struct, frozen=True):
    """The caller. `kind` says whether the token is a session's or an API token, which has a `name`."""

    username: str
    role: str
    kind: str
    name: str
    expires_at: str | None
    server_id: str


class Login(Resource):
    @endpoint(Access.PUBLIC, "Log in with a password", body=Credentials, answer=LoggedIn)
    async def on_post(self, call: Call) -> Any:
        """Answer 401 alike for unknown users, wrong passwords and disabled users, after the same work."""
        wanted = await call.document(Credentials)
        services = call.services
        wait_ms = await services.sessions.may_try(wanted.username)
        if wait_ms:
            seconds = -(-wait_ms // 1000)
            raise TooMany(f"too many failures for this user; try again in {seconds} s", retry_after_s=seconds)
        user = await users.user_named(services.store, wanted.username)
        right, fresh_hash = await services.passwords.verify(user.password_hash if user else None, wanted.password)
        if user is None or not right or user.disabled:
            if user is not None:
                await users.audit(services.store, user.user_id, "login refused", user.username)
            raise NotLoggedIn("user name or password is wrong")
        await services.sessions.forget_failures(wanted.username)
        if fresh_hash is not None and user.password_hash is not None:
            await users.renew_hash(services.store, user.user_id, user.password_hash, fresh_hash)
        token, expires_at = await services.sessions.create(
            user.user_id, user.session_epoch, services.config.session_hours
        )
        await users.audit(services.store, user.user_id, "login", user.username)
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
        )

    @endpoint(Access.USER, "Log out: end this session", status=204)
    async def on_delete(self, call: Call) -> None:
        identity = call.identity
        if identity.kind != "session":
            raise Conflict(
                f"this is the API token {identity.name!r}, not a session; it ends {rfc3339(identity.expires_at)}"
            )
        await call.services.sessions.end(identity.digest)
        call.services.gate.forget(identity.digest)
