"""How lists and single documents are printed: tables for people, JSON, YAML and names for programs.

JSON is the API's own. Tables are plain columns: in a pipe nothing is cut or wrapped, on a terminal lines are cut to fit
and states have colours.
"""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, NamedTuple

import typer
from msgspec import Struct

from cli import exits
from cli.cells import coloured, cut, plain, width
from swarmsync.errors import Unavailable

Document = dict[str, Any]
Format = Literal["table", "wide", "json", "jsonl", "yaml", "name"]
WATCH_S: Final = 2.0
_GAP: Final = "  "


class Column(NamedTuple):
    """A column of a table: its name for `--columns`, and how to read it from a document."""

    name: str
    show: Callable[[Document, datetime], str] | None = None
    wide: bool = False


class ListView(Struct, frozen=True):
    """The flags of every list."""

    output: Annotated[Format, typer.Option("-o", "--output", help="How to print.")] = "table"
    columns: Annotated[
        str, typer.Option("--columns", help="Columns to show, as a,b,c; any field of the JSON: labels.team.")
    ] = ""
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print ids only.")] = False
    watch: Annotated[bool, typer.Option("--watch", help="Print again every 2 s until interrupted.")] = False
    no_headers: Annotated[bool, typer.Option("--no-headers", help="Leave the header line out.")] = False
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many at most.")] = 50


class OneView(Struct, frozen=True):
    """The flags of a command that shows one thing."""

    output: Annotated[Format, typer.Option("-o", "--output", help="How to print.")] = "table"


def emit(text: str) -> None:
    """Print to stdout at once; a reader that has gone ends the command as a broken pipe ends any program."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        leave_broken_pipe()


def leave_broken_pipe() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the flush at exit must not fail again
    raise typer.Exit(exits.BROKEN_PIPE)


def styled() -> bool:
    """Whether stdout is a terminal that wants colour."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def to_json(document: Any) -> str:
    import msgspec

    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def to_yaml(document: Any) -> str:
    import yaml

    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    return text


def show_list(view: ListView, columns: Sequence[Column], fetch: Callable[[int], Iterator[Document]]) -> None:
    """Print a list. `fetch(limit)` yields the API's pages, whose items together are `limit` at most."""
    if not view.watch:
        _print_list(view, columns, fetch)
        return
    while True:
        try:
            if sys.stdout.isatty():
                emit("\x1b[H\x1b[2J")
            _print_list(view, columns, fetch)
        except Unavailable as error:
            exits.report(error)
        time.sleep(WATCH_S)


def _print_list(view: ListView, columns: Sequence[Column], fetch: Callable[[int], Iterator[Document]]) -> None:
    pages = fetch(view.limit)
    if view.quiet or view.output in ("name", "jsonl"):
        for page in pages:
            emit("".join(_line(view, item) for item in page["items"]))
        return
    whole: Document = {"items": [], "next_cursor": None}
    for page in pages:
        whole = {**page, "items": whole["items"] + page["items"]}
    if view.output == "json":
        emit(to_json(whole))
    elif view.output == "yaml":
        emit(to_yaml(whole))
    else:
        emit(_table(view, columns, whole["items"]))
        if whole.get("next_cursor") and sys.stdout.isatty():
            exits.say(f"there are more than {view.limit}; show them with --limit")


def _line(view: ListView, item: Document) -> str:
    if view.output == "jsonl" and not view.quiet:
        import msgspec

        return msgspec.json.encode(item).decode() + "\n"
    if view.quiet:
        return f"{plain(item.get('id') or item.get('name'))}\n"
    return f"{plain(item.get('name') or item.get('id'))}\n"


def _table(view: ListView, columns: Sequence[Column], items: Sequence[Document]) -> str:
    chosen = _chosen(view, columns, items)
    now = datetime.now(UTC)
    rows = [[cell(column, item, now) for column in chosen] for item in items]
    header = [] if view.no_headers else [[column.name.upper() for column in chosen]]
    style = styled()
    terminal = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    return "".join(f"{line}\n" for line in aligned([*header, *rows], terminal_columns=terminal, style=style))


def _chosen(view: ListView, columns: Sequence[Column], items: Sequence[Document]) -> list[Column]:
    if not view.columns:
        return [column for column in columns if view.output == "wide" or not column.wide]
    known = {column.name: column for column in columns}
    chosen = [known.get(name) or Column(name) for name in (part.strip() for part in view.columns.split(",")) if name]
    for column in chosen:
        root = column.name.partition(".")[0]
        if column.name not in known and items and not any(root in item for item in items):
            raise typer.BadParameter(f"no column {column.name!r}; there are {', '.join(known)}", param_hint="--columns")
    return chosen


def cell(column: Column, item: Document, now: datetime) -> str:
    return column.show(item, now) if column.show else plain(field(item, column.name))


def field(document: Any, path: str) -> Any:
    """Return the value at a dotted path, or None. A key that has dots itself is found too (`labels.a.b`)."""
    if not isinstance(document, dict):
        return None
    if path in document:
        return document[path]
    first, _, rest = path.partition(".")
    return field(document.get(first), rest) if rest else None


def aligned(rows: Sequence[Sequence[str]], *, terminal_columns: int = 0, style: bool = False) -> Iterator[str]:
    """Yield rows as lines with aligned columns; with `terminal_columns` the lines are cut to fit."""
    if not rows:
        return
    widths = [max(width(row[index]) for row in rows) for index in range(len(rows[0]))]
    for row in rows:
        cells, used = [], 0
        for index, text in enumerate(row):
            room = max(1, terminal_columns - used) if terminal_columns else 0
            shown = cut(text, room) if room else text
            used += widths[index] + len(_GAP)
            padding = "" if index == len(row) - 1 else " " * (widths[index] - width(shown))
            cells.append((coloured(shown) if style else shown) + padding)
            if terminal_columns and used >= terminal_columns:
                break
        yield _GAP.join(cells).rstrip()


def show_one(view: OneView, document: Document, describe: Callable[[Document], str]) -> None:
    """Print one document; `describe` makes the text for people."""
    match view.output:
        case "json":
            emit(to_json(document))
        case "jsonl":
            emit(_line(ListView(output="jsonl"), document))
        case "yaml":
            emit(to_yaml(document))
        case "name":
            emit(_line(ListView(output="name"), document))
        case _:
            emit(describe(document))


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Return `Name:  value` lines; empty values are left out."""
    shown = [(f"{name}:", text) for name, text in pairs if text not in ("", "-")]
    style = styled()
    return "".join(f"{line}\n" for line in aligned(shown, style=style))


def pages_of(client: Any, path: str, filters: Document) -> Callable[[int], Iterator[Document]]:
    """Return the `fetch` of a plain list of the API."""

    def fetch(limit: int) -> Iterator[Document]:
        left, cursor = limit, None
        while left > 0:
            page = client.get(path, {**filters, "limit": min(left, 1_000), "cursor": cursor})
            page["items"] = page["items"][:left]
            left -= len(page["items"])
            cursor = page.get("next_cursor")
            yield page
            if not cursor:
                return

    return fetch
