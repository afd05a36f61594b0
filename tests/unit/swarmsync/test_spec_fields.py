"""Each field type: every form in which people write it, and that what is stored reads back as the same value."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmsync.errors import SpecError
from swarmsync.model.fields import Size, dec_hook, enc_hook
from swarmsync.model.resources import DURATION_MAX_MS, SIZE_MAX
from swarmsync.protocol.codec import convert_spec, decode_stored_spec, encode_json

DURATION_MAX_S = DURATION_MAX_MS // 1000


def read(**fields):
    return convert_spec({"image": "alpine", **fields})


def stored(spec):
    return decode_stored_spec(encode_json(spec))


@pytest.mark.parametrize(
    ("raw", "milliseconds"), [("90s", 90_000), (90, 90_000), (0.25, 250), ("1h30m", 5_400_000), (0, 0)]
)
def test_a_duration_is_text_or_seconds(raw, milliseconds):
    assert read(timeout=raw).timeout == milliseconds


@pytest.mark.parametrize(
    "raw", [True, None, [], {}, -1, -0.001, float("nan"), float("inf"), 10**400, DURATION_MAX_S + 1, "soon", "-5s"]
)
def test_what_is_no_duration_is_refused_at_its_place(raw):
    with pytest.raises(SpecError) as caught:
        read(stop={"grace": raw})
    assert caught.value.errors[0].path == "$.stop.grace"


@given(st.integers(0, DURATION_MAX_S) | st.floats(0, DURATION_MAX_S))
def test_every_duration_that_is_taken_can_be_stored_and_read_again(seconds):
    spec = read(timeout=seconds)
    assert stored(spec).timeout == spec.timeout


@pytest.mark.parametrize(
    ("raw", "size"), [("256MiB", 256 << 20), ("512m", 512 << 20), (6 << 20, 6 << 20), ("1.5GiB", 3 << 29)]
)
def test_a_size_is_text_or_bytes(raw, size):
    assert read(resources={"memory": raw}).resources.memory == size


@pytest.mark.parametrize("raw", [True, None, 1.5, [], -1, SIZE_MAX + 1, 10**30, "much", "1PiB"])
def test_what_is_no_size_is_refused_at_its_place(raw):
    with pytest.raises(SpecError) as caught:
        read(resources={"memory": raw})
    assert caught.value.errors[0].path == "$.resources.memory"


@given(st.integers(0, SIZE_MAX) | st.integers(0, SIZE_MAX >> 20).map(lambda mebibytes: mebibytes << 20))
def test_every_size_that_is_taken_can_be_stored_and_read_again(size):
    spec = read(resources={"memory": size})
    assert stored(spec).resources.memory == size


def test_1500_mebibytes_stay_1500_mebibytes():
    assert stored(read(resources={"memory": "1500MiB"})).resources.memory == 1500 << 20


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("echo 'a b' c", ("echo", "a b", "c")),
        (["echo", "a b"], ("echo", "a b")),
        ("", ()),
        ([], ()),
        (["", " "], ("", " ")),
    ],
)
def test_a_command_is_a_line_or_a_list(raw, words):
    spec = read(command=raw)
    assert spec.command == words
    assert stored(spec).command == words


@pytest.mark.parametrize(
    ("raw", "message"), [("echo 'a", "write it as a list"), (["a", 1], "a line or a list"), (5, "a line or a list")]
)
def test_what_is_no_command_is_refused(raw, message):
    with pytest.raises(SpecError, match=message):
        read(command=raw)


@pytest.mark.parametrize(
    ("raw", "environment"),
    [
        ({"A": "1"}, {"A": "1"}),
        (
            {"A": 1, "B": 1.5, "C": True, "D": False, "E": None},
            {"A": "1", "B": "1.5", "C": "true", "D": "false", "E": ""},
        ),
        (["A=1", "B", "C=x=y", "D="], {"A": "1", "B": "", "C": "x=y", "D": ""}),
        ({}, {}),
    ],
)
def test_an_environment_is_names_and_values_or_a_list(raw, environment):
    spec = read(environment=raw)
    assert spec.environment == environment
    assert stored(spec).environment == environment


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"": "x"}, "not a variable name"),
        ({"A=B": "x"}, "not a variable name"),
        ({1: "x"}, "not a variable name"),
        (["=x"], "not a variable name"),
        ({"A": []}, "the value of 'A' must be text or a number"),
        ([1], "names and values"),
        ("A=1", "names and values"),
    ],
)
def test_what_is_no_environment_is_refused(raw, message):
    with pytest.raises(SpecError, match=message):
        read(environment=raw)


def test_foreign_types_are_bugs_not_users_errors():
    with pytest.raises(NotImplementedError):
        dec_hook(bytes, b"")
    with pytest.raises(NotImplementedError):
        enc_hook(object())


def test_sizes_are_written_for_people_where_that_is_exact():
    written = msgspec.json.decode(encode_json([Size(256 << 20), Size(1 << 30), Size(1500 << 20), Size(5), Size(1025)]))
    assert written[:3] == ["256MiB", "1GiB", "1500MiB"]
