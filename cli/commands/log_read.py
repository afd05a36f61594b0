"""`log list`, `log search`, `log show`, `log follow`: the system's own log records."""

import time
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer
from msgspec import Struct

from cli import cells
from cli.bundles import bundled, examples
from cli.completions import jobs, levels, modules
from cli.output import (
    Column,
    Document,
    ListView,
    OneView,
    emit,
    pages_of,
    show_list,
    show_one,
    stream_text,
    styled,
    to_yaml,
)
from cli.profiles import connect
from cli.times import since_filter

app = typer.Typer()
FOLLOW_S: Final = 1.0
COLUMNS = (
    Column("id", wide=True),
    Column("at", lambda record, _now: cells.instant(record.get("at"), fraction=3)),
    Column("level"),
    Column("source"),
    Column("job"),
    Column("message"),
    Column("fields", wide=True),
)


class LogFilters(Struct, frozen=True):
    source: Annotated[
        str, typer.Option("--source", help="Records of this source, such as scheduler.", autocompletion=modules)
    ] = ""
    level: Annotated[
        str, typer.Option("--level", help="This level or above: debug, info, warning, error.", autocompletion=levels)
    ] = ""
    job: Annotated[str, typer.Option("--job", help="Records about this job.", autocompletion=jobs)] = ""
    since: Annotated[str, typer.Option("--since", help="Since: 2h, or a time.")] = ""

    def query(self, client: Any, text: str = "") -> Document:
        from cli import selectors

        job = selectors.resolve_one(client, self.job) if self.job else ""
        return {"source": self.source, "level": self.level, "job": job, "since": since_filter(self.since), "q": text}


@app.command("list", epilog=examples("consumer log list --level warning --since 1h", "consumer log list --job last"))
@bundled
def list_records(
    view: ListView,
    filters: LogFilters,
    text: Annotated[str, typer.Option("--text", help="Records that contain this.")] = "",
) -> None:
    """List log records, newest first."""
    with connect() as client:
        show_list(view, COLUMNS, pages_of(client, "/v1/logs", filters.query(client, text)))


@app.command("search", epilog=examples("consumer log search 'lease' --since 1d"))
@bundled
def search(view: ListView, filters: LogFilters, text: Annotated[str, typer.Argument(metavar="TEXT")]) -> None:
    """List log records that contain a text, newest first."""
    with connect() as client:
        show_list(view, COLUMNS, pages_of(client, "/v1/logs", filters.query(client, text)))


@app.command("show", epilog=examples("consumer log show ID"))
@bundled
def show(record: Annotated[str, typer.Argument(metavar="ID")], view: OneView) -> None:
    """Show one log record."""
    from urllib.parse import quote

    with connect() as client:
        show_one(view, client.get(f"/v1/logs/{quote(record, safe='')}"), to_yaml)


@app.command(
    "follow", epilog=examples("consumer log follow", "consumer log follow --source Dispatcher --level warning")
)
@bundled
def follow(filters: LogFilters, view: OneView) -> None:
    """Print log records as they come, beginning with the last few; Ctrl-C ends."""
    from cli import exits
    from swarmsync.errors import Unavailable

    with connect(60.0) as client:
        query = filters.query(client)
        limit = 1_000 if query["since"] else 10
        seen: dict[str, None] = {}
        while True:
            try:
                items = client.get("/v1/logs", {**query, "limit": limit})["items"]
            except Unavailable as error:
                exits.report(error)
                items = []
            for item in reversed(items):
                if item["id"] not in seen:
                    seen[item["id"]] = None
                    emit(stream_text(view, item, _line))
            if items:
                limit, query["since"] = 1_000, items[0]["at"]
            for old in list(seen)[:-2_000]:
                del seen[old]
            time.sleep(FOLLOW_S)


def _line(item: Document) -> str:
    now = datetime.now(UTC)
    level = cells.plain(item.get("level")).ljust(7)
    parts = [
        cells.plain(item.get("at")),
        cells.coloured(level) if styled() else level,
        cells.plain(item.get("source")),
        COLUMNS[5].show(item, now) if COLUMNS[5].show else cells.plain(item.get("message")),
    ]
    return " ".join(parts) + "\n"
