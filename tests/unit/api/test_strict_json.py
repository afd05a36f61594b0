import contextlib
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import strict_json
from api.strict_json import DEPTH_MAX, DOCUMENT_MAX_BYTES, MalformedJson, decode, read_body, split, split_list
from swarmsync.errors import TooLarge


def refused(body: bytes) -> list[tuple[str, str]]:
    with pytest.raises(MalformedJson) as caught:
        decode(body)
    return [(error.path, error.message) for error in caught.value.errors]


@pytest.mark.parametrize(
    ("body", "path", "words"),
    [
        (b"", "$", "empty"),
        (b" \n", "$", "empty"),
        (b"{", "$", "too early"),
        (b'{"image": "a', "$.image", "too early"),
        (b'{"image": tru}', "$.image", "malformed"),
        (b"[1,]", "$[1]", "trailing comma"),
        (b"{} x", "$", "trailing characters"),
        (b"\xef\xbb\xbf{}", "$", "malformed"),
        (b'{"a": NaN}', "$.a", "malformed"),
        (b'{"a": {"b": [1, -Infinity]}}', "$.a.b[1]", "malformed"),
        (b'{"a": 1, "b": 1e999}', "$.b", "out of range"),
        (b'{"a": -1e999}', "$.a", "out of range"),
        (b'{"a": ' + b"9" * 5000 + b"}", "$.a", "out of range"),
        (b'{"a": [0, 9223372036854775808]}', "$.a[1]", "64 bits"),
        (b'{"a": -9223372036854775809}', "$.a", "64 bits"),
        (b'{"a": "\\ud800"}', "$.a", "surrogate"),
        (b'{"a": "\\udc00 and more"}', "$.a", "surrogate"),
        (b'{"a": "\\ud83d\\ude00", "b": "\\ud800\\u0041"}', "$.b", "surrogate"),
        (b'{"a": "\xed\xa0\x80"}', "$.a", "UTF-8"),
        (b'{"a": ["x", "\xff"]}', "$.a[1]", "UTF-8"),
        (b'{"a": "x\x00"}', "$.a", "malformed"),
        (b'{"a": {"b": "x\\u0000"}}', "$.a.b", "NUL"),
        (b'{"a\\u0000": 1}', "$.a\\u0000", "NUL"),
        (b'{"a": 1, "b": {"c": [{"d": 1, "d": 2}]}}', "$.b.c[0].d", "twice"),
        (b'{"a": 1, "a": 1}', "$.a", "twice"),
    ],
)
def test_what_is_wrong_is_named(body, path, words):
    assert any(found == path and words in message for found, message in refused(body)), refused(body)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": -9223372036854775808}', {"a": -(1 << 63)}),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b'"\\\\ud800"', "\\ud800"),
        (b'{"a": 0.12345678901234567890}', {"a": 0.12345678901234568}),
        (b'{"a": "\\\\u0000"}', {"a": "\\u0000"}),
        (b'{"a": {"x": 1}, "b": {"x": 1}}', {"a": {"x": 1}, "b": {"x": 1}}),
    ],
)
def test_what_is_fine_is_let_in(body, value):
    assert decode(body) == value


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def test_depth_has_a_limit():
    assert decode(nested(DEPTH_MAX))
    for depth in (DEPTH_MAX + 1, 500, 2_000, 100_000):
        ((_, message),) = refused(nested(depth))
        assert "64 levels" in message
    ((path, _),) = refused(b'{"ok": 1, "image": ' + b'{"a":' * 5_000)
    assert path == "$.image.a.a.a.a.a.a.a..."


def test_many_brackets_side_by_side_are_not_deep():
    assert len(decode(b"[" + b",".join([b"[]"] * 1_000) + b"]")) == 1_000


def test_a_document_has_a_size():
    assert decode(b'"' + b"a" * (DOCUMENT_MAX_BYTES - 2) + b'"')
    with pytest.raises(TooLarge, match="256 KiB"):
        decode(b'"' + b"a" * DOCUMENT_MAX_BYTES + b'"')


def test_errors_are_reported_up_to_twenty():
    assert len(refused(json.dumps(["\x00"] * 100).encode())) == 20


def test_an_object_is_split_without_looking_into_it():
    members = split(b'{"jobs": [{"a": 1}, {"b": [2]}], "x": 3}')
    assert members is not None
    assert set(members) == {"jobs", "x"}
    assert split_list(members["jobs"]) == [b'{"a": 1}', b'{"b": [2]}']
    assert split_list(members["x"]) is None
    assert split(b"[1]") is None
    with pytest.raises(MalformedJson):
        split(b'{"jobs": [NaN]}')
    with pytest.raises(MalformedJson):
        split(b'{"jobs": ' + b"[" * 100_000)


async def chunks(*sizes: int):
    for size in sizes:
        yield b"x" * size


async def test_a_body_is_collected_up_to_its_limit():
    assert await read_body(chunks(3, 0, 7), None, 10) == b"x" * 10
    assert await read_body(chunks(10), 10, 10) == b"x" * 10
    with pytest.raises(TooLarge):
        await read_body(chunks(3, 8), None, 10)
    with pytest.raises(TooLarge):
        await read_body(chunks(), 1_000_000, 10)


async def test_an_endless_body_is_not_read_to_its_end():
    read = 0

    async def endless():
        nonlocal read
        while True:
            read += 1
            yield b"x" * 10

    with pytest.raises(TooLarge):
        await read_body(endless(), None, 100)
    assert read < 100


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(body):
    with contextlib.suppress(MalformedJson):
        decode(body)


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_every_value_that_json_can_carry_reads_as_it_was(value):
    assert decode(json.dumps(value).encode()) == value
    assert decode(msgspec.json.encode(value)) == value


@given(VALUES, st.integers(0, 400), st.binary(min_size=1, max_size=2))
def test_a_damaged_text_is_refused_or_read_as_others_read_it(value, position, damage):
    body = json.dumps(value).encode()
    broken = body[:position] + damage + body[position:]
    try:
        found = decode(broken)
    except MalformedJson:
        return
    assert found == json.loads(broken)


def test_the_close_look_leaves_nothing_behind():
    for _ in range(2):
        assert refused(b'{"a": 1, "a": 2}') == [("$.a", "occurs twice")]
        assert decode(b'{"a": 1}') == {"a": 1}
    assert strict_json.CLOSE_LOOK_BYTES <= DOCUMENT_MAX_BYTES
