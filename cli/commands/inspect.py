"""`inspect jobs`, `inspect core`, `main-menu`: the full-screen programs, or one look at what they would show."""

import contextlib
import sys
from datetime import datetime
from typing import Annotated, Any, Literal

import typer
from msgspec import Struct

from cli import cells
from cli.bundles import bundled, examples
from cli.completions import queues, states, users, workers
from cli.output import Document, aligned, emit, to_json, to_yaml
from cli.profiles import connect
from cli.times import since_filter

app = typer.Typer()
JOBS_EXAMPLES = examples(
    "consumer inspect jobs",
    "consumer inspect jobs --user ann --state waiting",
    "consumer inspect jobs --at -2m --speed 10",
    "consumer inspect jobs --snapshot --at 2026-11-24T02:00:00Z -o json",
)


class SnapshotView(Struct, frozen=True):
    """One look in place of a screen."""

    snapshot: Annotated[bool, typer.Option("--snapshot", help="Print it once, in place of a screen.")] = False
    output: Annotated[
        Literal["table", "json", "yaml"], typer.Option("-o", "--output", help="How to print a snapshot.")
    ] = "table"

    @property
    def wanted(self) -> bool:
        return self.snapshot or not (sys.stdin.isatty() and sys.stdout.isatty())

    def show(self, document: Document, describe: Any) -> None:
        forms = {"json": to_json, "yaml": to_yaml}
        emit(forms.get(self.output, describe)(document))


class JobFilters(Struct, frozen=True):
    user: Annotated[str, typer.Option("--user", "-u", help="Jobs of this user.", autocompletion=users)] = ""
    state: Annotated[
        str, typer.Option("--state", "-s", help="A state, or active, waiting, placed.", autocompletion=states)
    ] = ""
    queue: Annotated[str, typer.Option("--queue", help="Jobs of this queue.", autocompletion=queues)] = ""
    worker: Annotated[str, typer.Option("--worker", help="Jobs on this worker.", autocompletion=workers)] = ""
    text: Annotated[str, typer.Option("--text", help="Jobs with this in id, name, reason or worker.")] = ""


@app.command("jobs", epilog=JOBS_EXAMPLES)
@bundled
def jobs(
    *,
    view: SnapshotView,
    filters: JobFilters,
    at: Annotated[str, typer.Option("--at", metavar="TIME", help="Begin in the past: -2m, or a time.")] = "",
    speed: Annotated[int, typer.Option("--speed", min=1, max=60, help="How fast the past goes by.")] = 1,
) -> None:
    """JobInspect: jobs, workers and assignments as they move, or as they were.

    Without a terminal, and with --snapshot, the jobs that had not ended are printed once.
    """
    from cli.tui.job_board import Filter

    moment = since_filter(at.removeprefix("-"), flag="--at")
    wanted = Filter(filters.user, filters.state, filters.queue, filters.worker, filters.text)
    if view.wanted:
        from cli.tui.job_board import JobBoard

        board = JobBoard()
        with connect() as client:
            document = _snapshot(client, moment)
        board.begin(document["at"], document["items"])
        view.show(dict(board.snapshot(wanted)), _describe_jobs)
        return
    _check_login()
    from cli.tui.job_inspect import JobInspect
    from cli.tui.widgets import Program

    begin = datetime.fromisoformat(moment).timestamp() if moment else None
    Program(JobInspect(wanted=wanted, at=begin, speed=speed), connect).run()


@app.command("core", epilog=examples("consumer inspect core", "consumer inspect core --snapshot -o json"))
@bundled
def core(view: SnapshotView) -> None:
    """CoreInspect: the engine's modules, their pulses and rings, and which of them holds the others up.

    Without a terminal, and with --snapshot, the figures are printed once.
    """
    from cli.tui.core_board import describe, figures

    if view.wanted:
        with connect() as client:
            document = client.get("/v1/modules")
        view.show(dict(figures(document["items"])), describe)
        return
    _check_login()
    from cli.tui.core_inspect import CoreInspect
    from cli.tui.widgets import Program

    Program(CoreInspect(), connect).run()


@app.command("main-menu", epilog=examples("consumer main-menu"))
def main_menu() -> None:
    """The menu: jobs, workers, schedules, logs and the inspectors, by keyboard or mouse; needs a terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise typer.BadParameter("the menu needs a terminal; consumer --help lists the commands that do not")
    _check_login()
    from cli.tui.main_menu import MainMenu
    from cli.tui.widgets import Program

    Program(MainMenu(), connect).run()


def _check_login() -> None:
    """Say before the screen opens what it could only say again and again. A Core that is away is waited for there."""
    from swarmsync.errors import Unavailable

    with connect(patience_s=0.0) as client, contextlib.suppress(Unavailable):
        client.session()


def _snapshot(client: Any, moment: str | None) -> Document:
    """Return all pages of a snapshot as one document; they are all of one moment."""
    whole: Document = client.get("/v1/events/snapshot", {"at": moment, "limit": 5_000})
    while whole["next_cursor"]:
        query = {"at": whole["at"], "limit": 5_000, "cursor": whole["next_cursor"]}
        page = client.get("/v1/events/snapshot", query)
        whole = {**whole, "items": whole["items"] + page["items"], "next_cursor": page["next_cursor"]}
    return whole


def _describe_jobs(document: Document) -> str:
    now = datetime.fromisoformat(document["at"])
    counts = ", ".join(f"{count} {state}" for state, count in document["jobs"].items()) or "no job waits or runs"
    lines = [f"At {document['at']}: {counts}"]
    if document["waiting"]:
        lines.append("Waiting for: " + ", ".join(f"{name} {count}" for name, count in document["waiting"].items()))
    if document["workers"]:
        lines += ["", *aligned([["WORKER", "JOBS", "CPUS", "MEMORY"], *map(_lane, document["workers"])])]
    if document["items"]:
        rows = [["ID", "NAME", "USER", "STATE", "REASON", "WORKER", "AGE"]]
        for job in document["items"]:
            words = [job[name] for name in ("id", "name", "user", "state", "reason", "worker")]
            rows.append([*map(cells.plain, words), cells.age(job["since"], now)])
        lines += ["", *aligned(rows)]
    return "".join(f"{line}\n" for line in lines)


def _lane(lane: Document) -> list[str]:
    return [cells.plain(lane["name"]), str(lane["jobs"]), f"{lane['cpus_used']:g}", cells.size(lane["memory_used"])]
