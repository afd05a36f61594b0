"""What changes schedules: update, delete, pause, resume, trigger."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import exits
from cli.asking import confirm
from cli.bundles import bundled, examples
from cli.output import OneView, emit, show_one
from cli.profiles import connect
from cli.schedules import OneSchedule, Schedules, TimeFlags, resolve, resolve_one, schedule_path
from cli.spec_flags import SpecFlags
from swarmsync.errors import SwarmError

if TYPE_CHECKING:
    from swarmsync.client import Client

app = typer.Typer()
Yes = Annotated[bool, typer.Option("-y", "--yes", help="Do not ask when there are several.")]
UPDATE_EXAMPLES = examples(
    "consumer schedule update nightly --cron '0 3 * * *' --tz Europe/Berlin",
    "consumer schedule update nightly --memory 1g --image alpine:3.21     (jobs made from now on)",
    "consumer schedule update nightly -f nightly.yaml",
)


@app.command("update", epilog=UPDATE_EXAMPLES)
@bundled
def update(
    *,
    schedule: OneSchedule,
    times: TimeFlags,
    flags: SpecFlags,
    view: OneView,
    file: Annotated[str, typer.Option("-f", "--file", metavar="FILE", help="What to change; - is stdin.")] = "",
    image: Annotated[str, typer.Option("--image", help="The image of its jobs.")] = "",
) -> None:
    """Change when a schedule fires, its name, or its job; prints its id. What is not given stays.

    A section such as resources is merged, lists are replaced. Of --cron, --at and --delay the new one stays alone.
    """
    changes = _changes(file, times.document(), flags.document() | ({"image": image} if image else {}))
    if not changes:
        raise typer.BadParameter("give something to change: --cron, --tz, --name, --memory... or -f FILE")
    with connect() as client:
        changed: Any = client.call("PATCH", schedule_path(resolve_one(client, schedule)), changes)
        show_one(view, changed, lambda schedule: f"{schedule['id']}\n")


def _changes(file: str, times: dict[str, Any], job: dict[str, Any]) -> dict[str, Any]:
    """Return a merge patch. A name renames the schedule; its jobs keep the name that their spec gives."""
    from swarmsync.protocol.schedule_forms import nested

    given = dict(times)
    if name := job.pop("name", ""):
        given["name"] = name
    if job:
        given["job"] = job
    if file:
        from cli.spec_files import merged, read_specs

        documents = read_specs(file)
        if len(documents) != 1:
            raise typer.BadParameter(f"{file}: {len(documents)} documents; one is wanted here")
        given = merged(nested(documents[0]), given)
    rules = [rule for rule in ("cron", "at", "delay") if given.get(rule)]
    return ({rule: None for rule in ("cron", "at", "delay") if rule not in given} if rules else {}) | given


@app.command("delete", epilog=examples("consumer schedule delete nightly", "consumer schedule delete -y A B"))
def delete(schedules: Schedules, yes: Yes = False) -> None:
    """Delete schedules and their history; jobs that they made stay."""

    def one(client: "Client", schedule: str) -> str:
        client.call("DELETE", schedule_path(schedule))
        return schedule

    _each(schedules, one, ask=None if yes else "Delete")


@app.command("pause", epilog=examples("consumer schedule pause nightly"))
def pause(schedules: Schedules) -> None:
    """Fire no more until resumed; instants that pass meanwhile are in the history as skipped."""
    _each(schedules, lambda client, schedule: _act(client, schedule, "pause"))


@app.command("resume", epilog=examples("consumer schedule resume nightly"))
def resume(schedules: Schedules) -> None:
    """Let paused schedules fire again, from the next instant on."""
    _each(schedules, lambda client, schedule: _act(client, schedule, "resume"))


@app.command(
    "trigger", epilog=examples("consumer schedule trigger nightly", "consumer job logs -f $(consumer cron trigger A)")
)
def trigger(schedules: Schedules) -> None:
    """Make a job of a schedule now, besides its instants; prints the job's id."""

    def one(client: "Client", schedule: str) -> str:
        answer = client.call("POST", schedule_path(schedule, "trigger"))
        return str(answer["id"])

    _each(schedules, one)


def _act(client: "Client", schedule: str, verb: str) -> str:
    return str(client.call("POST", schedule_path(schedule, verb), repeatable=True)["id"])


def _each(schedules: list[str], action: Callable[["Client", str], str], *, ask: str | None = None) -> None:
    """Do `action` to every schedule and print what it returns; end with the code of the first refusal."""
    code = 0
    with connect() as client:
        found = resolve(client, schedules)
        if ask and len(found) > 1:
            confirm(f"{ask} {len(found)} schedules?", yes=False)
        for schedule in found:
            try:
                emit(f"{action(client, schedule)}\n")
            except SwarmError as error:
                exits.report(error)
                code = code or exits.management_code(error)
    raise typer.Exit(code)
