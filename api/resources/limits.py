"""`/v1/limits`: which limits are in use and who holds their slots; `/v1/users/{user}/limits`: how much one may take."""

from typing import Annotated, Any, Literal, TypedDict, get_args

from msgspec import UNSET, Meta, Struct, UnsetType

from api import query_strings
from api.access import Access
from api.answers.pages import Page
from api.endpoint import Call, Resource, endpoint
from api.finding import find_job
from api.resources.queues import Count, Cpus, Weight, columns, cpus_of
from api.resources.users import find_user
from swarmsync import ids
from swarmsync.clock import rfc3339
from swarmsync.errors import NotFound
from swarmsync.model.fields import Size
from swarmsync.store import holders, queues
from swarmsync.store.holders import Kind
from swarmsync.store.lists import Row


class LimitsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """`kind`: concurrency keys of unfinished jobs, queues, or the users who have limits."""

    kind: Literal["key", "queue", "user"] = "key"
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 100
    cursor: str = ""


class HoldersQuery(Struct, frozen=True, forbid_unknown_fields=True):
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 100
    cursor: str = ""


class NamedHoldersQuery(HoldersQuery, frozen=True, forbid_unknown_fields=True):
    """For names that a path cannot carry, as those with a slash."""

    kind: Kind = "key"
    name: str = ""


class LimitDocument(Struct, frozen=True):
    """`held` counts everybody's slots; `waiting` counts the jobs that the caller sees. No limit is null."""

    kind: str
    name: str
    limit: int | None
    held: int
    waiting: int


class Holder(Struct, frozen=True):
    """A job that holds a slot since `since`; `limit` is what the job itself names for its key."""

    job: str
    name: str
    user: str
    queue: str
    state: str
    attempt: int
    fence: int
    worker: str | None
    since: str | None
    age_s: float
    limit: int | None
    array_index: int | None
    cpus: float
    memory: int
    gpus: int


class HoldersDocument(TypedDict):
    """A limit, how much of it everybody holds, how many of the caller's jobs wait for it, and a page of its holders."""

    kind: str
    name: str
    limit: int | None
    held: int
    waiting: int
    items: list[Holder]
    next_cursor: str | None


class UserLimitChanges(Struct, frozen=True, forbid_unknown_fields=True):
    """What is absent stays, null takes a limit away. Limits count placed jobs over all queues."""

    max_running: Count | UnsetType | None = UNSET
    max_cpus: Cpus | UnsetType | None = UNSET
    max_memory: Size | UnsetType | None = UNSET
    max_gpus: Annotated[int, Meta(ge=0, le=1000000)] | UnsetType | None = UNSET
    weight: Weight | UnsetType = UNSET


class UserLimitsDocument(Struct, frozen=True):
    """Limits and what is used of them; memory is in bytes."""

    user: str
    max_running: int | None
    max_cpus: float | None
    max_memory: int | None
    max_gpus: int | None
    weight: int
    running: int
    cpus: float
    memory: int
    gpus: int
    updated_at: str | None


class Limits(Resource):
    @endpoint(
        Access.USER,
        "List the limits of a kind by name, with what is held",
        query=LimitsQuery,
        answer=Page[LimitDocument],
    )
    async def on_get(self, call: Call) -> Any:
        query: LimitsQuery = call.query
        rows = await holders.in_use(call.services.store, call.caller, query.kind, query.cursor, query.limit)
        items = [
            LimitDocument(query.kind, row["name"], row["most"], row["held"], row["waiting"])
            for row in rows[: query.limit]
        ]
        return {"items": items, "next_cursor": items[-1].name if len(rows) > query.limit else None}


class Holders(Resource):
    @endpoint(Access.USER, "Who holds the slots of a limit, and since when", query=HoldersQuery, answer=HoldersDocument)
    async def on_get(self, call: Call, kind: str, name: str) -> Any:
        """`kind` is key, queue, user or array. Others' jobs are counted in `held`; operators also see them."""
        return await _holders(call, kind, name)

    @endpoint(Access.USER, "The same, for a name with a slash", query=NamedHoldersQuery, answer=HoldersDocument)
    async def on_get_named(self, call: Call) -> Any:
        query: NamedHoldersQuery = call.query
        if not query.name:
            raise query_strings.QueryError("name", "is needed: the key, queue, user or array")
        return await _holders(call, query.kind, query.name)


class UserLimits(Resource):
    @endpoint(Access.USER, "How much a user may take at a time", answer=UserLimitsDocument)
    async def on_get(self, call: Call, user: str) -> Any:
        return await _user_limits(call, (await find_user(call, user))["id"])

    @endpoint(Access.OPERATOR, "Change how much a user may take", body=UserLimitChanges, answer=UserLimitsDocument)
    async def on_patch(self, call: Call, user: str) -> Any:
        """Jobs that run already go on."""
        wanted = await call.document(UserLimitChanges)
        row = await find_user(call, user)
        await holders.set_user_limits(call.services.store, call.caller, row["id"], columns(wanted))
        await _changed(call, "limits of a user changed", row["username"])
        return await _user_limits(call, row["id"])

    @endpoint(Access.OPERATOR, "Take a user's limits away", status=204)
    async def on_delete(self, call: Call, user: str) -> None:
        row = await find_user(call, user)
        await holders.clear_user_limits(call.services.store, call.caller, row["id"])
        await _changed(call, "limits of a user cleared", row["username"])


async def _changed(call: Call, action: str, subject: str) -> None:
    await call.services.hub.tell_limits_changed()
    await call.audit(action, subject)


async def _holders(call: Call, kind: str, name: str) -> Any:
    """Answer with the standing of a limit and a page of its holders. Raises NotFound for what is not there."""
    if kind not in get_args(Kind):
        raise NotFound(f"there is no kind of limit {kind[:40]!r}; there are {', '.join(get_args(Kind))}")
    known: Kind = kind  # type: ignore[assignment] # it was just looked up
    services, caller, query = call.services, call.caller, call.query
    found: str | int = name
    if known == "queue":
        await queues.one(services.store, caller, name)
    elif known == "user":
        found = (await find_user(call, name))["id"]
    elif known == "array":
        found = await find_job(call, name)
    after = query_strings.cursor("cursor", query.cursor) or 0
    standing = await holders.standing(services.store, caller, known, found)
    rows = await holders.holders(services.store, caller, known, found, after, query.limit)
    items = [_holder(row) for row in rows[: query.limit]]
    more = len(rows) > query.limit
    return {
        "kind": kind,
        "name": name,
        "limit": standing.most,
        "held": standing.held,
        "waiting": standing.waiting,
        "items": items,
        "next_cursor": items[-1].job if more else None,
    }


def _holder(row: Row) -> Holder:
    return Holder(
        ids.encode(row["id"]),
        row["name"],
        row["username"],
        row["queue"],
        row["state"],
        row["fence"],
        row["fence"],
        row["worker"],
        rfc3339(row["offered_at"]),
        round(row["age_s"] or 0.0, 3),
        row["key_limit"],
        row["array_index"],
        row["cpus_milli"] / 1000,
        row["memory_bytes"],
        row["gpus"],
    )


async def _user_limits(call: Call, user_id: int) -> UserLimitsDocument:
    row = await holders.user_limits(call.services.store, call.caller, user_id)
    return UserLimitsDocument(
        row["username"],
        row["max_running"],
        cpus_of(row["max_cpus_milli"]),
        row["max_memory_bytes"],
        row["max_gpus"],
        row["weight"],
        row["running"],
        float(row["cpus_used"]) / 1000,
        int(row["memory_used"]),
        int(row["gpus_used"]),
        rfc3339(row["updated_at"]),
    )
