"""Query strings, strictly: unknown or repeated parameters, numbers out of range and NUL are errors that are named."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final, TypeVar, get_origin, get_type_hints
from urllib.parse import parse_qsl

import msgspec
from falcon.asgi import Request
from msgspec import Struct

from swarmsync import ids
from swarmsync.errors import FieldError, RequestError
from swarmsync.model.lifecycle import STATE_GROUPS, JobState
from swarmsync.model.resources import parse_duration_ms
from swarmsync.model.spec import LABEL_FORM, label_fits

Q = TypeVar("Q", bound=Struct)

FIELDS_MAX: Final = 100
_YEAR_MIN, _YEAR_MAX = 1970, 9000


class QueryError(RequestError):
    """A parameter of the query is wrong; paths are written `?name`."""

    title = "Malformed query"

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"?{name}: {message}")
        self.errors = [FieldError(f"?{name}", message)]


class NoQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """A route that takes no parameters."""


@cache
def _hints(kind: type[Struct]) -> dict[str, Any]:
    return get_type_hints(kind)


def read(request: Request, kind: type[Q]) -> Q:
    """Return the parameters of a request; empty ones count as absent. Raises QueryError."""
    text = request.scope["query_string"]
    try:
        pairs = parse_qsl(
            text.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=FIELDS_MAX, separator="&"
        )
    except UnicodeDecodeError:
        raise QueryError("", "the query is not percent-encoded UTF-8") from None
    except ValueError:
        raise QueryError("", f"more than {FIELDS_MAX} parameters") from None
    hints = _hints(kind)
    found: dict[str, Any] = {}
    for name, value in pairs:
        if "\x00" in name or "\x00" in value:
            raise QueryError(name.replace("\x00", "\\0")[:40], "contains a NUL character")
        if name not in hints:
            known = (
                f"known are {', '.join(kind.__struct_fields__)}" if kind.__struct_fields__ else "there are none here"
            )
            raise QueryError(name[:40], f"is not a known parameter; {known}")
        if value == "":
            continue
        if get_origin(hints[name]) is tuple:
            found.setdefault(name, []).append(value)
        elif name in found:
            raise QueryError(name, "is given twice")
        else:
            found[name] = value
    try:
        return msgspec.convert(found, kind, strict=False)
    except msgspec.ValidationError as error:
        from swarmsync.protocol.neighbours import remedy  # noqa: PLC0415 difflib is slow to import, rarely needed

        message, _, place = str(error).partition(" - at `$.")
        raise QueryError(place.rstrip("`"), remedy(message, f".{place.rstrip('`')}", kind)) from None


def states(text: str) -> tuple[JobState, ...] | None:
    """Read `queued,running` or the groups waiting, active, finished; empty is None."""
    if not text:
        return None
    found: dict[JobState, None] = {}
    for name in text.split(","):
        word = name.strip()
        group = STATE_GROUPS.get(word) or tuple([state for state in JobState if state == word])
        if not group:
            known = ", ".join([*JobState, *STATE_GROUPS])
            raise QueryError("state", f"{word[:40]!r} is no state; known are {known}")
        found.update(dict.fromkeys(group))
    return tuple(found)


def moment(name: str, text: str, now: datetime) -> datetime | None:
    """Read a time in RFC 3339, or a duration before `now`; empty is None."""
    if not text:
        return None
    try:
        return now - timedelta(milliseconds=parse_duration_ms(text))
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(text.replace(" ", "+"))  # a plus sign that was not percent-encoded
    except ValueError:
        raise QueryError(
            name, f"{text[:40]!r} is neither a time like 2026-11-24T02:00:00Z nor a duration like 2h"
        ) from None
    if found.tzinfo is None or not _YEAR_MIN < found.year < _YEAR_MAX:
        raise QueryError(
            name, f"{text[:40]!r} has no offset or a year out of range; write it like 2026-11-24T02:00:00Z"
        )
    return found.astimezone(UTC)


def labels(name: str, pairs: tuple[str, ...]) -> dict[str, str] | None:
    """Read `key=value` parameters as the labels that things must have; none is None."""
    if not pairs:
        return None
    wanted: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise QueryError(name, f"{pair[:40]!r} is no label; write it like key=value")
        wanted[key] = value
    return wanted


def cursor(name: str, text: str) -> int | None:
    """Read the cursor of a page of things with ids; empty is None."""
    if not text:
        return None
    number = ids.decode(text)
    if number is None:
        raise QueryError(name, "is not a cursor of this list; take next_cursor of the page before")
    return number


def label_errors(labels: Mapping[str, str | None]) -> list[FieldError]:
    """Say what is wrong with labels that a document sets."""
    errors = [FieldError("$.labels", "more than 64 labels")] if len(labels) > 64 else []
    for key, value in labels.items():
        if not label_fits(key, value or ""):
            errors.append(FieldError("$.labels", f"label {key[:40]!r}: {LABEL_FORM}"))
    return errors
