"""`job list`, alias `ps`."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any

import typer

from cli import cells
from cli.bundles import bundled, examples
from cli.completions import job_names, jobs, labels, queues, states, users, workers
from cli.output import Column, Document, Fetch, ListView, pages_of, show_list
from cli.schedules import complete as complete_schedules

app = typer.Typer()


def _id(job: Document, _now: datetime) -> str:
    size = job.get("array_size")  # never written like an index: what is copied from here must name the array
    return cells.plain(job["id"]) + (f" (x{size})" if size and job.get("array_index") is None else "")


def _command(job: Document, _now: datetime) -> str:
    import shlex

    spec = job.get("spec") or {}
    command = [*(spec.get("entrypoint") or []), *(spec.get("command") or [])]
    return cells.cut(cells.escape(shlex.join(map(str, command))), 60) or "-"


def _reason(job: Document, _now: datetime) -> str:
    cut = job.get("output_truncated")
    return cells.plain(job.get("reason")) + (f" ({'+'.join(cut)} truncated)" if cut else "")


def _image(job: Document, _now: datetime) -> str:
    return cells.plain((job.get("spec") or {}).get("image"))


COLUMNS = (
    Column("id", _id),
    Column("index", lambda job, _: cells.plain(job.get("array_index")), wide=True),
    Column("name"),
    Column("image", _image),
    Column("state"),
    Column("reason", _reason),
    Column("exit", lambda job, _: cells.plain(job.get("exit_code"))),
    Column("age", lambda job, now: cells.age(job.get("submitted_at"), now)),
    Column("time", lambda job, now: cells.duration(job.get("started_at"), job.get("finished_at"), now)),
    Column("worker"),
    Column("user", wide=True),
    Column("queue", wide=True),
    Column("priority", wide=True),
    Column("attempt", wide=True),
    Column("labels", wide=True),
    Column("command", _command, wide=True),
    Column("message", wide=True),
)
EPILOG = examples(
    "consumer ps",
    "consumer job list --state failed --since 1d -o wide",
    "consumer job list --label team=ml --columns id,name,spec.resources.memory,labels.team",
    "consumer job list --array last --state failed -q",
    "consumer ps --watch",
)


@app.command("list", epilog=EPILOG)
@bundled
def list_jobs(
    *,
    view: ListView,
    everything: Annotated[bool, typer.Option("-a", "--all", help="Plainly the newest, in whatever state.")] = False,
    state: Annotated[
        list[str] | None,
        typer.Option("--state", "-s", help="A state, or waiting, active, finished; repeatable.", autocompletion=states),
    ] = None,
    user: Annotated[str, typer.Option("--user", "-u", help="Jobs of this user.", autocompletion=users)] = "",
    queue: Annotated[str, typer.Option("--queue", help="Jobs of this queue.", autocompletion=queues)] = "",
    name: Annotated[str, typer.Option("--name", help="Jobs of this name.", autocompletion=job_names)] = "",
    label: Annotated[
        list[str] | None,
        typer.Option("-l", "--label", metavar="KEY=VALUE", help="Repeatable.", autocompletion=labels),
    ] = None,
    schedule: Annotated[
        str, typer.Option("--schedule", help="Jobs that this schedule made.", autocompletion=complete_schedules)
    ] = "",
    worker: Annotated[str, typer.Option("--worker", help="Jobs on this worker.", autocompletion=workers)] = "",
    since: Annotated[str, typer.Option("--since", help="Submitted since: 2h, or a time.")] = "",
    array: Annotated[
        str, typer.Option("--array", metavar="JOB", help="The members of an array.", autocompletion=jobs)
    ] = "",
) -> None:
    """List jobs, newest first.

    Without --all, --state or --cursor: all that are not finished, then the newest finished ones, up to --limit.
    """
    from cli import selectors
    from cli.profiles import connect
    from cli.times import since_filter

    filters: dict[str, Any] = {
        "user": user,
        "queue": queue,
        "name": name,
        "label": label or [],
        "schedule": schedule,
        "worker": worker,
        "since": since_filter(since),
    }
    with connect() as client:
        if array:
            filters["array"] = selectors.resolve_one(client, array)
        if state or everything or array or view.cursor:
            fetch = pages_of(client, "/v1/jobs", {**filters, "state": ",".join(state or [])})
        else:
            fetch = _active_first(client, filters)
        show_list(view, COLUMNS, fetch)


def _active_first(client: Any, filters: Document) -> Fetch:
    """Return a `fetch` that never lets finished jobs push active ones off the page."""

    def fetch(limit: int, cursor: str) -> Iterator[Document]:
        items: list[Document] = []
        more = None
        for state in ("active", "finished"):
            for page in pages_of(client, "/v1/jobs", {**filters, "state": state})(limit - len(items), cursor):
                items += page["items"]
                more = page.get("next_cursor") or more
        yield {"items": sorted(items, key=lambda job: str(job["id"]), reverse=True), "next_cursor": more}

    return fetch
