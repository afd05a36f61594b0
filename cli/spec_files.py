"""Reads specs from files: one document, a list, several YAML documents, `{"jobs": [...]}`, or JSON lines.

YAML is read as YAML 1.2 means it: `yes` and `no` are words, times stay text. A key that occurs twice is an error in
both forms: one of the two values would get lost without a word.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

if TYPE_CHECKING:
    import yaml

FILE_MAX: Final = 256 << 20
#: No field takes a longer number, and reading a very long one takes long.
DIGITS_MAX: Final = 19
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
        if isinstance(below, dict) and isinstance(value, dict):
            result[key] = merged(below, value)
        elif key == "environment" and isinstance(below, list) and isinstance(value, dict):
            result[key] = _with_lines(below, value)
        else:
            result[key] = value
    return result


def _with_lines(lines: list[Any], more: dict[str, str]) -> list[Any]:
    """Return an environment that is written as a list of NAME=value, with `more` in it; Core judges what is no line."""
    kept = [line for line in lines if not isinstance(line, str) or line.partition("=")[0] not in more]
    return [*kept, *(f"{name}={value}" for name, value in more.items())]


def _text(file: str) -> str:
    try:
        content = sys.stdin.buffer.read(FILE_MAX) if file == "-" else Path(file).read_bytes()
        return content.decode("utf-8-sig")
    except OSError as error:
        raise typer.BadParameter(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise typer.BadParameter(f"{file} is not UTF-8 text") from None


def _documents(text: str, file: str) -> list[Any]:
    try:
        found = _json_documents(text, file) if text.lstrip()[:1] in ("{", "[") else None
        return _yaml_documents(text, file) if found is None else found
    except RecursionError:
        raise typer.BadParameter(f"{file} is nested too deeply to be a spec") from None


def _json_documents(text: str, file: str) -> list[Any] | None:
    """Return the documents, or None for what may still be YAML: its flow style begins like JSON."""
    import json

    def read(part: str) -> Any:
        return json.loads(
            part, object_pairs_hook=lambda pairs: _once(pairs, file), parse_int=_whole, parse_constant=_no_number
        )

    try:
        return [read(text)]
    except json.JSONDecodeError as error:
        whole = error
    except ValueError as error:
        raise typer.BadParameter(f"{file}: {error}") from None
    try:  # JSON lines; other line breaks than this one may stand in a string
        return [read(line) for line in text.split("\n") if line.strip()]
    except json.JSONDecodeError:
        if file.endswith((".json", ".jsonl")):
            raise typer.BadParameter(f"{file}: {whole}") from None
        return None
    except ValueError as error:
        raise typer.BadParameter(f"{file}: {error}") from None


def _once(pairs: Iterable[tuple[str, Any]], file: str) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made:
            raise typer.BadParameter(f"{file}: the key {key!r} occurs twice in one object")
        made[key] = value
    return made


def _whole(digits: str) -> int:
    _check_digits(digits)
    return int(digits)


def _check_digits(digits: str) -> None:
    if len(digits) > DIGITS_MAX + 1:  # one for the sign
        raise ValueError(f"a number of {len(digits)} digits, {DIGITS_MAX} at most; write it in quotes if it is a text")


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no number that JSON has")


def _yaml_documents(text: str, file: str) -> list[Any]:
    import yaml

    try:
        return [document for document in yaml.load_all(text, _yaml_loader()) if document is not None]
    except yaml.YAMLError as error:
        raise typer.BadParameter(f"{file}: {error}") from None
    except (ValueError, LookupError, AttributeError) as error:  # a tag over what it cannot be said of: !!int abc
        raise typer.BadParameter(f"{file}: a value is not what it is said to be: {error}") from None


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
            made: dict[Any, Any] = super().construct_mapping(mapping, deep)
            for key in made:
                if isinstance(key, bool) or not isinstance(key, str | int | float):
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key!r} is no word; write it in quotes", mapping.start_mark
                    )
            return made

        def construct_whole(self, scalar: Any) -> int:
            try:
                _check_digits(str(scalar.value))
                return int(self.construct_yaml_int(scalar))
            except ValueError as error:
                raise yaml.constructor.ConstructorError(None, None, str(error), scalar.start_mark) from None

    for tag, pattern, first in (
        ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
        ("int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
        ("float", r"[-+]?(?:(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)", "-+.0123456789"),
        ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
        ("merge", r"<<", "<"),
    ):
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), list(first))
    Loader.add_constructor("tag:yaml.org,2002:int", Loader.construct_whole)
    return Loader
