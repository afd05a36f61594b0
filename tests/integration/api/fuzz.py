"""Requests made from the OpenAPI document: such as fit it, and such as nearly do."""

import json
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st
from msgspec import Struct

#: Parameters whose values would keep a request waiting; these do not.
HASTY = {"follow": ("0", "x", "2", "no"), "wait": ("0", "-1", "x", "1e9", "61")}
WORDS = [
    "",
    "a",
    "default",
    "90s",
    "-1s",
    "256MiB",
    "9" * 400,
    "*",
    "\x00",
    "\u202e",
    "é",
    "' OR 1=1 --",
    "../..",
    "%s%n",
]
WORDS += [
    "0000000000000",
    "7zzzzzzzzzzzz",
    "ZZZZZZZZZZZZZ",
    "2026-11-24T02:00:00+01:00",
    "A" * 3_000,
    "${jndi:x}",
    "\r\nX: y",
]
WEIRD = [
    None,
    True,
    False,
    0,
    -1,
    1 << 31,
    1 << 63,
    1 << 64,
    -(1 << 70),
    0.5,
    1e308,
    -0.0,
    [],
    {},
    [[[]]],
    {"": {}},
    *WORDS,
]
RAW = [
    b"",
    b"{",
    b"\xff\xfe",
    b"[" * 3_000,
    b'{"a":1,"a":2}',
    b"NaN",
    b'"\\ud800"',
    b"null",
    b"[]",
    b"\xef\xbb\xbf{}",
    b"1" * 5_000,
]
HEADERS = [
    {},
    {},
    {},
    {"Content-Type": "text/plain"},
    {"Content-Type": "application/json; charset=utf-16"},
    {"Content-Encoding": "gzip"},
    {"Idempotency-Key": "k"},
    {"Idempotency-Key": "é" * 200},
    {"Last-Event-ID": "x"},
    {"Accept": "text/event-stream"},
    {"X-Forwarded-For": "1.2.3.4", "Expect": "100-continue"},
]


class Operation(Struct, frozen=True):
    method: str
    path: str
    described: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Sent(Struct, frozen=True):
    target: str
    body: bytes | None
    headers: dict[str, str]


def operations(document: dict[str, Any]) -> list[Operation]:
    return [
        Operation(method.upper(), path, described)
        for path, methods in document["paths"].items()
        for method, described in methods.items()
    ]


def values(schema: dict[str, Any], root: dict[str, Any], depth: int = 0) -> st.SearchStrategy[Any]:
    """Make values that fit a schema; patterns are left to chance."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return st.deferred(lambda: values(root["components"]["schemas"][name], root, depth + 1))
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return st.one_of([values(entry, root, depth + 1) for entry in schema[key]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "const" in schema:
        return st.just(schema["const"])
    kind = schema.get("type")
    if isinstance(kind, list):
        return st.one_of([values({**schema, "type": entry}, root, depth + 1) for entry in kind])
    match kind:
        case "integer":
            low, high = schema.get("minimum"), schema.get("maximum")
            return st.integers(low if low is not None else -1_000, high if high is not None else 1 << 40)
        case "number":
            return st.floats(allow_nan=False, allow_infinity=False, width=32)
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case "array":
            entry = values(schema["items"], root, depth + 1) if schema.get("items") else st.sampled_from(WORDS)
            return st.lists(entry, min_size=min(schema.get("minItems", 0), 1), max_size=0 if depth > 6 else 3)
        case "object":
            return _objects(schema, root, depth)
        case _:
            return st.sampled_from(WORDS) | st.text(max_size=12)


def _objects(schema: dict[str, Any], root: dict[str, Any], depth: int) -> st.SearchStrategy[dict[str, Any]]:
    properties, required = schema.get("properties", {}), set(schema.get("required", ()))
    if not properties:
        more = schema.get("additionalProperties")
        entry = values(more, root, depth + 1) if isinstance(more, dict) else st.sampled_from(WORDS)
        return st.dictionaries(st.sampled_from(WORDS[:6]) | st.text(max_size=5), entry, max_size=3)
    made = {name: values(entry, root, depth + 1) for name, entry in properties.items()}
    whole = st.fixed_dictionaries(
        {name: made[name] for name in required if name in made},
        optional={name: entry for name, entry in made.items() if name not in required} if depth < 6 else {},
    )
    return whole.map(lambda fields: dict(list(fields.items())[:8]) if len(fields) > 8 else fields)


@st.composite
def broken(draw: Any, whole: Any) -> Any:
    """Replace one place of a value by something that nobody expects."""
    if isinstance(whole, dict) and whole and draw(st.integers(0, 3)):
        name = draw(st.sampled_from(sorted(whole)))
        return {**whole, name: draw(broken(whole[name]))}
    if isinstance(whole, list) and whole and draw(st.integers(0, 2)):
        return [draw(broken(whole[0])), *whole[1:]]
    if isinstance(whole, dict) and draw(st.booleans()):
        return {**whole, draw(st.sampled_from(WORDS)): draw(st.sampled_from(WEIRD))}
    return draw(st.sampled_from(WEIRD))


@st.composite
def requests(draw: Any, operation: Operation, root: dict[str, Any], known: dict[str, str]) -> Sent:
    """Make a request; `known` are names of things that exist, by path parameter."""
    described = operation.described
    path, query = operation.path, []
    for parameter in described["parameters"]:
        name = parameter["name"]
        if parameter["in"] == "path":
            text = draw(st.sampled_from([known.get(name, "x")] * 3 + WORDS[1:] + ["~" * 3]))
            path = path.replace(f"{{{name}}}", quote(text, safe=""))
        elif name in HASTY:
            query.append((name, draw(st.sampled_from(HASTY[name]))))
        elif draw(st.integers(0, 2)) == 0:
            value = draw(values(parameter["schema"], root) | st.sampled_from(WORDS))
            query.append((name, value if isinstance(value, str) else json.dumps(value)))
    if draw(st.integers(0, 9)) == 0:
        query.append(draw(st.sampled_from([("nothing", "1"), ("\x00", "x"), ("limit", "1"), ("limit", "2")])))
    text = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query)
    return Sent(f"{path}?{text}" if text else path, _body(draw, described, root), draw(st.sampled_from(HEADERS)))


def _body(draw: Any, described: dict[str, Any], root: dict[str, Any]) -> bytes | None:
    content = described.get("requestBody", {}).get("content", {})
    schema = content.get("application/json", {}).get("schema")
    choice = draw(st.integers(0, 9))
    if choice == 0:
        return draw(st.sampled_from(RAW))
    if schema is None:
        return None if choice < 7 else json.dumps(draw(st.sampled_from(WEIRD))).encode()
    whole = draw(values(schema, root))
    return json.dumps(whole if choice < 4 else draw(broken(whole))).encode()
