"""`registry add, list, remove`: logins of image registries."""

import sys
from typing import Annotated

import typer

from cli import cells
from cli.asking import ask
from cli.bundles import bundled, examples
from cli.completions import registries
from cli.output import Column, ListView, emit, pages_of, show_list
from cli.profiles import connect

app = typer.Typer()
COLUMNS = (
    Column("registry"),
    Column("username"),
    Column("changed_at", lambda entry, _now: cells.instant(entry.get("changed_at"))),
)
Registry = Annotated[
    str,
    typer.Argument(metavar="REGISTRY", help="As images name it: docker.io, 127.0.0.1:5000.", autocompletion=registries),
]


@app.command("add", epilog=examples("consumer registry add -u me registry.example.org", "... --password-stdin < FILE"))
def add(
    registry: Registry,
    username: Annotated[str, typer.Option("-u", "--username", help="Login at the registry.")],
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from stdin instead of asking.")
    ] = False,
) -> None:
    """Set the login with which workers pull a registry's images. It is sealed, and never shown again."""
    password = sys.stdin.read().rstrip("\r\n") if password_stdin else ask("Password", "--password-stdin", hidden=True)
    with connect() as client:
        client.call("PUT", registry_path(registry), {"username": username, "password": password})
    emit(f"{registry}\n")


@app.command("list", epilog=examples("consumer registry list"))
@bundled
def list_registries(view: ListView) -> None:
    """List the registries that Core has a login for."""
    with connect() as client:
        show_list(view, COLUMNS, pages_of(client, "/v1/registries", {}))


@app.command("remove", epilog=examples("consumer registry remove registry.example.org"))
def remove(registry: Registry) -> None:
    """Forget the login of a registry."""
    with connect() as client:
        client.call("DELETE", registry_path(registry))
    emit(f"{registry}\n")


def registry_path(registry: str) -> str:
    from urllib.parse import quote

    return f"/v1/registries/{quote(registry, safe='')}"
