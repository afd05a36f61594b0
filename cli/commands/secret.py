"""`secret`: set, list, delete. A value goes in; nothing brings it out."""

import sys
from datetime import datetime
from typing import Annotated, Any

import typer

from cli import cells
from cli.asking import Yes, confirm
from cli.bundles import bundled, examples
from cli.completions import secrets
from cli.output import Column, Document, ListView, emit, pages_of, show_list
from cli.profiles import connect

app = typer.Typer()
SecretName = Annotated[
    str, typer.Argument(metavar="NAME", help="Letters, digits, '.', '_' and '-'.", autocompletion=secrets)
]


def _age(field: str) -> Any:
    def show(secret: Document, now: datetime) -> str:
        return cells.age(secret.get(field), now)

    return show


COLUMNS = (Column("name"), Column("created", _age("created_at")), Column("updated", _age("updated_at")))
SET_EXAMPLES = examples(
    "consumer secret set db-password                          (asks for it)",
    "consumer secret set db-password --from-file password.txt",
    "vault read ... | consumer secret set db-password",
)


@app.command("set", epilog=SET_EXAMPLES)
def set_secret(
    name: SecretName,
    from_file: Annotated[
        str, typer.Option("--from-file", metavar="FILE", help="Read it from a file, byte for byte; - is stdin.")
    ] = "",
) -> None:
    """Set or replace a secret; a job that names it finds it in /run/secrets/NAME.

    The value never is an argument, where others could see it: it is asked for, or read from stdin (without its last
    newline) or from a file (as it is).
    """
    import base64

    value = _value(name, from_file)
    if not value:
        raise typer.BadParameter("the value is empty; type it, pipe it in, or give --from-file")
    with connect() as client:
        client.call("PUT", secret_path(name), {"value_b64": base64.b64encode(value).decode()})
    emit(f"{cells.plain(name)}\n")


@app.command("list", epilog=examples("consumer secret list", "consumer secret list -o json"))
@bundled
def list_secrets(view: ListView) -> None:
    """List your secrets: names and dates."""
    with connect() as client:
        show_list(view, COLUMNS, pages_of(client, "/v1/secrets", {}))


@app.command("delete", epilog=examples("consumer secret delete db-password"))
def delete(
    names: Annotated[list[str], typer.Argument(metavar="NAME", autocompletion=secrets)], yes: Yes = False
) -> None:
    """Delete secrets; jobs that name one and have not started end with InputMissing."""
    confirm(f"Delete {', '.join(map(cells.plain, names))}?", yes=yes)
    with connect() as client:
        for name in names:
            client.call("DELETE", secret_path(name))
            emit(f"{cells.plain(name)}\n")


def _value(name: str, from_file: str) -> bytes:
    from swarmsync.errors import RequestError

    if from_file and from_file != "-":
        try:
            with open(from_file, "rb") as file:  # noqa: PTH123 as the shell opens it
                return file.read()
        except OSError as error:
            raise RequestError(f"cannot read {from_file}: {error.strerror}") from None
    if from_file == "-":
        return sys.stdin.buffer.read()
    if sys.stdin.isatty():
        import getpass

        return getpass.getpass(f"Value of {name}: ").encode()
    return sys.stdin.buffer.read().removesuffix(b"\n")


def secret_path(name: str) -> str:
    from urllib.parse import quote

    return f"/v1/secrets/{quote(name, safe='')}"
