"""How lists and single documents are printed: tables for people, JSON, YAML and names for programs.

JSON is the API's own. Tables are plain columns: in a pipe nothing is cut or wrapped, on a terminal lines are cut to fit
and states have colours.
"""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
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
#: Fields that only jobs and their events, and webhooks, have.
_NOT_BY_NAME: Final = frozenset({"fence", "url"})


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
    cursor: Annotated[
        str, typer.Option("--cursor", metavar="CURSOR", help="Go on behind this: next_cursor of -o json.")
    ] = ""


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


#: Yields the API's pages, whose items together are as many at most, from behind a cursor on.
Fetch = Callable[[int, str], Iterator[Document]]


def show_list(view: ListView, columns: Sequence[Column], fetch: Fetch) -> None:
    """Print a list. What is for programs is printed page by page, as it comes."""
    if not view.watch and (view.quiet or view.output in ("name", "jsonl")):
        for page in fetch(view.limit, view.cursor):
            emit("".join(_line(view, item) for item in page["items"]))
        return
    once_or_again(view.watch, lambda: _list_text(view, columns, fetch))


def once_or_again(watch: bool, text: Callable[[], str]) -> None:
    """Print a text once; with `watch` every two seconds until interrupted, on a terminal in place."""
    if not watch:
        emit(text())
        return
    first = True
    while True:
        try:
            emit(_in_place(text(), first=first) if sys.stdout.isatty() else text())
            first = False
        except Unavailable as error:
            exits.report(error)
        time.sleep(WATCH_S)


def _in_place(text: str, *, first: bool) -> str:
    """Return what draws over the text before: each line is cleared behind its end, so that nothing flickers."""
    columns, rows = shutil.get_terminal_size()
    head = f"every {WATCH_S:g} s, now {datetime.now(UTC):%H:%M:%S} UTC; Ctrl-C ends"
    lines = [head[:columns], *text.splitlines()][: rows - 1]
    home = "\x1b[H\x1b[2J" if first else "\x1b[H"
    return home + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J"


def _list_text(view: ListView, columns: Sequence[Column], fetch: Fetch) -> str:
    whole: Document = {"items": [], "next_cursor": None}
    for page in fetch(view.limit, view.cursor):
        whole = {**page, "items": whole["items"] + page["items"]}
    if view.quiet or view.output in ("name", "jsonl"):
        return "".join(_line(view, item) for item in whole["items"])
    if view.output == "json":
        return to_json(whole)
    if view.output == "yaml":
        return to_yaml(whole)
    if sys.stdout.isatty() and not view.watch:
        if not whole["items"]:
            exits.say("there is nothing to list")
        elif whole.get("next_cursor"):
            more = f"--cursor {whole['next_cursor']}"
            exits.say(f"there are more than {view.limit}; show them with --limit, or go on with {more}")
    return _table(view, columns, whole["items"])


def _line(view: ListView, item: Document) -> str:
    if view.output == "jsonl" and not view.quiet:
        import msgspec

        return msgspec.json.encode(item).decode() + "\n"
    if view.quiet:
        return f"{plain(item.get('id') or item.get('name'))}\n"
    return f"{plain(_handle(item))}\n"


def _handle(item: Document) -> Any:
    """Return what `-o name` prints: the word that names this in the next command.

    That is the id where the name need not be unique (of a job), or names something else (a webhook's is that of jobs).
    """
    if item.keys() & _NOT_BY_NAME:
        return item.get("id") or item.get("job")
    return next((item[key] for key in ("registry", "username", "name", "id") if item.get(key)), None)


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
    emit(one_text(view, document, describe))


def show_each(
    view: OneView, documents: Iterable[Document], describe: Callable[[Document], str], *, several: bool
) -> None:
    """Print documents as they come. Of several, JSON is one list, and YAML documents are set apart.

    What came before a failure is printed: it may have been made.
    """
    if not several or view.output != "json":
        for document in documents:
            emit(stream_text(view, document, describe) if several else one_text(view, document, describe))
        return
    shown: list[Document] = []
    try:
        for document in documents:
            shown.append(document)  # noqa: PERF402 what came before a failure stays
    finally:
        emit(to_json(shown))


def stream_text(view: OneView, document: Document, describe: Callable[[Document], str]) -> str:
    """Return one of many documents: an object of JSON in one line, or a YAML document that is set apart."""
    if view.output in ("json", "jsonl"):
        return _line(ListView(output="jsonl"), document)
    if view.output == "yaml" or (describe is to_yaml and view.output != "name"):
        return f"---\n{to_yaml(document)}"
    return one_text(view, document, describe)


def one_text(view: OneView, document: Document, describe: Callable[[Document], str]) -> str:
    match view.output:
        case "json":
            return to_json(document)
        case "jsonl":
            return _line(ListView(output="jsonl"), document)
        case "yaml":
            return to_yaml(document)
        case "name":
            return _line(ListView(output="name"), document)
        case _:
            return describe(document)


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Return `Name:  value` lines; empty values are left out."""
    shown = [(f"{name}:", text) for name, text in pairs if text not in ("", "-")]
    style = styled()
    return "".join(f"{line}\n" for line in aligned(shown, style=style))


def pages_of(client: Any, path: str, filters: Document) -> Fetch:
    """Return the `fetch` of a plain list of the API."""

    def fetch(limit: int, cursor: str) -> Iterator[Document]:
        left, behind = limit, cursor or None
        while left > 0:
            page = client.get(path, {**filters, "limit": min(left, 1_000), "cursor": behind})
            page["items"] = page["items"][:left]
            left -= len(page["items"])
            behind = page.get("next_cursor")
            yield page
            if not behind:
                return

    return fetch
