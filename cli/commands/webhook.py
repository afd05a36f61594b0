"""`webhook`: create, list, show, update, delete, deliveries, test, replay."""

from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote

import typer
from msgspec import Struct

from cli import cells
from cli.asking import Yes, confirm
from cli.bundles import bundled, examples
from cli.completions import queues, states
from cli.output import Column, Document, ListView, OneView, emit, pages_of, show_list, show_one, to_yaml
from cli.profiles import connect

app = typer.Typer()
Webhook = Annotated[str, typer.Argument(metavar="WEBHOOK", help="Its id.")]
NONE = "none"


def _age(field: str) -> Any:
    def show(document: Document, now: datetime) -> str:
        return cells.age(document.get(field), now)

    return show


def _works(webhook: Document, _now: datetime) -> str:
    return "yes" if webhook["enabled"] else f"no: {cells.plain(webhook['disabled_reason'])}"


COLUMNS = (
    Column("id"),
    Column("url"),
    Column("states", lambda webhook, _now: cells.plain(",".join(webhook["states"]))),
    Column("enabled", _works),
    Column("failing", _age("failing_since")),
    Column("queue", wide=True),
    Column("name", wide=True),
    Column("labels", wide=True),
    Column("user", wide=True),
    Column("created", _age("created_at"), wide=True),
)
DELIVERIES = (
    Column("id"),
    Column("type"),
    Column("state"),
    Column("attempts"),
    Column("status"),
    Column("error"),
    Column("age", _age("created_at")),
    Column("due_at", wide=True),
    Column("ended_at", wide=True),
)


class Filters(Struct, frozen=True):
    """What a webhook is told of."""

    state: Annotated[
        list[str] | None,
        typer.Option("-s", "--state", help="States to tell of; repeatable. Without: every end.", autocompletion=states),
    ] = None
    queue: Annotated[
        str, typer.Option("--queue", metavar="NAME", help="Jobs of this queue only; none.", autocompletion=queues)
    ] = ""
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Jobs of this name only, as 'etl-*'; none.")] = ""
    label: Annotated[
        list[str] | None,
        typer.Option("-l", "--label", metavar="KEY=VALUE", help="Jobs with these labels only; repeatable; none."),
    ] = None


def _given(filters: Filters) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if filters.state:
        given["states"] = [name for text in filters.state for name in text.split(",")]
    for field, text in (("queue", filters.queue), ("name", filters.name)):
        if text:
            given[field] = None if text == NONE else text
    if filters.label:
        if any("=" not in label and label != NONE for label in filters.label):
            raise typer.BadParameter("write labels as KEY=VALUE", param_hint="--label")
        given["labels"] = dict(label.split("=", 1) for label in filters.label if label != NONE)
    return given


@app.command(
    "create",
    epilog=examples(
        "consumer webhook create https://example.org/hooks",
        "consumer webhook create https://example.org/hooks -s failed,timed_out --queue etl",
    ),
)
@bundled
def create(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where to POST.")], filters: Filters, view: OneView
) -> None:
    """Make a webhook for your own jobs; it tells of what happens from now on.

    Prints its id and its signing key (Standard Webhooks). The key is shown this once.
    """
    with connect() as client:
        made = client.call("POST", "/v1/webhooks", {"url": url, **_given(filters)})
    show_one(view, made, lambda webhook: f"{cells.plain(webhook['id'])} {cells.plain(webhook['secret'])}\n")


@app.command("list", epilog=examples("consumer webhook list", "consumer webhook list -o wide"))
@bundled
def list_webhooks(view: ListView) -> None:
    """List your webhooks, and whether they work."""
    with connect() as client:
        show_list(view, COLUMNS, pages_of(client, "/v1/webhooks", {}))


@app.command("show", epilog=examples("consumer webhook show 0amg7kk480g01"))
@bundled
def show(webhook: Webhook, view: OneView) -> None:
    """Show one webhook; its key is not shown."""
    with connect() as client:
        show_one(view, client.get(_path(webhook)), to_yaml)


@app.command(
    "update",
    epilog=examples(
        "consumer webhook update 0amg7kk480g01 --state failed",
        "consumer webhook update 0amg7kk480g01 --on",
        "consumer webhook update 0amg7kk480g01 --new-secret",
    ),
)
@bundled
def update(
    webhook: Webhook,
    filters: Filters,
    view: OneView,
    url: Annotated[str, typer.Option("--url", metavar="URL", help="Another address.")] = "",
    on: Annotated[
        bool | None, typer.Option("--on/--off", help="Switch it on, for what happens from then on, or off.")
    ] = None,
    new_secret: Annotated[bool, typer.Option("--new-secret", help="Make another key, and print it.")] = False,
) -> None:
    """Change a webhook; what is not named stays, and `none` takes a filter away."""
    changes = _given(filters) | ({"url": url} if url else {}) | ({"new_secret": True} if new_secret else {})
    if on is not None:
        changes["enabled"] = on
    if not changes:
        raise typer.BadParameter("say what to change; --help has the list")
    with connect() as client:
        changed = client.call("PATCH", _path(webhook), changes)
    show_one(
        view, changed, lambda made: f"{cells.plain(made['id'])} {cells.plain(made.get('secret', ''))}".strip() + "\n"
    )


@app.command("delete", epilog=examples("consumer webhook delete 0amg7kk480g01"))
def delete(webhooks: Annotated[list[str], typer.Argument(metavar="WEBHOOK")], yes: Yes = False) -> None:
    """Delete webhooks, with what they were told."""
    confirm(f"Delete the webhook {', '.join(map(cells.plain, webhooks))} and what it was told?", yes=yes)
    with connect() as client:
        for webhook in webhooks:
            client.call("DELETE", _path(webhook))
            emit(f"{cells.plain(webhook)}\n")


@app.command(
    "deliveries",
    epilog=examples(
        "consumer webhook deliveries 0amg7kk480g01", "consumer webhook deliveries 0amg7kk480g01 --state failed"
    ),
)
@bundled
def deliveries(
    webhook: Webhook,
    view: ListView,
    state: Annotated[str, typer.Option("-s", "--state", help="waiting, delivered or failed.")] = "",
) -> None:
    """List what a webhook was told, newest first, with the answer to the last attempt."""
    with connect() as client:
        show_list(view, DELIVERIES, pages_of(client, f"{_path(webhook)}/deliveries", {"state": state or None}))


@app.command("test", epilog=examples("consumer webhook test 0amg7kk480g01"))
@bundled
def test(webhook: Webhook, view: OneView) -> None:
    """Send a delivery of type webhook.test; prints its id."""
    with connect() as client:
        show_one(view, client.call("POST", f"{_path(webhook)}/test", {}), _id)


@app.command("replay", epilog=examples("consumer webhook replay 0amg7kk480g02"))
def replay(made: Annotated[list[str], typer.Argument(metavar="DELIVERY", help="Ids of deliveries.")]) -> None:
    """Send deliveries again, under their own ids."""
    with connect() as client:
        for delivery in made:
            emit(_id(client.call("POST", f"/v1/deliveries/{quote(delivery, safe='')}/replay", {})))


def _id(document: Document) -> str:
    return f"{cells.plain(document['id'])}\n"


def _path(webhook: str) -> str:
    return f"/v1/webhooks/{quote(webhook, safe='')}"
