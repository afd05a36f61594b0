"""`login`, `logout`, `whoami`."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from cli import cells
from cli.asking import ask
from cli.bundles import bundled, examples
from cli.output import OneView, emit, facts, show_one
from cli.profiles import SUBMIT_PATIENCE_S, connect
from swarmsync.profiles import Profile, current, forget, profile_path, save

app = typer.Typer()


@app.command(
    "login",
    epilog=examples(
        "consumer login",
        "echo $PASSWORD | consumer login --username ann --password-stdin",
        "consumer login --username ann --key ~/.config/swarmsync/key",
    ),
)
def login(
    username: Annotated[str, typer.Option("--username", help="Asked for when it is not given.")] = "",
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin.")] = False,
    key: Annotated[str, typer.Option("--key", metavar="FILE", help="Log in with this key, without a password.")] = "",
    url: Annotated[str, typer.Option("--url", help="The address of Core, such as http://127.0.0.1:8420.")] = "",
    ca: Annotated[str, typer.Option("--ca", metavar="FILE", help="Certificate of a private authority.")] = "",
) -> None:
    """Log in and keep the token in the profile, which only you can read.

    The profile is the one that SWARMSYNC_PROFILE names, else the current one.
    """
    from cli.commands.user import ask_password
    from cli.key_files import load_private
    from swarmsync.client import Client

    name, url, path = _target(url)
    private = load_private(Path(key).expanduser()) if key else None
    username = username or ask("Username", "--username")
    authority = str(Path(ca).expanduser().absolute()) if ca else os.environ.get("SWARMSYNC_CA", "")
    with Client(url, patience_s=SUBMIT_PATIENCE_S, ca=authority) as client:
        if private is not None:
            public_key = private.public_key().public_bytes_raw()
            token = client.login_with_key(username, public_key, private.sign)["token"]
        else:
            token = client.login(username, ask_password("Password", stdin=password_stdin, twice=False))["token"]
    save(Profile(name, url, token, authority), path)
    print(f"logged in to {url} as {username} (profile {name})", file=sys.stderr)


@app.command("logout", epilog=examples("consumer logout"))
def logout() -> None:
    """End the session and forget the token. An API token is forgotten here and stays valid until it is revoked."""
    from swarmsync.errors import Conflict, NotLoggedIn

    profile, path = current()
    try:
        with connect() as client:
            client.logout()
    except NotLoggedIn:
        pass  # it has ended already
    except Conflict as error:
        print(f"{error}; this machine forgets it", file=sys.stderr)
    finally:
        forget(profile.name, path)
    print(f"logged out of {profile.url}", file=sys.stderr)


@app.command("whoami", epilog=examples("consumer whoami", "consumer whoami -o json"))
@bundled
def whoami(view: OneView) -> None:
    """Show who is logged in, and where."""
    profile, _ = current()
    with connect() as client:
        session = client.session()
    if view.output == "name":
        emit(f"{cells.plain(session.get('username') or session.get('user'))}\n")
        return
    show_one(
        view, session, lambda found: facts([(n, cells.plain(v)) for n, v in {**found, "core": profile.url}.items()])
    )


def _target(url: str) -> tuple[str, str, Path]:
    """Return the profile's name, the address and the file that a login goes to; a new name makes a new profile."""
    from swarmsync.errors import RequestError

    path = profile_path(os.environ)
    try:
        profile, _ = current()
    except RequestError:
        if not url:
            raise
        profile = Profile(os.environ.get("SWARMSYNC_PROFILE") or Profile().name)
    return profile.name, (url or profile.url).rstrip("/"), path
