"""`policy`: list, set, delete."""

from typing import Annotated, Any

import typer

from cli.bundles import bundled, examples
from cli.output import Column, ListView, emit, pages_of, show_list
from cli.profiles import connect

app = typer.Typer()
Scope = Annotated[str, typer.Argument(metavar="user|queue", help="Whose jobs.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The user's or the queue's name.")]
Many = list[str] | None


def _joined(name: str) -> Any:
    return lambda policy, _now: ",".join(policy[name]) or "-"


COLUMNS = (
    Column("scope"),
    Column("name"),
    Column("paths", _joined("paths")),
    Column("capabilities", _joined("capabilities")),
    Column("devices", _joined("devices")),
    Column("machine_network"),
    Column("privileged"),
    Column("strict"),
)


@app.command("list", epilog=examples("consumer policy list", "consumer policy list -o json"))
@bundled
def list_policies(view: ListView) -> None:
    """List what users' and queues' jobs may loosen."""
    with connect() as client:
        show_list(view, COLUMNS, pages_of(client, "/v1/policies", {}))


@app.command(
    "set",
    epilog=examples(
        "consumer policy set queue etl --path /data",
        "consumer policy set user ann --capability SYS_PTRACE",
        "consumer policy set queue public --strict",
    ),
)
def set_policy(
    scope: Scope,
    name: Name,
    path: Annotated[Many, typer.Option("--path", help="A path of the workers' machines, and what lies below.")] = None,
    capability: Annotated[Many, typer.Option("--capability", help="A capability, as SYS_PTRACE.")] = None,
    device: Annotated[Many, typer.Option("--device", help="A device, as /dev/fuse.")] = None,
    machine_network: Annotated[bool, typer.Option("--machine-network", help="The workers' own network.")] = False,
    privileged: Annotated[bool, typer.Option("--privileged", help="Everything.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Demand the strict profile.")] = False,
) -> None:
    """Allow jobs to loosen their containers; it replaces an earlier policy. The worker must allow it, too."""
    allows = {
        "paths": path or [],
        "capabilities": capability or [],
        "devices": device or [],
        "machine_network": machine_network,
        "privileged": privileged,
        "strict": strict,
    }
    with connect() as client:
        client.call("PUT", _path(scope, name), allows)
    emit(f"{scope} {name}\n")


@app.command("delete", epilog=examples("consumer policy delete queue etl"))
def delete(scope: Scope, name: Name) -> None:
    """Take a policy back."""
    with connect() as client:
        client.call("DELETE", _path(scope, name))
    emit(f"{scope} {name}\n")


def _path(scope: str, name: str) -> str:
    from urllib.parse import quote

    if scope not in ("user", "queue"):
        raise typer.BadParameter("write user NAME or queue NAME")
    return f"/v1/policies/{scope}/{quote(name, safe='')}"
