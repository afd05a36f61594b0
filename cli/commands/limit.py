"""`limit`: list, show, show-user, set-user, clear-user."""

import sys
from typing import Annotated, Any, Literal

import typer
from msgspec import Struct

from cli import cells
from cli.bundles import bundled, examples
from cli.completions import user_names
from cli.limits import LimitText, changes_of, placed
from cli.output import Column, Document, ListView, OneView, pages_of, show_list, show_one, to_yaml
from cli.profiles import connect

app = typer.Typer()
User = Annotated[str, typer.Argument(metavar="USER", help="Name or id.", autocompletion=user_names)]
COLUMNS = (
    Column("kind"),
    Column("name"),
    Column("held", lambda limit, _: placed(limit.get("held"), limit.get("limit"))),
    Column("waiting"),
)
HOLDER_COLUMNS = (
    Column("job"),
    Column("name"),
    Column("user"),
    Column("state"),
    Column("fence"),
    Column("worker"),
    Column("age", lambda holder, _: cells.span(float(holder.get("age_s") or 0))),
    Column("queue", wide=True),
    Column("limit", wide=True),
    Column("cpus", wide=True),
    Column("memory", lambda holder, _: cells.size(holder.get("memory")), wide=True),
    Column("gpus", wide=True),
    Column("since", wide=True),
)


class UserFlags(Struct, frozen=True):
    """What limits a user; `none` takes a limit away."""

    max_running: Annotated[LimitText, typer.Option("--max-running", metavar="N", help="Jobs at a time; none.")] = ""
    max_cpus: Annotated[LimitText, typer.Option("--max-cpus", metavar="N", help="Cpus at a time; none.")] = ""
    max_memory: Annotated[
        LimitText, typer.Option("--max-memory", metavar="SIZE", help="Memory at a time, as 8GiB; none.")
    ] = ""
    max_gpus: Annotated[LimitText, typer.Option("--max-gpus", metavar="N", help="GPUs at a time; none.")] = ""
    weight: Annotated[LimitText, typer.Option("--weight", metavar="N", help="Share beside others, 1-1000.")] = ""


@app.command("list", epilog=examples("consumer limit list", "consumer limit list --kind queue --watch"))
@bundled
def list_limits(
    view: ListView,
    kind: Annotated[
        Literal["key", "queue", "user"], typer.Option("--kind", help="Keys of jobs, queues, or users with limits.")
    ] = "key",
) -> None:
    """List limits with the slots that are held and the jobs that wait."""
    with connect() as client:
        show_list(view, COLUMNS, pages_of(client, "/v1/limits", {"kind": kind}))


@app.command(
    "show", epilog=examples("consumer limit show customer-17", "consumer limit show gpu --kind queue -o json --watch")
)
@bundled
def show(
    name: Annotated[str, typer.Argument(metavar="KEY", help="A concurrency key, or what --kind says.")],
    view: ListView,
    kind: Annotated[
        Literal["key", "queue", "user", "array"],
        typer.Option("--kind", help="What KEY is: also a queue, user or array."),
    ] = "key",
) -> None:
    """Show who holds the slots of a limit, and for how long."""
    with connect() as client:
        fetch = pages_of(client, "/v1/limits/holders", {"kind": kind, "name": name})

        def told(limit: int, cursor: str) -> Any:
            for number, page in enumerate(fetch(limit, cursor)):
                page["items"] = [{"id": item["job"], **item} for item in page["items"]]
                if number == 0 and view.output in ("table", "wide") and not view.quiet:
                    print(_standing(page), file=sys.stderr, flush=True)
                yield page

        show_list(view, HOLDER_COLUMNS, told)


def _standing(page: Document) -> str:
    of = "" if page["limit"] is None else f" of {page['limit']}"
    seen = f"{page['kind']} {cells.plain(page['name'])}"
    return f"{seen}: {page['held']}{of} slots held, {page['waiting']} waiting"


@app.command("show-user", epilog=examples("consumer limit show-user ann"))
@bundled
def show_user(user: User, view: OneView) -> None:
    """Show how much a user may take at a time, and takes."""
    with connect() as client:
        show_one(view, client.get(user_path(user)), to_yaml)


@app.command(
    "set-user",
    epilog=examples(
        "consumer limit set-user ann --max-running 20 --max-cpus 8", "consumer limit set-user ann --max-cpus none"
    ),
)
@bundled
def set_user(user: User, flags: UserFlags, view: OneView) -> None:
    """Change how much a user may take at a time; what runs already goes on."""
    changes = changes_of(flags)
    if not changes:
        raise typer.BadParameter("give something to change: --max-running, --max-cpus, --weight...")
    with connect() as client:
        show_one(view, client.call("PATCH", user_path(user), changes), to_yaml)


@app.command("clear-user", epilog=examples("consumer limit clear-user ann"))
def clear_user(user: User) -> None:
    """Take all limits of a user away."""
    with connect() as client:
        client.call("DELETE", user_path(user))


def user_path(user: str) -> str:
    from urllib.parse import quote

    return f"/v1/users/{quote(user, safe='')}/limits"
