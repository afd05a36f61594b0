"""What changes jobs: update, cancel, kill, hold, release, rerun, delete."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import exits, selectors
from cli.arguments import Jobs, OneJob
from cli.asking import confirm
from cli.bundles import bundled, examples
from cli.output import OneView, emit, show_one
from cli.profiles import connect
from cli.spec_flags import pairs
from swarmsync.errors import SwarmError

if TYPE_CHECKING:
    from swarmsync.client import Client

app = typer.Typer()
Yes = Annotated[bool, typer.Option("-y", "--yes", help="Do not ask when there are several.")]


@app.command(
    "update", epilog=examples("consumer job update last --priority 90", "consumer job update JOB -l team=ml -l old-")
)
@bundled
def update(
    *,
    job: OneJob,
    view: OneView,
    name: Annotated[str, typer.Option("--name", help="A name for people.")] = "",
    priority: Annotated[int | None, typer.Option("--priority", help="0-100, higher first.")] = None,
    timeout: Annotated[str, typer.Option("--timeout", help="Stop an attempt that runs longer.")] = "",
    queue: Annotated[str, typer.Option("--queue", help="The queue to wait in.")] = "",
    label: Annotated[
        list[str] | None, typer.Option("-l", "--label", metavar="KEY=VALUE", help="A label; KEY- removes it.")
    ] = None,
) -> None:
    """Change name, labels, priority, time-out or queue; prints the job's id.

    Priority, time-out and queue change only while the job waits.
    """
    labels: dict[str, str | None] = {}
    for text in label or []:
        labels |= {text[:-1]: None} if text.endswith("-") and "=" not in text else pairs([text], "--label")
    given = {"name": name, "priority": priority, "timeout": timeout, "queue": queue, "labels": labels}
    changes = {name: value for name, value in given.items() if value not in (None, "", {})}
    if not changes:
        raise typer.BadParameter("give something to change: --name, --label, --priority, --timeout or --queue")
    with connect() as client:
        changed: Any = client.update(selectors.resolve_one(client, job), changes)
        show_one(view, changed, lambda job: f"{job['id']}\n")


@app.command(
    "cancel", epilog=examples("consumer job cancel last", "consumer job cancel --wait --reason 'wrong data' J")
)
def cancel(
    jobs: Jobs,
    reason: Annotated[str, typer.Option("--reason", help="Kept with the job.")] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Until they have ended.")] = False,
    yes: Yes = False,
) -> None:
    """Stop jobs gracefully, or take them out of the line.

    With --wait it returns when their containers are gone; where a worker cannot be reached it says by when it will
    have ended its container by itself.
    """

    def one(client: "Client", job_id: str) -> str:
        job = client.cancel(job_id, reason)
        return _until_gone(client, job_id) if wait else job["id"]

    _each(jobs, one, ask=None if yes else "Cancel")


def _until_gone(client: "Client", job_id: str) -> str:
    """Wait for the end; say once by when that is, where only a lease will bring it about."""
    told = False
    while True:
        try:
            return str(client.wait(job_id, timeout_s=2 if not told else None)["id"])
        except TimeoutError:
            job = client.job(job_id)
            if job.get("gone_by"):
                told = True
                sentence = f"job {job_id}: worker {job['worker']} cannot be reached; it ends the container by itself"
                exits.say(f"{sentence} by {job['gone_by']}, when its lease is over")


@app.command("kill", epilog=examples("consumer job kill last"))
def kill(jobs: Jobs, yes: Yes = False) -> None:
    """Stop jobs at once (SIGKILL)."""
    _each(jobs, lambda client, job_id: client.act(job_id, "kill")["id"], ask=None if yes else "Kill")


@app.command("hold", epilog=examples("consumer job hold JOB"))
def hold(jobs: Jobs) -> None:
    """Park waiting jobs until they are released."""
    _each(jobs, lambda client, job_id: client.act(job_id, "hold")["id"])


@app.command("release", epilog=examples("consumer job release JOB"))
def release(jobs: Jobs) -> None:
    """Let held jobs go on."""
    _each(jobs, lambda client, job_id: client.act(job_id, "release")["id"])


@app.command("rerun", epilog=examples("consumer job rerun last", "consumer job rerun --failed ARRAY"))
def rerun(
    jobs: Jobs,
    failed: Annotated[bool, typer.Option("--failed", help="Of an array only what did not succeed.")] = False,
) -> None:
    """Submit the same spec again as a new job; prints the new id."""
    _each(jobs, lambda client, job_id: client.rerun(job_id, failed=failed)["id"])


@app.command("delete", epilog=examples("consumer job delete JOB", "consumer job delete -y $(consumer ps -s failed -q)"))
def delete(jobs: Jobs, yes: Yes = False) -> None:
    """Delete the records of finished jobs."""

    def one(client: "Client", job_id: str) -> str:
        client.delete(job_id)
        return job_id

    _each(jobs, one, ask=None if yes else "Delete")


def _each(jobs: list[str], action: Callable[["Client", str], str], *, ask: str | None = None) -> None:
    """Do `action` to every job and print the ids; go on after a refusal and end with the code of the first one."""
    code = 0
    with connect() as client:
        ids = selectors.resolve(client, jobs)
        if ask and len(ids) > 1:
            confirm(f"{ask} {len(ids)} jobs?", yes=False)
        for job_id in ids:
            try:
                emit(f"{action(client, job_id)}\n")
            except SwarmError as error:
                exits.report(error)
                code = code or exits.management_code(error)
    raise typer.Exit(code)
