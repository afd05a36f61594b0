"""What goes into a container beside its image, and what comes out: the spec's secrets and outputs. Pure."""

import posixpath
import re
from collections.abc import Callable, Container, Iterator, Sequence
from fnmatch import translate
from typing import Annotated, Final

from msgspec import Meta, Struct

from swarmsync.model.fields import Size

SECRETS_MAX: Final = 32
SECRET_NAME: Final = r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}"  # noqa: S105 a pattern of names
_VARIABLE: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,255}")

Text = Annotated[str, Meta(max_length=4096)]
Name = Annotated[str, Meta(min_length=1, max_length=128)]


OUTPUTS_MAX: Final = 16
OUTPUTS_BYTES_MAX: Final = 1 << 30
#: Outputs travel as streams beside stdout (1) and stderr (2), in the order of the spec.
FIRST_OUTPUT_STREAM: Final = 3
_OUTPUT_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}")
_WILD: Final = re.compile(r"[*?\[]")


class Output(Struct, frozen=True, forbid_unknown_fields=True):
    """Files that are kept when the container has ended: a path, or a pattern with `*`, `?`, `[...]` and `**`."""

    path: Text
    name: Name
    max: Size = Size(64 << 20)


class SecretUse(Struct, frozen=True, forbid_unknown_fields=True):
    """A secret as the file /run/secrets/NAME, or as the variable `env`."""

    name: Name
    env: Text | None = None


def secret_uses(secrets: Sequence[str | SecretUse]) -> tuple[SecretUse, ...]:
    """Return what `secrets` asks for; a plain name means a file."""
    return tuple([SecretUse(use) if isinstance(use, str) else use for use in secrets])


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


def output_problems(outputs: Sequence[Output]) -> Iterator[tuple[str, str]]:
    if len(outputs) > OUTPUTS_MAX:
        yield ".outputs", f"{len(outputs)} outputs; {OUTPUTS_MAX} at most"
    total = sum(int(output.max) for output in outputs)
    if total > OUTPUTS_BYTES_MAX:
        yield ".outputs", f"max adds up to {total} bytes; {OUTPUTS_BYTES_MAX} (1GiB) at most for a job"
    names: set[str] = set()
    for index, output in enumerate(outputs):
        path = f".outputs[{index}]"
        if not _OUTPUT_NAME.fullmatch(output.name):
            yield f"{path}.name", f"{output.name[:80]!r} is no name of an output; use letters, digits, '.', '_' and '-'"
        if output.name in names:
            yield f"{path}.name", f"{output.name[:80]} is named twice"
        names.add(output.name)
        if output.max < 1:
            yield f"{path}.max", "must be more than 0"
        parts = output.path.split("/")
        if not output.path.startswith("/") or any(part in (".", "..") for part in parts) or "\0" in output.path:
            yield f"{path}.path", f"{output.path[:80]!r} is no absolute path; write it like /out/**"
        elif (fixed_part(output.path) + "/").startswith("/run/secrets/"):
            yield f"{path}.path", "secrets are no outputs"
        elif fixed_part(output.path) == "/":
            yield f"{path}.path", f"{output.path[:80]!r} names no directory; write it like /out/**"


def fixed_part(path: str) -> str:
    """Return the path up to its first segment with a wildcard: what must be read to find all that matches."""
    parts = _normal(path).split("/")
    fixed = parts[: next((index for index, part in enumerate(parts) if _WILD.search(part)), len(parts))]
    return "/".join(fixed) or "/"


def _normal(path: str) -> str:
    return posixpath.normpath("/" + path.lstrip("/"))


def root_of(path: str) -> str:
    """Return the directory that the names of the collected files are relative to."""
    fixed = fixed_part(path)
    return fixed if _WILD.search(path) else posixpath.dirname(fixed)


def matcher(path: str) -> Callable[[str], bool]:
    """Tell whether an absolute path matches. A path without wildcards stands for a file, or all below a directory.

    As in a shell: `*`, `?` and `[...]` match within one segment, `**` matches any number of segments, and at the end
    one at least.
    """
    path = _normal(path)
    if not _WILD.search(path):
        return lambda name: name == path or name.startswith(f"{path}/")
    parts = path.strip("/").split("/")
    parts += ["*"] if parts[-1] == "**" else []
    wanted = [None if part == "**" else re.compile(translate(part)) for part in parts]
    return lambda name: _fits(wanted, name.strip("/").split("/"))


def _fits(wanted: Sequence[re.Pattern[str] | None], parts: Sequence[str]) -> bool:
    """`None` stands for any number of parts. Follows all places in the pattern at once, so no pattern takes long."""
    places = _beyond({0}, wanted)
    for part in parts:
        stay = {place for place in places if place < len(wanted) and wanted[place] is None}
        ahead = {
            place + 1
            for place in places
            if place < len(wanted) and (pattern := wanted[place]) is not None and pattern.match(part)
        }
        places = _beyond(stay | ahead, wanted)
    return len(wanted) in places


def _beyond(places: set[int], wanted: Sequence[re.Pattern[str] | None]) -> set[int]:
    """Add the places behind each `**`, which may stand for nothing."""
    reached = set(places)
    for place in sorted(places):
        while place < len(wanted) and wanted[place] is None:
            place += 1  # noqa: PLW2901 walks on from there
            reached.add(place)
    return reached
