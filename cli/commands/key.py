"""`key`: create, add, list, remove; keys to log in with instead of a password."""

from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from cli import cells
from cli.bundles import bundled, examples
from cli.commands.user import ask_password
from cli.completions import keys
from cli.output import Column, ListView, OneView, emit, pages_of, show_list, show_one, to_yaml
from cli.profiles import connect

app = typer.Typer()
COLUMNS = (
    Column("id", wide=True),
    Column("name"),
    Column("user"),
    Column("key_id"),
    Column("created", lambda key, now: cells.age(key.get("created_at"), now)),
)
File = Annotated[str, typer.Option("--file", help="The private key's file; beside the profiles when not given.")]


@app.command("create", epilog=examples("consumer key create", "consumer key create --file ~/.ssh/swarmsync"))
def create(file: File = "") -> None:
    """Make a key pair on this machine; prints the public half. Core knows nothing of it until `key add`."""
    from cli import key_files

    path = Path(file).expanduser() if file else key_files.default_path()
    public = key_files.create(path)
    emit(f"{key_files.as_text(public)}  {path}\n")


@app.command("add", epilog=examples("consumer key add laptop", "consumer key add ci --file ci.pub --user builder"))
@bundled
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name for the key.")],
    view: OneView,
    file: File = "",
    user: Annotated[str, typer.Option("--user", help="Whose key it is; administrators only.")] = "",
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read your password from stdin.")] = False,
) -> None:
    """Let a key log in: sends its public half. Asks for your password again."""
    from cli import key_files

    path = Path(file).expanduser() if file else key_files.default_path()
    public = key_files.as_text(key_files.load_public(path))
    password = ask_password("Your password", stdin=password_stdin, twice=False)
    with connect() as client:
        body = {"name": name, "public_key": public, "password": password, "user": user}
        show_one(view, client.call("POST", "/v1/keys", body), to_yaml)


@app.command("list", epilog=examples("consumer key list", "consumer key list -o json"))
@bundled
def list_keys(view: ListView) -> None:
    """List your keys; administrators see those of all."""
    with connect() as client:
        show_list(view, COLUMNS, pages_of(client, "/v1/keys", {}))


@app.command("remove", epilog=examples("consumer key remove laptop"))
def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name, id or key_id.", autocompletion=keys)],
) -> None:
    """Let a key log in no more. The file stays where it is."""
    with connect() as client:
        client.call("DELETE", f"/v1/keys/{quote(name, safe='')}")
    emit(f"{cells.plain(name)}\n")
