"""`token`: create, list, revoke; API tokens for programs."""

from typing import Annotated
from urllib.parse import quote

import typer

from cli import cells
from cli.bundles import bundled, examples
from cli.completions import tokens
from cli.output import Column, ListView, OneView, emit, pages_of, show_list, show_one
from cli.profiles import connect

app = typer.Typer()
COLUMNS = (
    Column("id", wide=True),
    Column("name"),
    Column("user"),
    Column("scopes", lambda token, _now: cells.plain(" ".join(token.get("scopes") or []))),
    Column("expires_at", lambda token, _now: cells.instant(token.get("expires_at"))),
    Column("created", lambda token, now: cells.age(token.get("created_at"), now), wide=True),
)


@app.command(
    "create",
    epilog=examples("consumer token create ci --scope 'jobs:*' --days 30", "consumer token create me --scope '*'"),
)
@bundled
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name for the token.")],
    view: OneView,
    scope: Annotated[
        list[str], typer.Option("--scope", help="What it may do: jobs:read, 'jobs:*', or '*' for all. Repeatable.")
    ],
    days: Annotated[int, typer.Option("--days", min=1, max=90, help="After how many days it ends.")] = 30,
    user: Annotated[str, typer.Option("--user", help="Whose token it is; administrators only.")] = "",
) -> None:
    """Make an API token and print it. It is shown this once; Core keeps its hash only."""
    with connect() as client:
        token = client.call("POST", "/v1/tokens", {"name": name, "scopes": scope, "days": days, "user": user})
    show_one(view, token, lambda document: f"{cells.plain(document['token'])}\n")


@app.command("list", epilog=examples("consumer token list", "consumer token list -o wide"))
@bundled
def list_tokens(view: ListView) -> None:
    """List your API tokens; administrators see those of all."""
    with connect() as client:
        show_list(view, COLUMNS, pages_of(client, "/v1/tokens", {}))


@app.command("revoke", epilog=examples("consumer token revoke ci"))
def revoke(name: Annotated[str, typer.Argument(metavar="NAME", help="Name or id.", autocompletion=tokens)]) -> None:
    """End an API token; it is refused everywhere within five seconds."""
    with connect() as client:
        client.call("DELETE", f"/v1/tokens/{quote(name, safe='')}")
    emit(f"{cells.plain(name)}\n")
