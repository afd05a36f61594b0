"""`/v1/workers`: the machines that run jobs, and their cordon."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from api import documents, query_strings
from api.access import Access
from api.endpoint import Call, Resource, endpoint
from swarmsync import ids
from swarmsync.errors import Conflict, NotFound
from swarmsync.model.lifecycle import Eligibility
from swarmsync.protocol.subjects import WORKER_NAME
from swarmsync.store import overview, users
from swarmsync.store.lists import Row

_E = Eligibility


class WorkersQuery(Struct, frozen=True, forbid_unknown_fields=True):
    label: tuple[str, ...] = ()
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 100
    cursor: str = ""


class Workers(Resource):
    @endpoint(Access.USER, "List workers by name", query=WorkersQuery, answer="a page of workers")
    async def on_get(self, call: Call) -> Any:
        query: WorkersQuery = call.query
        labels = query_strings.labels("label", query.label)
        rows = await overview.workers(
            call.services.store, call.caller, after=query.cursor, limit=query.limit, labels=labels
        )
        items = [documents.worker(row, with_use=call.caller.is_operator) for row in rows[: query.limit]]
        return {"items": items, "next_cursor": items[-1]["name"] if len(rows) > query.limit else None}


class OneWorker(Resource):
    @endpoint(Access.USER, "Show a worker, by name or id", answer="the worker")
    async def on_get(self, call: Call, worker: str) -> Any:
        return documents.worker(await _find(call, worker), with_use=call.caller.is_operator)

    @endpoint(Access.OPERATOR, "Give a worker no new jobs", answer="the worker")
    async def on_post_cordon(self, call: Call, worker: str) -> Any:
        return await _set(call, worker, _E.CORDONED, (_E.OPEN,))

    @endpoint(Access.OPERATOR, "Give a worker no new jobs; drained when its last one has ended", answer="the worker")
    async def on_post_drain(self, call: Call, worker: str) -> Any:
        return await _set(call, worker, _E.DRAINING, (_E.OPEN, _E.CORDONED))

    @endpoint(Access.OPERATOR, "Let a worker take jobs again", answer="the worker")
    async def on_post_uncordon(self, call: Call, worker: str) -> Any:
        return await _set(call, worker, _E.OPEN, (_E.CORDONED, _E.DRAINING, _E.DRAINED, _E.QUARANTINED))


async def _find(call: Call, text: str) -> Row:
    number = ids.decode(text)
    row = None
    if number is not None or WORKER_NAME.fullmatch(text):
        row = await overview.worker(call.services.store, call.caller, worker_id=number, name=text)
    if row is None:
        raise NotFound(f"there is no worker {text[:63]!r}")
    return row


async def _set(call: Call, text: str, wanted: Eligibility, sources: tuple[Eligibility, ...]) -> Any:
    """Change the eligibility; asking for what is so already is fine."""
    services, caller = call.services, call.caller
    worker_id = (await _find(call, text))["id"]
    changed = await overview.set_eligibility(services.store, caller, worker_id, wanted, sources)
    row = await _find(call, text)
    if not changed and row["eligibility"] != wanted:
        raise Conflict(f"the worker {row['name']} is {row['eligibility']}; it cannot become {wanted.value}")
    if changed:
        await services.hub.tell_workers_changed(worker_id)
        await users.audit(services.store, caller.user_id, f"worker {wanted.value}", row["name"])
    return documents.worker(row, with_use=True)
