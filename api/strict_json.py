"""JSON bodies, strictly: what PostgreSQL or another reader would refuse later is refused here, and the field is named.

msgspec refuses NaN, 1e999, lone surrogates, broken UTF-8 and trailing text by itself. Added here: a limit on the size
while it arrives, on depth, NUL characters, integers beyond 64 bits, keys that occur twice, and a path for each of them.
"""

import json
import re
from collections import Counter
from collections.abc import AsyncIterable, Iterator
from typing import Any, Final

import msgspec

from swarmsync.errors import FieldError, RequestError, TooLarge

DEPTH_MAX: Final = 64
#: One document, such as a spec. It travels to a worker in one message; only a batch of specs may be larger.
DOCUMENT_MAX_BYTES: Final = 256 << 10
#: Up to here a document is looked through for keys that occur twice, and malformed places are located.
CLOSE_LOOK_BYTES: Final = 64 << 10
#: A refused body is read on for so long, so that an ordinary client sees the answer instead of a broken pipe.
_DRAIN_FACTOR: Final = 4
_INT_MIN, _INT_MAX = -(1 << 63), (1 << 63) - 1
_SUSPICIOUS: Final = re.compile(rb"\\u0000|[0-9]{19}")
_HUGE: Final = re.compile(rb"-?[0-9]{309,}|-?[0-9]+(?:\.[0-9]+)?[eE]\+?[0-9]+")
_ESCAPE: Final = re.compile(rb"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*"?|[][{},:]', re.DOTALL)


class MalformedJson(RequestError):
    """The body is no JSON that we take; says where."""

    title = "Malformed JSON"

    def __init__(self, errors: list[FieldError]) -> None:
        super().__init__("; ".join(f"{error.path}: {error.message}" for error in errors))
        self.errors = errors


class _Twice(dict[str, Any]):
    """An object in which `key` occurred twice."""

    key = ""


class _CloseLook:
    """A slow second reading that sees keys which occur twice; msgspec keeps the last of them without a word."""

    def __init__(self) -> None:
        self._found = False
        self._decoder = json.JSONDecoder(object_pairs_hook=self._pairs)

    def repeated(self, body: bytes, root: str) -> list[FieldError]:
        self._found = False
        value = self._decoder.decode(body.decode())
        return list(_twice(value, root)) if self._found else []

    def _pairs(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) == len(pairs):
            return result
        self._found = True
        marked = _Twice(result)
        names = [name for name, _ in pairs]
        marked.key = Counter(names).most_common(1)[0][0]
        return marked


_CLOSE_LOOK: Final = _CloseLook()


def _twice(value: Any, path: str) -> Iterator[FieldError]:
    if isinstance(value, _Twice):
        yield FieldError(f"{path}.{_shown(value.key)}", "occurs twice")
    if isinstance(value, dict):
        for key, entry in value.items():
            yield from _twice(entry, f"{path}.{_shown(key)}")
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from _twice(entry, f"{path}[{index}]")


async def read_body(chunks: AsyncIterable[bytes], declared: int | None, limit: int) -> bytes:
    """Collect a body of at most `limit` bytes. Raises TooLarge, also for one that does not say its length."""
    sentence = f"a request may have {limit >> 20} MiB ({limit} bytes) at most"
    parts: list[bytes] = []
    size = 0
    if declared is not None and declared > limit * _DRAIN_FACTOR:
        raise TooLarge(sentence)
    async for chunk in chunks:
        size += len(chunk)
        if size <= limit:
            parts.append(chunk)
        elif size > limit * _DRAIN_FACTOR:
            break
    if size > limit:
        raise TooLarge(sentence)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def decode(body: bytes, root: str = "$") -> Any:
    """Return the values of a JSON document. Raises MalformedJson with the path of what is wrong, or TooLarge."""
    if len(body) > DOCUMENT_MAX_BYTES:
        raise TooLarge(f"{root} has {len(body)} bytes; one document may have {DOCUMENT_MAX_BYTES >> 10} KiB at most")
    try:
        value = msgspec.json.decode(body)
    except RecursionError:
        raise _too_deep(body, root) from None
    except (msgspec.DecodeError, ValueError) as error:
        raise _malformed(body, error, root) from None
    if body.count(b"[") + body.count(b"{") > DEPTH_MAX and _too_deep_at(body) is not None:
        raise _too_deep(body, root)
    errors = list(_unfit(value, root)) if _SUSPICIOUS.search(body) else []
    if not errors and len(body) <= CLOSE_LOOK_BYTES:
        errors = _CLOSE_LOOK.repeated(body, root)
    if errors:
        raise MalformedJson(errors[:20])
    return value


def split(body: bytes) -> dict[str, msgspec.Raw] | None:
    """Return the members of a JSON object as bytes that are not looked into yet; None when it is no object.

    Raises MalformedJson.
    """
    try:
        return msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except RecursionError:
        raise _too_deep(body, "$") from None
    except msgspec.ValidationError as error:
        if "out of range" in str(error):
            raise _malformed(body, error, "$") from None
        return None
    except (msgspec.DecodeError, ValueError) as error:
        raise _malformed(body, error, "$") from None


def split_list(member: msgspec.Raw) -> list[bytes] | None:
    """Return the entries of a JSON array as bytes that are not looked into yet; None when it is no array."""
    try:
        return [bytes(entry) for entry in msgspec.json.decode(member, type=list[msgspec.Raw])]
    except (RecursionError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def _unfit(value: Any, path: str) -> Iterator[FieldError]:
    """Yield what cannot be stored; the depth is bounded before this is called."""
    if isinstance(value, str):
        if "\x00" in value:
            yield FieldError(path, "contains a NUL character (\\u0000), which cannot be stored")
    elif isinstance(value, int):
        if not _INT_MIN <= value <= _INT_MAX:
            yield FieldError(path, "is an integer of more than 64 bits")
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from _unfit(entry, f"{path}[{index}]")
    elif isinstance(value, dict):
        for key, entry in value.items():
            if "\x00" in key:
                yield FieldError(f"{path}.{_shown(key)}", "has a NUL character (\\u0000) in its name")
            yield from _unfit(entry, f"{path}.{_shown(key)}")


def _malformed(body: bytes, error: Exception, root: str) -> MalformedJson:
    if isinstance(error, UnicodeDecodeError):
        return MalformedJson([FieldError(_place(body, _broken_utf8(body), root), "is not valid UTF-8")])
    message = str(error)
    if not body.strip():
        return MalformedJson([FieldError(root, "the body is empty; JSON is expected")])
    if "out of range" in message:
        huge = next((m.start() for m in _HUGE.finditer(body) if float(m[0]) in (float("inf"), float("-inf"))), 0)
        return MalformedJson([FieldError(_place(body, huge, root), "is a number out of range")])
    lone = _lone_surrogate(body)
    if lone is not None:
        return MalformedJson([FieldError(_place(body, lone, root), "contains half of a surrogate pair")])
    at = re.search(r"\(byte (\d+)\)", message)
    position = int(at[1]) if at else len(body)
    sentence = message.removeprefix("JSON is malformed: ").replace(
        "Input data was truncated", "the text ends too early"
    )
    return MalformedJson([FieldError(_place(body, position, root), f"malformed JSON: {sentence}")])


def _broken_utf8(body: bytes) -> int:
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return error.start
    return 0


def _lone_surrogate(body: bytes) -> int | None:
    """Return where the first half of a surrogate pair stands alone."""
    high_at = high_end = -1
    for match in _ESCAPE.finditer(body[:DOCUMENT_MAX_BYTES]):
        code = int(match[1] or b"0", 16)
        if high_at >= 0 and not (match.start() == high_end and 0xDC00 <= code <= 0xDFFF):
            return high_at
        if high_at >= 0:
            high_at = -1
        elif 0xD800 <= code <= 0xDBFF:
            high_at, high_end = match.start(), match.end()
        elif 0xDC00 <= code <= 0xDFFF:
            return match.start()
    return high_at if high_at >= 0 else None


def _too_deep(body: bytes, root: str) -> MalformedJson:
    position = _too_deep_at(body[:CLOSE_LOOK_BYTES])
    place = root if position is None else _place(body, position, root)
    return MalformedJson([FieldError(place, f"is nested more than {DEPTH_MAX} levels deep")])


def _too_deep_at(body: bytes) -> int | None:
    depth = 0
    for match in _TOKEN.finditer(body):
        first = match[0][0]
        if first in b"[{":
            depth += 1
            if depth > DEPTH_MAX:
                return match.start()
        elif first in b"]}":
            depth -= 1
    return None


def _place(body: bytes, position: int, root: str) -> str:
    """Return the path of the value at a byte position of a document, which may be broken from there on."""
    if position > CLOSE_LOOK_BYTES:
        return root
    path: list[str] = []
    last = ""
    before = body[:position]
    for match in _TOKEN.finditer(before[:-1] if before.endswith((b"]", b"}")) else before):
        token = match[0]
        if token[:1] == b'"':
            last = token.strip(b'"').decode(errors="replace")
        elif token == b"{":
            path.append("")
        elif token == b"[":
            path.append("[0]")
        elif token in (b"}", b"]"):
            path = path[:-1]
        elif token == b":" and path:
            path[-1] = f".{_shown(last)}"
        elif token == b"," and path:
            path[-1] = f"[{int(path[-1][1:-1]) + 1}]" if path[-1].startswith("[") else ""
    shown = "".join(path[:8])
    return root + shown + ("..." if len(path) > 8 else "")


def _shown(key: str) -> str:
    return key[:40].replace("\x00", "\\u0000")
