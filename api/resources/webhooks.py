"""`/v1/webhooks`, `/v1/deliveries`: addresses that are told of jobs' states, and what was told. A key is shown once."""

import secrets
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from api import query_strings
from api.access import Access
from api.answers.pages import Page
from api.endpoint import Call, Resource, endpoint
from api.resources.job_actions import Nothing
from swarmsync import ids
from swarmsync.clock import rfc3339
from swarmsync.errors import FieldError, NotFound, SpecError
from swarmsync.model import webhooks as rules
from swarmsync.store import webhooks
from swarmsync.store.lists import Row

Text = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]*$")]
Label = Annotated[str, Meta(max_length=255, pattern=r"^[^\x00]*$")]
Labels = Annotated[dict[Label, Label], Meta(max_length=64)]
States = Annotated[list[str], Meta(min_length=1, max_length=len(rules.STATES))]
#: The fields of a document, where the table's column has another name.
_COLUMNS: Final = {"name": "job_name"}


class PageQuery(Struct, frozen=True, forbid_unknown_fields=True):
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 100
    cursor: str = ""


class DeliveriesQuery(Struct, frozen=True, forbid_unknown_fields=True):
    state: Literal["", "waiting", "delivered", "failed"] = ""
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 100
    cursor: str = ""


class NewWebhook(Struct, frozen=True, forbid_unknown_fields=True):
    """`states` are those to tell of, all final ones if none are given; `name` may end in `*`."""

    url: str
    states: States = msgspec.field(default_factory=lambda: list(rules.FINAL_STATES))
    queue: Text | None = None
    name: Text | None = None
    labels: Labels = {}
    enabled: bool = True


class WebhookChanges(Struct, frozen=True, forbid_unknown_fields=True):
    """What is absent stays; null takes a filter away. `new_secret` makes another signing key and shows it once."""

    url: str | UnsetType = UNSET
    states: States | UnsetType = UNSET
    queue: Text | UnsetType | None = UNSET
    name: Text | UnsetType | None = UNSET
    labels: Labels | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    new_secret: bool = False


class WebhookDocument(Struct, frozen=True, omit_defaults=True):
    """`secret` is in the answer that made it, and in no other."""

    id: str
    user: str
    url: str
    states: list[str]
    queue: str | None
    name: str | None
    labels: dict[str, str]
    enabled: bool
    disabled_reason: str
    failing_since: str | None
    created_at: str | None
    updated_at: str | None
    secret: str = ""


class DeliveryDocument(Struct, frozen=True):
    """`status` is HTTP's of the last attempt; `body` is what is sent."""

    id: str
    webhook: str
    type: str
    state: str
    attempts: int
    due_at: str | None
    status: int | None
    error: str
    created_at: str | None
    ended_at: str | None
    body: str


class Webhooks(Resource):
    @endpoint(Access.USER, "List webhooks, newest first", query=PageQuery, answer=Page[WebhookDocument])
    async def on_get(self, call: Call) -> Any:
        query: PageQuery = call.query
        before = query_strings.cursor("cursor", query.cursor)
        rows = await webhooks.page(call.services.store, call.caller, limit=query.limit, before=before)
        items = [_document(row) for row in rows[: query.limit]]
        return {"items": items, "next_cursor": items[-1].id if len(rows) > query.limit else None}

    @endpoint(Access.USER, "Make a webhook for one's own jobs", body=NewWebhook, answer=WebhookDocument, status=201)
    async def on_post(self, call: Call) -> Any:
        """It tells of what happens from now on. The answer has the signing key, which is never shown again."""
        wanted = await call.document(NewWebhook)
        values = _checked(call, msgspec.structs.asdict(wanted))
        webhook_id = (await call.services.id_source(call.caller))()
        secret, values["sealed"] = _new_secret(call, webhook_id)
        row = await webhooks.create(call.services.store, call.caller, webhook_id, values)
        await call.audit("webhook created", ids.encode(webhook_id), url=wanted.url)
        call.response.location = f"/v1/webhooks/{ids.encode(webhook_id)}"
        return _document(row, secret)


class OneWebhook(Resource):
    @endpoint(Access.USER, "Show a webhook", answer=WebhookDocument)
    async def on_get(self, call: Call, webhook: str) -> Any:
        return _document(await webhooks.one(call.services.store, call.caller, _id(webhook, "webhook")))

    @endpoint(Access.USER, "Change a webhook", body=WebhookChanges, answer=WebhookDocument)
    async def on_patch(self, call: Call, webhook: str) -> Any:
        """One that is switched on again tells of what happens from then on."""
        webhook_id = _id(webhook, "webhook")
        wanted = await call.document(WebhookChanges)
        given = {name: value for name, value in msgspec.structs.asdict(wanted).items() if value is not UNSET}
        secret = ""
        renews = given.pop("new_secret")
        values = _checked(call, given)
        if renews:
            secret, values["sealed"] = _new_secret(call, webhook_id)
        row = await webhooks.update(call.services.store, call.caller, webhook_id, values)
        await call.audit("webhook changed", webhook, fields=" ".join(sorted(given)))
        return _document(row, secret)

    @endpoint(Access.USER, "Delete a webhook and what it was told", status=204)
    async def on_delete(self, call: Call, webhook: str) -> None:
        await webhooks.remove(call.services.store, call.caller, _id(webhook, "webhook"))
        await call.audit("webhook deleted", webhook)

    @endpoint(Access.USER, "Send a delivery that tells of nothing", body=Nothing, answer=DeliveryDocument, status=202)
    async def on_post_test(self, call: Call, webhook: str) -> Any:
        await call.document(Nothing, optional=True)
        new_id = (await call.services.id_source(call.caller))()
        webhook_id, now = _id(webhook, "webhook"), datetime.now(UTC)
        return _delivery(await webhooks.test(call.services.store, call.caller, webhook_id, new_id, now))


class Deliveries(Resource):
    @endpoint(
        Access.USER, "List what a webhook was told, newest first", query=DeliveriesQuery, answer=Page[DeliveryDocument]
    )
    async def on_get(self, call: Call, webhook: str) -> Any:
        query: DeliveriesQuery = call.query
        rows = await webhooks.deliveries(
            call.services.store,
            call.caller,
            _id(webhook, "webhook"),
            state=query.state or None,
            limit=query.limit,
            before=query_strings.cursor("cursor", query.cursor),
        )
        items = [_delivery(row) for row in rows[: query.limit]]
        return {"items": items, "next_cursor": items[-1].id if len(rows) > query.limit else None}


class OneDelivery(Resource):
    @endpoint(Access.USER, "Show a delivery", answer=DeliveryDocument)
    async def on_get(self, call: Call, delivery: str) -> Any:
        return _delivery(await webhooks.delivery(call.services.store, call.caller, _id(delivery, "delivery")))

    @endpoint(Access.USER, "Send a delivery again", body=Nothing, answer=DeliveryDocument, status=202)
    async def on_post_replay(self, call: Call, delivery: str) -> Any:
        """It keeps its id, by which the receiver knows it, and has all its attempts again."""
        await call.document(Nothing, optional=True)
        return _delivery(await webhooks.replay(call.services.store, call.caller, _id(delivery, "delivery")))


def _checked(call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """Return the columns to write. Raises SpecError that names what is wrong."""
    errors: list[FieldError] = []
    if "url" in given:
        problem = rules.url_problem(given["url"], rules.networks(call.services.config.webhook_networks))
        errors += [FieldError("$.url", problem)] if problem else []
    unknown = [state for state in given.get("states", []) if state not in rules.STATES]
    if unknown:
        sentence = f"{unknown[0][:40]!r} is no state; states are {', '.join(rules.STATES)}"
        errors.append(FieldError("$.states", sentence))
    if errors:
        raise SpecError(errors)
    if "states" in given:
        given = {**given, "states": list(dict.fromkeys(given["states"]))}
    return {_COLUMNS.get(name, name): value for name, value in given.items()}


def _new_secret(call: Call, webhook_id: int) -> tuple[str, bytes]:
    """Return a new signing key as its owner sees it, and sealed."""
    secret = secrets.token_bytes(rules.SECRET_BYTES)
    return rules.secret_text(secret), call.services.sealer.seal(secret, rules.purpose(webhook_id))


def _id(text: str, kind: str) -> int:
    number = ids.decode(text)
    if number is None:
        raise NotFound(f"there is no {kind} {text[:40]!r}")
    return number


def _document(row: Row, secret: str = "") -> WebhookDocument:
    return WebhookDocument(
        ids.encode(row["id"]),
        row["username"],
        row["url"],
        row["states"],
        row["queue"],
        row["job_name"],
        msgspec.json.decode(row["labels"]),
        row["enabled"],
        row["disabled_reason"],
        rfc3339(row["failing_since"]),
        rfc3339(row["created_at"]),
        rfc3339(row["updated_at"]),
        secret,
    )


def _delivery(row: Row) -> DeliveryDocument:
    return DeliveryDocument(
        ids.encode(row["id"]),
        ids.encode(row["webhook_id"]),
        row["type"],
        row["state"],
        row["attempts"],
        rfc3339(row["due_at"]) if row["state"] == "waiting" else None,
        row["status"],
        row["error"],
        rfc3339(row["created_at"]),
        rfc3339(row["ended_at"]),
        row["body"],
    )
