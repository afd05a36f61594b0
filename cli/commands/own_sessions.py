"""`session`: list and end the places where you are logged in."""

from typing import Annotated
from urllib.parse import quote

import typer

from cli import cells
from cli.bundles import bundled, examples
from cli.output import Column, ListView, emit, pages_of, show_list
from cli.profiles import connect

app = typer.Typer()
COLUMNS = (
    Column("id"),
    Column("current"),
    Column("how"),
    Column("address"),
    Column("began", lambda session, now: cells.age(session.get("began_at"), now)),
    Column("expires_at", lambda session, _now: cells.instant(session.get("expires_at"))),
    Column("client", wide=True),
)


@app.command("list", epilog=examples("consumer session list"))
@bundled
def list_sessions(view: ListView) -> None:
    """List the sessions in which you are logged in."""
    with connect() as client:
        show_list(view, COLUMNS, pages_of(client, "/v1/auth/sessions", {}))


@app.command("end", epilog=examples("consumer session end ID"))
def end(session: Annotated[str, typer.Argument(metavar="ID", help="As session list shows it.")]) -> None:
    """End one of your sessions."""
    with connect() as client:
        client.call("DELETE", f"/v1/auth/sessions/{quote(session, safe='')}")
    emit(f"{cells.plain(session)}\n")
