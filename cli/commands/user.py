"""`user`: create, list, show, update, passwd, logout, delete."""

import sys
from typing import Annotated, Any, Literal
from urllib.parse import quote

import typer

from cli import cells
from cli.asking import Yes, ask, confirm
from cli.bundles import bundled, examples
from cli.completions import user_names
from cli.output import Column, ListView, OneView, emit, pages_of, show_list, show_one, to_yaml
from cli.profiles import connect

app = typer.Typer()
COLUMNS = (
    Column("id", wide=True),
    Column("username"),
    Column("role"),
    Column("disabled"),
    Column("created", lambda user, now: cells.age(user.get("created_at"), now)),
)
Username = Annotated[str, typer.Argument(metavar="USER", help="Name or id.", autocompletion=user_names)]
RoleName = Literal["user", "operator", "admin"]
FromStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin.")]


@app.command("create", epilog=examples("consumer user create ann", "consumer user create ci --no-password"))
@bundled
def create(
    username: Username,
    view: OneView,
    role: Annotated[RoleName, typer.Option("--role", help="What the user may do.")] = "user",
    password_stdin: FromStdin = False,
    no_password: Annotated[bool, typer.Option("--no-password", help="Only keys and tokens let the user in.")] = False,
) -> None:
    """Make a user; asks for the password."""
    password = None if no_password else ask_password("Password of the new user", stdin=password_stdin)
    with connect() as client:
        body = {"username": username, "password": password, "role": role}
        show_one(view, client.call("POST", "/v1/users", body), to_yaml)


@app.command("list", epilog=examples("consumer user list", "consumer user list -o json"))
@bundled
def list_users(view: ListView) -> None:
    """List users; who is no operator sees itself."""
    with connect() as client:
        show_list(view, COLUMNS, pages_of(client, "/v1/users", {}))


@app.command("show", epilog=examples("consumer user show ann"))
@bundled
def show(username: Username, view: OneView) -> None:
    """Show one user."""
    with connect() as client:
        show_one(view, client.get(user_path(username)), to_yaml)


@app.command(
    "update", epilog=examples("consumer user update ann --role operator", "consumer user update ann --disable")
)
@bundled
def update(
    username: Username,
    view: OneView,
    role: Annotated[Literal["", "user", "operator", "admin"], typer.Option("--role", help="The new role.")] = "",
    disable: Annotated[bool, typer.Option("--disable", help="Let the user in no more; ends its sessions.")] = False,
    enable: Annotated[bool, typer.Option("--enable", help="Let the user in again.")] = False,
    set_password: Annotated[bool, typer.Option("--set-password", help="Set a new password; asked for.")] = False,
    password_stdin: FromStdin = False,
) -> None:
    """Change a user's role, disable it, or set its password."""
    if disable and enable:
        raise typer.BadParameter("--disable and --enable exclude each other")
    changes: dict[str, Any] = {"role": role} if role else {}
    if disable or enable:
        changes["disabled"] = disable
    if set_password or password_stdin:
        changes["password"] = ask_password("New password", stdin=password_stdin)
    if not changes:
        raise typer.BadParameter("nothing to change; give --role, --disable, --enable or --set-password")
    with connect() as client:
        show_one(view, client.call("PATCH", user_path(username), changes), to_yaml)


@app.command("passwd", epilog=examples("consumer user passwd"))
def passwd() -> None:
    """Change your own password; every session of yours ends, also this one."""
    with connect() as client:
        username = client.session()["username"]
        old = ask_password("Present password", stdin=False, twice=False)
        new = ask_password("New password", stdin=False)
        client.call("PATCH", user_path(username), {"password": new, "old_password": old})
    print("the password is changed; log in again with: consumer login", file=sys.stderr)


@app.command("logout", epilog=examples("consumer user logout ann"))
def logout(username: Username) -> None:
    """End every session of a user; API tokens stay."""
    with connect() as client:
        client.call("POST", user_path(username, "logout"), repeatable=True)
    emit(f"{cells.plain(username)}\n")


@app.command("delete", epilog=examples("consumer user delete ann"))
def delete(username: Username, yes: Yes = False) -> None:
    """Delete a user who owns no jobs and no schedules."""
    confirm(f"Delete the user {cells.plain(username)}?", yes=yes)
    with connect() as client:
        client.call("DELETE", user_path(username))
    emit(f"{cells.plain(username)}\n")


def ask_password(question: str, *, stdin: bool, twice: bool = True) -> str:
    """Return a password that was typed, or the next line of stdin; it is never an argument, which others could see."""
    if stdin:
        return sys.stdin.readline().rstrip("\r\n")
    return ask(question, "--password-stdin", hidden=True, twice=twice)


def user_path(username: str, *rest: str) -> str:
    return "/".join(["/v1/users", quote(username, safe=""), *rest])
