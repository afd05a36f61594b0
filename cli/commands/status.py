"""`stats` and `events`: what Core is doing."""

import time
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from cli import cells
from cli.bundles import bundled, examples
from cli.output import Document, OneView, emit, facts, show_one
from cli.profiles import connect

app = typer.Typer()


@app.command("stats", epilog=examples("consumer stats", "consumer stats -o json", "consumer stats --watch"))
@bundled
def stats(
    view: OneView,
    watch: Annotated[bool, typer.Option("--watch", help="Print again every 2 s until interrupted.")] = False,
) -> None:
    """Counts by state, rates and latencies."""
    with connect() as client:
        show_one(view, client.get("/v1/stats"), _describe)
        while watch:
            time.sleep(2.0)
            show_one(view, client.get("/v1/stats"), _describe)


def _describe(document: Document) -> str:
    return facts([(name, cells.plain(value)) for name, value in _flat(document, "")])


def _flat(document: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, value in document.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value


@app.command("events", epilog=examples("consumer events -f", "consumer events -f -o jsonl --job last"))
@bundled
def events(
    view: OneView,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until interrupted.")] = False,
    job: Annotated[str, typer.Option("--job", help="Only of this job.")] = "",
) -> None:
    """State changes as they happen; after a break they go on where they stopped."""
    from cli.selectors import resolve_one
    from swarmsync.events import follow_events, recent_events

    with connect(60.0 if follow else 1.0) as client:
        wanted = resolve_one(client, job) if job else ""
        stream = follow_events(client, {"job": wanted}) if follow else recent_events(client, {"job": wanted})
        for event in stream:
            emit(_event(event, view))


def _event(event: Document, view: OneView) -> str:
    if view.output in ("json", "jsonl"):
        import msgspec

        return msgspec.json.encode(event).decode() + "\n"
    order = ("at", "job", "state", "reason", "message", "worker", "attempt")
    known = [cells.plain(event[name]) for name in order if event.get(name) not in (None, "")]
    return "  ".join(known or [cells.plain(event)]) + "\n"
