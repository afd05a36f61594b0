"""Reads specs from files: one document, a list, several YAML documents, `{"jobs": [...]}`, or JSON lines.

YAML is read as YAML 1.2 means it: `yes` and `no` are words, times stay text, and a key that occurs twice is an error.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

if TYPE_CHECKING:
    import yaml

FILE_MAX: Final = 256 << 20
_Spec = dict[str, Any]


def read_specs(file: str) -> list[_Spec]:
    """Return the specs in a file, `-` being stdin. Raises BadParameter that says where it is wrong."""
    documents = _documents(_text(file), file)
    specs: list[_Spec] = []
    for document in documents:
        several: Any = document["jobs"] if isinstance(document, dict) and document.keys() == {"jobs"} else document
        specs += several if isinstance(several, list) else [several]
    for number, spec in enumerate(specs, 1):
        if not isinstance(spec, dict):
            raise typer.BadParameter(f"{file}: document {number} is not a spec but {type(spec).__name__}")
    if not specs:
        raise typer.BadParameter(f"{file}: there is no spec in it")
    return specs


def merged(spec: _Spec, flags: _Spec) -> _Spec:
    """Return `spec` with what the flags say on top; sections are merged, values and lists replaced."""
    result = dict(spec)
    for key, value in flags.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result


def _text(file: str) -> str:
    try:
        content = sys.stdin.buffer.read(FILE_MAX) if file == "-" else Path(file).read_bytes()
        return content.decode("utf-8-sig")
    except OSError as error:
        raise typer.BadParameter(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise typer.BadParameter(f"{file} is not UTF-8 text") from None


def _documents(text: str, file: str) -> list[Any]:
    if text.lstrip()[:1] in ("{", "["):
        import json

        try:
            return [json.loads(text)]
        except ValueError as error:
            whole = error
        try:  # JSON lines
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError:
            if file.endswith((".json", ".jsonl")):
                raise typer.BadParameter(f"{file}: {whole}") from None
    import yaml

    try:
        return [document for document in yaml.load_all(text, _yaml_loader()) if document is not None]
    except (yaml.YAMLError, RecursionError) as error:
        raise typer.BadParameter(f"{file}: {error}") from None


def _yaml_loader() -> "type[yaml.SafeLoader]":
    import re

    import yaml

    class Loader(yaml.SafeLoader):
        """The safe loader with the scalars of YAML 1.2 and no repeated keys."""

        yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 yaml wants a dict

        def construct_mapping(self, mapping: Any, deep: bool = False) -> dict[Any, Any]:
            seen = set()
            for entry, _ in mapping.value:
                key = entry.value
                if isinstance(key, str) and key in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key!r} occurs twice", entry.start_mark
                    )
                seen.add(key if isinstance(key, str) else None)
            return super().construct_mapping(mapping, deep)

    for tag, pattern, first in (
        ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
        ("int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
        ("float", r"[-+]?(?:(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)", "-+.0123456789"),
        ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
        ("merge", r"<<", "<"),
    ):
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), list(first))
    return Loader
