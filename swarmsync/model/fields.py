"""Field types of a spec that people may write in more than one way, and how msgspec reads and writes them.

Durations are milliseconds and sizes bytes in memory, text in documents; a command is words or a line that is split as a
shell would. `dec_hook` and `enc_hook` go to every decoder and encoder of specs (`swarmsync/protocol/codec.py`).
"""

import shlex
from collections.abc import Mapping
from typing import Any

from swarmsync.model.resources import DURATION_MAX_MS, exact_size, format_duration, parse_duration_ms, parse_size


class Duration(int):
    """Milliseconds. Written `90s`, `15m`, `2h`, `1d`; a bare number counts seconds."""

    __slots__ = ()


class Size(int):
    """Bytes. Written `256MiB`, `1GiB`, `512m`; a bare number counts bytes."""

    __slots__ = ()


class Words(tuple[str, ...]):
    """An argument list; a single line is split as a POSIX shell would."""

    __slots__ = ()


class Environment(dict[str, str]):
    """Names and values; also written as a list of `NAME=value`, as in Compose."""


def _duration(raw: Any) -> Duration:
    if isinstance(raw, bool) or not isinstance(raw, str | int | float):
        raise ValueError("Expected a duration like 90s, 15m, 2h or 1d")  # noqa: TRY004 msgspec wants ValueError
    if isinstance(raw, str):
        return Duration(parse_duration_ms(raw))
    if not 0 <= raw * 1000 <= DURATION_MAX_MS:
        raise ValueError("Expected a duration of 0 seconds to 10 years")
    return Duration(round(raw * 1000))


def _size(raw: Any) -> Size:
    if isinstance(raw, bool) or not isinstance(raw, str | int):
        raise ValueError("Expected a size like 256MiB, 1GiB or 512m")  # noqa: TRY004 msgspec wants ValueError
    size = parse_size(raw) if isinstance(raw, str) else raw
    if not 0 <= size <= 1 << 50:
        raise ValueError("Expected a size of 0 to 1 PiB")
    return Size(size)


def _words(raw: Any) -> Words:
    if isinstance(raw, str):
        try:
            return Words(shlex.split(raw))
        except ValueError as error:
            raise ValueError(f"cannot be split into words ({error}); write it as a list") from None
    if isinstance(raw, list | tuple) and all(isinstance(word, str) for word in raw):
        return Words(raw)
    raise ValueError("Expected a line or a list of strings")


def _environment(raw: Any) -> Environment:
    if isinstance(raw, list) and all(isinstance(line, str) for line in raw):
        pairs: list[tuple[Any, Any]] = [tuple(line.partition("=")[::2]) for line in raw]
    elif isinstance(raw, Mapping):
        pairs = list(raw.items())
    else:
        raise ValueError("Expected names and values, or a list of NAME=value")
    result = Environment()
    for name, value in pairs:
        if not isinstance(name, str) or not name or "=" in name:
            raise ValueError(f"{str(name)[:40]!r} is not a variable name; names are not empty and have no '='")
        if isinstance(value, bool):
            result[name] = "true" if value else "false"
        elif value is None:
            result[name] = ""
        elif isinstance(value, str | int | float):
            result[name] = str(value)
        else:
            raise ValueError(f"the value of {name[:40]!r} must be text or a number")
    return result


_READERS = {Duration: _duration, Size: _size, Words: _words, Environment: _environment}


def dec_hook(wanted: type, raw: Any) -> Any:
    """Read one field type of this module; msgspec adds the path to the ValueError."""
    reader = _READERS.get(wanted)
    if reader is None:
        raise NotImplementedError(wanted)
    return reader(raw)


def enc_hook(value: Any) -> Any:
    if isinstance(value, Duration):
        return format_duration(value)
    if isinstance(value, Size):
        return exact_size(value)
    if isinstance(value, Words):
        return list(value)
    if isinstance(value, Environment):
        return dict(value)
    raise NotImplementedError(type(value))
