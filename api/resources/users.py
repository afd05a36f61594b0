"""`/v1/users`: administrators manage users; everybody sees the own row and changes the own password."""

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from api import documents
from api.access import Access
from api.answers.pages import Page
from api.endpoint import Call, Resource, endpoint
from api.resources.auth import check_password, take_address
from swarmsync import ids
from swarmsync.clock import rfc3339
from swarmsync.errors import Conflict, FieldError, NotFound, SpecError
from swarmsync.store import accounts, users
from swarmsync.store.lists import Row
from swarmsync.store.users import PASSWORD_MAX, Role

Password = Annotated[str, Meta(min_length=1, max_length=PASSWORD_MAX)]


class UsersQuery(Struct, frozen=True, forbid_unknown_fields=True):
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 100
    cursor: str = ""


class NewUser(Struct, frozen=True, forbid_unknown_fields=True):
    """Without a password only keys and tokens let the user in."""

    username: Annotated[str, Meta(min_length=1, max_length=63)]
    password: Password | None = None
    role: Role = "user"


class UserChanges(Struct, frozen=True, forbid_unknown_fields=True):
    """Whoever sets the own password says the `old_password`; role and disabled are for administrators."""

    password: Password | UnsetType = UNSET
    old_password: Password | None = None
    role: Role | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET


class UserDocument(Struct, frozen=True):
    id: str
    username: str
    role: str
    disabled: bool
    created_at: str | None


class Users(Resource):
    @endpoint(Access.USER, "List users by name; users see themselves", query=UsersQuery, answer=Page[UserDocument])
    async def on_get(self, call: Call) -> Any:
        query: UsersQuery = call.query
        rows = await accounts.page(call.services.store, call.caller, after=query.cursor, limit=query.limit)
        items = [_document(row) for row in rows[: query.limit]]
        return {"items": items, "next_cursor": items[-1].username if len(rows) > query.limit else None}

    @endpoint(Access.ADMIN, "Make a user", body=NewUser, answer=UserDocument, status=201)
    async def on_post(self, call: Call) -> Any:
        wanted = await call.document(NewUser)
        services = call.services
        password_hash = None
        if wanted.password is not None:
            users.check_password(wanted.password, wanted.username)
            password_hash = await services.passwords.hash(wanted.password)
        new_id = (await services.id_source(call.caller))()
        await accounts.create(services.store, call.caller, new_id, wanted.username, password_hash, wanted.role)
        await call.audit("user created", wanted.username, role=wanted.role)
        return _document(await find_user(call, wanted.username))


class OneUser(Resource):
    @endpoint(Access.USER, "Show a user, by name or id", answer=UserDocument)
    async def on_get(self, call: Call, user: str) -> Any:
        return _document(await find_user(call, user))

    @endpoint(
        Access.USER,
        "Change password, role or disabled; ends the user's sessions",
        body=UserChanges,
        answer=UserDocument,
    )
    async def on_patch(self, call: Call, user: str) -> Any:
        wanted = await call.document(UserChanges)
        row = await find_user(call, user)
        _check_rights(call, row, wanted)
        changes: dict[str, Any] = {}
        if wanted.role is not UNSET:
            changes["role"] = wanted.role
        if wanted.disabled is not UNSET:
            changes["disabled"] = wanted.disabled
        if wanted.password is not UNSET:
            users.check_password(wanted.password, row["username"])
            if row["id"] == call.caller.user_id:
                await check_again(call, wanted.old_password, "$.old_password")
            changes["password_hash"] = await call.services.passwords.hash(wanted.password)
        await accounts.change(call.services.store, call.caller, row["id"], changes)
        if "password_hash" in changes:
            await call.services.throttle.forget(row["username"])
        said = (f"{name}={value}" if name != "password_hash" else "password" for name, value in changes.items())
        await call.audit("user changed", row["username"], what=" ".join(said))
        return _document(await find_user(call, user))

    @endpoint(Access.ADMIN, "Delete a user who owns no jobs and no schedules", status=204)
    async def on_delete(self, call: Call, user: str) -> None:
        row = await find_user(call, user)
        if row["id"] == call.caller.user_id:
            raise Conflict("this is you; another administrator can delete you")
        await accounts.remove(call.services.store, call.caller, row["id"])
        await call.audit("user deleted", row["username"])

    @endpoint(Access.USER, "End every session of a user; API tokens stay", status=204)
    async def on_post_logout(self, call: Call, user: str) -> None:
        row = await find_user(call, user)
        if row["id"] != call.caller.user_id:
            call.require_admin("others log out themselves only")
        await accounts.end_sessions(call.services.store, call.caller, row["id"])
        await call.audit("sessions ended", row["username"])


async def find_user(call: Call, text: str) -> Row:
    """Return the user of this name or id, as far as the caller sees it. Raises NotFound."""
    row = await accounts.one(call.services.store, call.caller, user_id=ids.decode(text), username=text)
    if row is None:
        raise NotFound(f"there is no user {text[:63]!r}")
    return row


async def owner_id(call: Call, username: str) -> int:
    """Return whose thing an administrator makes; everybody else makes the own. Raises NotFound, NotAllowed."""
    if not username or username == call.caller.username:
        return call.caller.user_id
    call.require_admin("others do it for themselves only")
    row = await find_user(call, username)
    found: int = row["id"]
    return found


async def check_again(call: Call, password: str | None, path: str) -> None:
    """Let the caller prove again who it is. Raises SpecError where the password is missing or wrong, TooMany."""
    if password is None:
        raise SpecError([FieldError(path, "is needed: your present password")])
    await take_address(call, "password")
    _, right = await check_password(call, call.caller.username, password)
    if not right:
        await call.audit("password refused", call.caller.username)
        raise SpecError([FieldError(path, "is not your present password")])


def _check_rights(call: Call, row: Row, wanted: UserChanges) -> None:
    if row["id"] != call.caller.user_id or wanted.role is not UNSET or wanted.disabled is not UNSET:
        call.require_admin("the own password is all that others change")


def _document(row: Row) -> UserDocument:
    return UserDocument(
        documents.text_id(row["id"]) or "",
        row["username"],
        row["role"],
        row["disabled"],
        rfc3339(row["created_at"]),
    )
