"""`/v1/workers`: the machines that run jobs, and their cordon."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from api import documents, query_strings
from api.access import Access
from api.answers.pages import Page
from api.answers.system import JoinToken, WorkerDocument
from api.endpoint import Call, Resource, endpoint
from api.query_strings import label_errors
from swarmsync import ids
from swarmsync.clock import rfc3339
from swarmsync.errors import Conflict, FieldError, NotFound, SpecError
from swarmsync.model.fields import Duration
from swarmsync.model.lifecycle import Eligibility
from swarmsync.protocol.subjects import WORKER_NAME
from swarmsync.store import fleet, overview, users
from swarmsync.store.lists import Row
from swarmsync.store.worker_keys import TOKEN_MINUTES

_E = Eligibility


class WorkersQuery(Struct, frozen=True, forbid_unknown_fields=True):
    label: tuple[str, ...] = ()
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 100
    cursor: str = ""


class Registration(Struct, frozen=True, forbid_unknown_fields=True):
    """`name` binds the token to one name, also one that another key has; without it any free name will do."""

    name: str | None = None
    minutes: Annotated[int, Meta(ge=1, le=1_440)] = TOKEN_MINUTES


class WorkerChanges(Struct, frozen=True, forbid_unknown_fields=True):
    labels: dict[str, str | None]


class Drain(Struct, frozen=True, forbid_unknown_fields=True):
    """`deadline`: what still runs after so long is stopped, and queued again for other workers."""

    deadline: Duration | None = None


class Workers(Resource):
    @endpoint(Access.USER, "List workers by name", query=WorkersQuery, answer=Page[WorkerDocument])
    async def on_get(self, call: Call) -> Any:
        query: WorkersQuery = call.query
        labels = query_strings.labels("label", query.label)
        rows = await overview.workers(
            call.services.store, call.caller, after=query.cursor, limit=query.limit, labels=labels
        )
        items = [documents.worker(row, with_use=call.caller.is_operator) for row in rows[: query.limit]]
        return {"items": items, "next_cursor": items[-1]["name"] if len(rows) > query.limit else None}

    @endpoint(
        Access.OPERATOR,
        "Make a join token, with which one machine becomes a worker",
        body=Registration,
        answer=JoinToken,
        status=201,
    )
    async def on_post(self, call: Call) -> Any:
        """The token is shown this once. On a NATS of your own, workers get their logins from you: 409."""
        wanted: Registration = await call.document(Registration, optional=True)
        join_url = call.services.config.join_url
        if not join_url:
            raise Conflict(
                "this Core uses a NATS of yours: give the worker a login there and the join token of Core's settings"
            )
        if wanted.name is not None and not WORKER_NAME.fullmatch(wanted.name):
            raise SpecError([FieldError("$.name", "has letters, digits, - and _, 63 at most")])
        next_id = await call.services.id_source(call.caller)
        token, ends = await fleet.register(
            call.services.store, call.caller, next_id(), name=wanted.name, minutes=wanted.minutes
        )
        await call.audit("join token made", wanted.name or "")
        named = f" --name {wanted.name}" if wanted.name else ""
        command = f"SWARMSYNC_JOIN_TOKEN={token} swarmsyncd worker --nats {join_url}{named}"
        return {"token": token, "expires_at": rfc3339(ends), "nats_url": join_url, "command": command}


class OneWorker(Resource):
    @endpoint(Access.OPERATOR, "Set labels, or take them back with null", body=WorkerChanges, answer=WorkerDocument)
    async def on_patch(self, call: Call, worker: str) -> Any:
        wanted: WorkerChanges = await call.document(WorkerChanges)
        errors = label_errors(wanted.labels)
        if errors:
            raise SpecError(errors)
        row = await _find(call, worker)
        await fleet.set_labels(call.services.store, call.caller, row["id"], wanted.labels)
        await call.services.hub.tell_workers_changed(row["id"])
        return documents.worker(await _find(call, worker), with_use=True)

    @endpoint(Access.OPERATOR, "Delete a worker that has no jobs, and its key", status=204)
    async def on_delete(self, call: Call, worker: str) -> None:
        row = await _find(call, worker)
        await fleet.remove(call.services.store, call.caller, row["id"], row["name"])
        await call.services.hub.tell_workers_changed(row["id"])
        await call.audit("worker deleted", row["name"])

    @endpoint(Access.OPERATOR, "Take a worker's key back: it is cut off at once", answer=WorkerDocument)
    async def on_post_revoke(self, call: Call, worker: str) -> Any:
        row = await _find(call, worker)
        if not await fleet.revoke(call.services.store, call.caller, row["name"]):
            raise Conflict(f"the worker {row['name']} has no key in force")
        await call.services.hub.tell_workers_changed(row["id"])
        await call.audit("worker key revoked", row["name"])
        return documents.worker(row, with_use=True)

    @endpoint(Access.USER, "Show a worker, by name or id", answer=WorkerDocument)
    async def on_get(self, call: Call, worker: str) -> Any:
        return documents.worker(await _find(call, worker), with_use=call.caller.is_operator)

    @endpoint(Access.OPERATOR, "Give a worker no new jobs", answer=WorkerDocument)
    async def on_post_cordon(self, call: Call, worker: str) -> Any:
        return await _set(call, worker, _E.CORDONED, (_E.OPEN,))

    @endpoint(
        Access.OPERATOR,
        "Give a worker no new jobs; drained when its last one has ended, or was stopped at the deadline",
        body=Drain,
        answer=WorkerDocument,
    )
    async def on_post_drain(self, call: Call, worker: str) -> Any:
        wanted = await call.document(Drain, optional=True)
        within_ms = None if wanted.deadline is None else int(wanted.deadline)
        sources = (_E.OPEN, _E.CORDONED, _E.QUARANTINED, *(() if within_ms is None else (_E.DRAINING,)))
        return await _set(call, worker, _E.DRAINING, sources, within_ms)

    @endpoint(Access.OPERATOR, "Let a worker take jobs again", answer=WorkerDocument)
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


async def _set(
    call: Call, text: str, wanted: Eligibility, sources: tuple[Eligibility, ...], within_ms: int | None = None
) -> Any:
    """Change the eligibility; asking for what is so already is fine."""
    services, caller = call.services, call.caller
    worker_id = (await _find(call, text))["id"]
    changed = await overview.set_eligibility(services.store, caller, worker_id, wanted, sources, within_ms)
    row = await _find(call, text)
    if not changed and row["eligibility"] != wanted:
        raise Conflict(f"the worker {row['name']} is {row['eligibility']}; it cannot become {wanted.value}")
    if changed:
        await services.hub.tell_workers_changed(worker_id)
        await users.audit(services.store, caller.user_id, f"worker {wanted.value}", row["name"])
    return documents.worker(row, with_use=True)
