"""What goes into a container beside its image, and what comes out: the spec's secrets and outputs. Pure."""

import re
from collections.abc import Container, Iterator, Sequence
from typing import Annotated, Final

from msgspec import Meta, Struct

from swarmsync.model.fields import Size

SECRETS_MAX: Final = 32
SECRET_NAME: Final = r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}"  # noqa: S105 a pattern of names
_VARIABLE: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,255}")

Text = Annotated[str, Meta(max_length=4096)]
Name = Annotated[str, Meta(min_length=1, max_length=128)]


class Output(Struct, frozen=True, forbid_unknown_fields=True):
    path: Text
    name: Name
    max: Size = Size(64 << 20)


class SecretUse(Struct, frozen=True, forbid_unknown_fields=True):
    """A secret as the file /run/secrets/NAME, or as the variable `env`."""

    name: Name
    env: Text | None = None


def secret_uses(secrets: Sequence[str | SecretUse]) -> tuple[SecretUse, ...]:
    """Return what `secrets` asks for; a plain name means a file."""
    return tuple(SecretUse(use) if isinstance(use, str) else use for use in secrets)


def secret_problems(secrets: Sequence[str | SecretUse], environment: Container[str]) -> Iterator[tuple[str, str]]:
    if len(secrets) > SECRETS_MAX:
        yield ".secrets", f"{len(secrets)} secrets; {SECRETS_MAX} at most"
    files: set[str] = set()
    variables: set[str] = set()
    for index, use in enumerate(secret_uses(secrets)):
        path = f".secrets[{index}]"
        if not re.fullmatch(SECRET_NAME, use.name):
            yield path, f"{use.name[:80]!r} is no name of a secret; use letters, digits, '.', '_' and '-'"
        if use.env is None:
            if use.name in files:
                yield path, f"{use.name[:80]} is named twice"
            files.add(use.name)
            continue
        if not _VARIABLE.fullmatch(use.env) or use.env.startswith("SWARMSYNC_"):
            yield f"{path}.env", f"{use.env[:80]!r} cannot be the variable of a secret; write it like DB_PASSWORD"
        if use.env in variables or use.env in environment:
            yield f"{path}.env", f"the variable {use.env[:80]} is set twice"
        variables.add(use.env)
