"""`stats` and `events`: what Core is doing."""

from typing import Annotated

import typer

from cli import cells
from cli.bundles import bundled, examples
from cli.completions import jobs
from cli.output import Document, OneView, emit, facts, once_or_again, one_text, stream_text
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
        once_or_again(watch, lambda: one_text(view, client.get("/v1/stats"), _describe))


def _describe(document: Document) -> str:
    """The states that have jobs, and what else is not nothing."""
    start = document.get("submit_to_start_ms") or {}
    known = ""
    if start.get("jobs"):
        known = f"p50 {start['p50']:.0f} ms, p99 {start['p99']:.0f} ms, of the last {start['jobs']}"
    return facts(
        [
            ("Jobs", _counted(document.get("jobs")) or "none"),
            ("Waiting for", _counted(document.get("waiting"))),
            ("Workers", _counted(document.get("workers")) or "none"),
            ("Finished", f"{document.get('finished_last_minute', 0)} in the last minute"),
            ("Start after", known),
        ]
    )


def _counted(counts: Document | None) -> str:
    return ", ".join(f"{count} {cells.plain(name)}" for name, count in (counts or {}).items() if count)


@app.command("events", epilog=examples("consumer events -f", "consumer events -f -o jsonl --job last"))
@bundled
def events(
    view: OneView,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until interrupted.")] = False,
    job: Annotated[str, typer.Option("--job", help="Only of this job.", autocompletion=jobs)] = "",
) -> None:
    """State changes as they happen; after a break they go on where they stopped."""
    from cli.selectors import resolve_one
    from swarmsync.events import follow_events, recent_events

    with connect(60.0 if follow else 1.0) as client:
        wanted = resolve_one(client, job) if job else ""
        stream = follow_events(client, {"job": wanted}) if follow else recent_events(client, {"job": wanted})
        for event in stream:
            emit(stream_text(view, {"id": event.get("job")} if view.output == "name" else event, _event))


def _event(event: Document) -> str:
    order = ("at", "job", "state", "reason", "message", "worker", "attempt")
    known = [cells.plain(event[name]) for name in order if event.get(name) not in (None, "")]
    return "  ".join(known or [cells.plain(event)]) + "\n"
