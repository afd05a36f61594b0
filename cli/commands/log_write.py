"""`log record`, `log update`, `log delete`: writing the system's log by hand."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from cli import selectors
from cli.bundles import bundled, examples
from cli.output import OneView, emit, show_one
from cli.profiles import connect

app = typer.Typer()
Level = Annotated[str, typer.Option("--level", help="debug, info, warning or error.")]
Record = Annotated[str, typer.Argument(metavar="ID")]


@app.command("record", epilog=examples("consumer log record 'replaced the disk of w3' --level warning"))
@bundled
def record(
    view: OneView,
    message: Annotated[str, typer.Argument(metavar="MESSAGE")],
    level: Level = "info",
    source: Annotated[str, typer.Option("--source", help="Who says it.")] = "consumer",
    job: Annotated[str, typer.Option("--job", help="The job that it is about.")] = "",
) -> None:
    """Write a log record; prints its id."""
    with connect() as client:
        body: dict[str, Any] = {"message": message, "level": level, "source": source}
        if job:
            body["job"] = selectors.resolve_one(client, job)
        show_one(view, client.call("POST", "/v1/logs", body), lambda record: f"{record['id']}\n")


@app.command("update", epilog=examples("consumer log update ID --message 'replaced both disks of w3'"))
@bundled
def update(
    record: Record,
    view: OneView,
    message: Annotated[str, typer.Option("--message", help="The new text.")] = "",
    level: Level = "",
) -> None:
    """Change a log record (operators); prints its id."""
    changes = {name: value for name, value in (("message", message), ("level", level)) if value}
    if not changes:
        raise typer.BadParameter("give something to change: --message or --level")
    with connect() as client:
        show_one(view, client.call("PATCH", _path(record), changes), lambda _: f"{record}\n")


@app.command("delete", epilog=examples("consumer log delete ID"))
def delete(records: Annotated[list[str], typer.Argument(metavar="ID")]) -> None:
    """Delete log records (operators); prints their ids."""
    with connect() as client:
        for entry in records:
            client.call("DELETE", _path(entry))
            emit(f"{entry}\n")


def _path(record: str) -> str:
    return f"/v1/logs/{quote(record, safe='')}"
