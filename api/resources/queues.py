"""`/v1/queues`: lines of waiting jobs with limits of their own. Everybody sees them, operators change them."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, structs

from api.access import Access
from api.answers.pages import Page
from api.endpoint import Call, Resource, endpoint
from api.resources.job_actions import Nothing
from swarmsync.clock import rfc3339
from swarmsync.model.fields import Size
from swarmsync.store import queues
from swarmsync.store.lists import Row

Count = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Cpus = Annotated[float, Meta(ge=0.001, le=1_000_000)]
Weight = Annotated[int, Meta(ge=1, le=1_000)]
Placement = Literal["pack", "spread"]


class QueuesQuery(Struct, frozen=True, forbid_unknown_fields=True):
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 100
    cursor: str = ""


class QueueChanges(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is absent stays, null takes a limit away. Limits but `max_waiting` count jobs that are placed."""

    paused: bool | UnsetType = UNSET
    max_running: Count | UnsetType | None = UNSET
    max_running_per_user: Count | UnsetType | None = UNSET
    max_waiting: Count | UnsetType | None = UNSET
    max_cpus: Cpus | UnsetType | None = UNSET
    max_memory: Size | UnsetType | None = UNSET
    placement: Placement | UnsetType = UNSET
    weight: Weight | UnsetType = UNSET


class NewQueue(QueueChanges, frozen=True, forbid_unknown_fields=True, kw_only=True):
    name: Annotated[str, Meta(min_length=1, max_length=63)]


class QueueDocument(Struct, frozen=True):
    """`waiting` and `running` count as far as the caller sees them; memory is in bytes."""

    name: str
    paused: bool
    max_running: int | None
    max_running_per_user: int | None
    max_waiting: int | None
    max_cpus: float | None
    max_memory: int | None
    placement: str
    weight: int
    waiting: int
    running: int
    created_at: str | None
    updated_at: str | None


class Queues(Resource):
    @endpoint(Access.USER, "List queues by name", query=QueuesQuery, answer=Page[QueueDocument])
    async def on_get(self, call: Call) -> Any:
        query: QueuesQuery = call.query
        rows = await queues.page(call.services.store, call.caller, after=query.cursor, limit=query.limit)
        items = [_document(row) for row in rows[: query.limit]]
        return {"items": items, "next_cursor": items[-1].name if len(rows) > query.limit else None}

    @endpoint(Access.OPERATOR, "Make a queue", body=NewQueue, answer=QueueDocument, status=201)
    async def on_post(self, call: Call) -> Any:
        wanted = await call.document(NewQueue)
        made = await queues.create(call.services.store, call.caller, wanted.name, columns(wanted))
        await _changed(call, "queue created", wanted.name)
        call.response.location = f"/v1/queues/{wanted.name}"
        return _document(made)


class OneQueue(Resource):
    @endpoint(Access.USER, "Show a queue", answer=QueueDocument)
    async def on_get(self, call: Call, queue: str) -> Any:
        return _document(await queues.one(call.services.store, call.caller, queue))

    @endpoint(Access.OPERATOR, "Change a queue's limits", body=QueueChanges, answer=QueueDocument)
    async def on_patch(self, call: Call, queue: str) -> Any:
        """Jobs that run already go on, also where a new limit is lower than what runs."""
        wanted = await call.document(QueueChanges)
        return await _update(call, queue, columns(wanted), "queue changed")

    @endpoint(Access.OPERATOR, "Delete a queue without unfinished jobs and schedules", status=204)
    async def on_delete(self, call: Call, queue: str) -> None:
        await queues.delete(call.services.store, call.caller, queue)
        await _changed(call, "queue deleted", queue)

    @endpoint(Access.OPERATOR, "Start no more jobs of a queue", body=Nothing, answer=QueueDocument, status=202)
    async def on_post_pause(self, call: Call, queue: str) -> Any:
        """Jobs that run go on; new ones may be submitted and wait."""
        await call.document(Nothing, optional=True)
        return await _update(call, queue, {"paused": True}, "queue paused")

    @endpoint(Access.OPERATOR, "Let a paused queue's jobs start again", body=Nothing, answer=QueueDocument, status=202)
    async def on_post_resume(self, call: Call, queue: str) -> Any:
        await call.document(Nothing, optional=True)
        return await _update(call, queue, {"paused": False}, "queue resumed")


def columns(wanted: Struct) -> dict[str, Any]:
    """Return what was given, under the names and in the units of the tables of limits."""
    given = {name: value for name, value in structs.asdict(wanted).items() if value is not UNSET and name != "name"}
    if "max_cpus" in given:
        cpus = given.pop("max_cpus")
        given["max_cpus_milli"] = None if cpus is None else round(cpus * 1000)
    if "max_memory" in given:
        memory = given.pop("max_memory")
        given["max_memory_bytes"] = None if memory is None else int(memory)
    return given


def cpus_of(milli: int | None) -> float | None:
    return None if milli is None else float(milli) / 1000


async def _update(call: Call, name: str, values: dict[str, Any], action: str) -> QueueDocument:
    row = await queues.update(call.services.store, call.caller, name, values)
    await _changed(call, action, name)
    return _document(row)


async def _changed(call: Call, action: str, name: str) -> None:
    call.services.forget_queues()
    await call.services.hub.tell_limits_changed()
    await call.audit(action, name)


def _document(row: Row) -> QueueDocument:
    return QueueDocument(
        row["name"],
        row["paused"],
        row["max_running"],
        row["max_running_per_user"],
        row["max_waiting"],
        cpus_of(row["max_cpus_milli"]),
        row["max_memory_bytes"],
        row["placement"],
        row["weight"],
        row["waiting"],
        row["running"],
        rfc3339(row["created_at"]),
        rfc3339(row["updated_at"]),
    )
