"""`queue`: list, show, create, update, delete, pause, resume."""

from datetime import datetime
from typing import Annotated, Any

import typer
from msgspec import Struct

from cli import cells
from cli.asking import Yes, confirm
from cli.bundles import bundled, examples
from cli.completions import queues
from cli.limits import LimitText, changes_of, placed
from cli.output import Column, Document, ListView, OneView, emit, pages_of, show_list, show_one, to_yaml
from cli.profiles import connect

app = typer.Typer()
Queue = Annotated[str, typer.Argument(metavar="QUEUE", help="Its name.", autocompletion=queues)]


def _running(queue: Document, _now: datetime) -> str:
    return placed(queue.get("running"), queue.get("max_running"))


def _waiting(queue: Document, _now: datetime) -> str:
    return placed(queue.get("waiting"), queue.get("max_waiting"))


COLUMNS = (
    Column("name"),
    Column("paused"),
    Column("waiting", _waiting),
    Column("running", _running),
    Column("per_user", lambda queue, _: cells.plain(queue.get("max_running_per_user"))),
    Column("cpus", lambda queue, _: cells.plain(queue.get("max_cpus"))),
    Column("memory", lambda queue, _: cells.size(queue.get("max_memory"))),
    Column("placement", wide=True),
    Column("weight", wide=True),
    Column("created_at", lambda queue, _: cells.instant(queue.get("created_at")), wide=True),
)


class QueueFlags(Struct, frozen=True):
    """What limits a queue; `none` takes a limit away."""

    max_running: Annotated[LimitText, typer.Option("--max-running", metavar="N", help="Jobs at a time; none.")] = ""
    max_running_per_user: Annotated[
        LimitText, typer.Option("--max-running-per-user", metavar="N", help="Jobs at a time of each user; none.")
    ] = ""
    max_waiting: Annotated[
        LimitText, typer.Option("--max-waiting", metavar="N", help="More are refused when submitted; none.")
    ] = ""
    max_cpus: Annotated[LimitText, typer.Option("--max-cpus", metavar="N", help="Cpus of its jobs; none.")] = ""
    max_memory: Annotated[
        LimitText, typer.Option("--max-memory", metavar="SIZE", help="Memory of its jobs, as 8GiB; none.")
    ] = ""
    placement: Annotated[str, typer.Option("--placement", help="pack or spread its jobs over the workers.")] = ""
    weight: Annotated[LimitText, typer.Option("--weight", metavar="N", help="Its share beside others, 1-1000.")] = ""


@app.command("list", epilog=examples("consumer queue list", "consumer queue list -o wide --watch"))
@bundled
def list_queues(view: ListView) -> None:
    """List queues with what waits and runs in them, as waiting/max_waiting and running/max_running."""
    with connect() as client:
        show_list(view, COLUMNS, pages_of(client, "/v1/queues", {}))


@app.command("show", epilog=examples("consumer queue show default", "consumer queue show gpu -o json"))
@bundled
def show(queue: Queue, view: OneView) -> None:
    """Show one queue."""
    with connect() as client:
        show_one(view, client.get(queue_path(queue)), to_yaml)


@app.command(
    "create", epilog=examples("consumer queue create gpu --max-running 4", "consumer queue create night --paused")
)
@bundled
def create(
    queue: Queue,
    flags: QueueFlags,
    view: OneView,
    paused: Annotated[bool, typer.Option("--paused", help="Its jobs wait until it is resumed.")] = False,
) -> None:
    """Make a queue; prints its name."""
    body = {"name": queue, **changes_of(flags)} | ({"paused": True} if paused else {})
    with connect() as client:
        show_one(view, client.call("POST", "/v1/queues", body), _name)


@app.command(
    "update",
    epilog=examples(
        "consumer queue update gpu --max-running 8 --max-running-per-user 2",
        "consumer queue update gpu --max-running none",
    ),
)
@bundled
def update(queue: Queue, flags: QueueFlags, view: OneView) -> None:
    """Change a queue's limits; what runs already goes on."""
    changes = changes_of(flags)
    if not changes:
        raise typer.BadParameter("give something to change: --max-running, --max-waiting, --weight...")
    with connect() as client:
        show_one(view, client.call("PATCH", queue_path(queue), changes), _name)


@app.command("delete", epilog=examples("consumer queue delete gpu"))
def delete(queue: Queue, yes: Yes = False) -> None:
    """Delete a queue that has no unfinished jobs and no schedules."""
    confirm(f"Delete the queue {cells.plain(queue)}?", yes=yes)
    with connect() as client:
        client.call("DELETE", queue_path(queue))
    emit(f"{cells.plain(queue)}\n")


@app.command("pause", epilog=examples("consumer queue pause gpu"))
def pause(queue: Queue) -> None:
    """Start no more jobs of a queue; those that run go on, and new ones wait."""
    _act(queue, "pause")


@app.command("resume", epilog=examples("consumer queue resume gpu"))
def resume(queue: Queue) -> None:
    """Let the jobs of a paused queue start again."""
    _act(queue, "resume")


def _act(name: str, verb: str) -> None:
    with connect() as client:
        queue: Any = client.call("POST", queue_path(name, verb), repeatable=True)
    emit(f"{cells.plain(queue['name'])}  {'paused' if queue['paused'] else 'open'}\n")


def _name(queue: Document) -> str:
    return f"{cells.plain(queue['name'])}\n"


def queue_path(name: str, *rest: str) -> str:
    from urllib.parse import quote

    return "/".join(["/v1/queues", quote(name, safe=""), *rest])
