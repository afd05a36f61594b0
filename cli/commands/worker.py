"""`worker`: list, show, register, update, delete, revoke, cordon, uncordon, drain."""

from datetime import datetime
from typing import Annotated, Any

import typer

from cli import cells
from cli.arguments import Name
from cli.asking import Yes, confirm
from cli.bundles import bundled, examples
from cli.completions import worker_labels
from cli.output import Column, Document, ListView, OneView, emit, pages_of, show_list, show_one, to_yaml
from cli.profiles import connect
from cli.spec_flags import pairs

app = typer.Typer()
LOOK_S = 0.3


def _cpus(worker: Document, _now: datetime) -> str:
    return _share(worker, "cpus", lambda value: f"{value:g}")


def _memory(worker: Document, _now: datetime) -> str:
    return _share(worker, "memory", cells.size)


def _share(worker: Document, name: str, show: Any) -> str:
    """Return used/capacity, as far as Core says them."""
    used, capacity = worker.get("used") or {}, worker.get("capacity") or worker
    if capacity.get(name) is None:
        return "-"
    return f"{show(used[name])}/{show(capacity[name])}" if used.get(name) is not None else f"{show(capacity[name])}"


COLUMNS = (
    Column("id"),
    Column("name"),
    Column("liveness"),
    Column("eligibility"),
    Column("jobs"),
    Column("cpus", _cpus),
    Column("memory", _memory),
    Column("gpus"),
    Column("pulse", lambda worker, now: cells.age(worker.get("last_pulse_at"), now)),
    Column("runtime"),
    Column("version", wide=True),
    Column("labels", wide=True),
    Column("note", wide=True),
    Column("joined", lambda worker, now: cells.age(worker.get("joined_at"), now), wide=True),
)


@app.command("list", epilog=examples("consumer worker list", "consumer worker list -o wide --watch"))
@bundled
def list_workers(
    view: ListView,
    label: Annotated[
        list[str] | None,
        typer.Option("-l", "--label", metavar="KEY=VALUE", help="Repeatable.", autocompletion=worker_labels),
    ] = None,
) -> None:
    """List workers."""
    with connect() as client:
        show_list(view, COLUMNS, pages_of(client, "/v1/workers", {"label": label or []}))


@app.command("show", epilog=examples("consumer worker show NAME", "consumer worker show NAME -o json"))
@bundled
def show(name: Name, view: OneView) -> None:
    """Show one worker."""
    with connect() as client:
        show_one(view, client.get(worker_path(name)), to_yaml)


@app.command(
    "register", epilog=examples("consumer worker register", "consumer worker register --name gpu-7 --minutes 60")
)
@bundled
def register(
    *,
    view: OneView,
    name: Annotated[str, typer.Option("--name", help="Only for this name, also where another key has it.")] = "",
    minutes: Annotated[int | None, typer.Option("--minutes", min=1, max=1440, help="How long it holds (10).")] = None,
) -> None:
    """Make a join token; prints the command to type on the machine that shall become a worker."""
    wanted = {**({"name": name} if name else {}), **({"minutes": minutes} if minutes else {})}
    with connect() as client:
        made = client.call("POST", "/v1/workers", wanted)
    show_one(view, made, lambda made: f"{made['command']}\n")


@app.command("update", epilog=examples("consumer worker update NAME -l zone=eu -l rack-"))
def update(
    name: Name,
    label: Annotated[list[str], typer.Option("-l", "--label", metavar="KEY=VALUE", help="KEY- takes it back.")],
) -> None:
    """Set labels of a worker; they win over those that it says of itself."""
    labels: dict[str, str | None] = {}
    for text in label:
        if text.endswith("-") and "=" not in text:
            labels[text[:-1]] = None
        else:
            labels |= pairs([text], "--label")
    with connect() as client:
        worker = client.call("PATCH", worker_path(name), {"labels": labels})
    emit(f"{cells.plain(worker['name'])}\n")


@app.command("delete", epilog=examples("consumer worker delete NAME"))
def delete(name: Name, yes: Yes = False) -> None:
    """Delete a worker that is drained or gone, and its key; one that lives and is not drained is a conflict (5).

    Where its agent still runs, it is cut off; started again, it joins as a new worker.
    """
    confirm(f"Delete the worker {cells.plain(name)} and its key?", yes=yes)
    with connect() as client:
        client.call("DELETE", worker_path(name))
    emit(f"{name}\n")


@app.command("revoke", epilog=examples("consumer worker revoke NAME"))
def revoke(name: Name, yes: Yes = False) -> None:
    """Take a worker's key back: it is cut off at once, and its jobs run elsewhere when their leases have ended."""
    confirm(f"Cut off the worker {cells.plain(name)}?", yes=yes)
    _act(name, "revoke")


@app.command("cordon", epilog=examples("consumer worker cordon NAME"))
def cordon(name: Name) -> None:
    """Give a worker no new jobs; those that it has go on."""
    _act(name, "cordon")


@app.command("uncordon", epilog=examples("consumer worker uncordon NAME"))
def uncordon(name: Name) -> None:
    """Let a worker take jobs again."""
    _act(name, "uncordon")


@app.command("drain", epilog=examples("consumer worker drain NAME", "consumer worker drain --wait --deadline 10m NAME"))
def drain(
    name: Name,
    deadline: Annotated[
        str,
        typer.Option("--deadline", help="Stop what still runs after so long: 90s, 15m. It is tried again."),
    ] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Until it is drained.")] = False,
) -> None:
    """Give a worker no new jobs and let its jobs end; it is drained when it has none."""
    import time

    from cli import exits

    with connect() as client:
        body = {"deadline": deadline} if deadline else None
        worker = client.call("POST", worker_path(name, "drain"), body, repeatable=True)
        while wait and worker["eligibility"] == "draining":
            time.sleep(LOOK_S)
            worker = client.get(worker_path(name))
    emit(f"{cells.plain(worker['name'])}  {cells.plain(worker['eligibility'])}\n")
    if wait and worker["eligibility"] != "drained":
        exits.say(f"somebody made the worker {worker['eligibility']} meanwhile")
        raise typer.Exit(exits.ANSWER_IS_NO)


def _act(name: str, verb: str) -> None:
    with connect() as client:
        worker = client.call("POST", worker_path(name, verb), repeatable=True)
    emit(f"{cells.plain(worker['name'])}  {cells.plain(worker['eligibility'])}\n")


def worker_path(name: str, *rest: str) -> str:
    from urllib.parse import quote

    return "/".join(["/v1/workers", quote(name, safe=""), *rest])
