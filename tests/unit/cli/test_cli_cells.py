from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli import cells, output

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@given(st.text())
def test_escaped_text_has_no_control_characters(text):
    shown = cells.escape(text)
    assert not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in shown)
    assert "\u202e" not in shown
    shown.encode()  # lone surrogates are written out as well


@given(st.text(max_size=30), st.integers(1, 40))
def test_cut_text_fits(text, columns):
    assert cells.width(cells.cut(cells.escape(text), columns)) <= columns


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (None, "-"),
        ("nonsense", "-"),
        ("2026-11-23T11:59:57.500000Z", "2.5s"),
        ("2026-11-23T11:58:30Z", "90s"),
        ("2026-11-23T11:00:00Z", "60m"),
        ("2026-11-22T13:00:00Z", "23h"),
        ("2026-11-13T12:00:00Z", "10d"),
        ("2026-11-23T12:00:30Z", "+30s"),
    ],
)
def test_ages(moment, text):
    assert cells.age(moment, NOW) == text


def test_durations_of_running_jobs_end_now():
    assert cells.duration("2026-11-23T11:59:00Z", None, NOW) == "60s"
    assert cells.duration("2026-11-23T11:00:00Z", "2026-11-23T11:00:05Z", NOW) == "5.0s"
    assert cells.duration(None, None, NOW) == "-"


def test_plain_values():
    shown = [cells.plain(value) for value in (None, "", {}, True, 0, 1.5, {"a": "b"}, ["x", 1], "a\nb")]
    assert shown == ["-", "-", "-", "yes", "0", "1.5", "a=b", "x,1", "a\\nb"]


def test_columns_are_aligned_by_width_and_cut_on_terminals_only():
    rows = [["NAME", "STATE"], ["日本", "running"], ["a", "x" * 50]]
    assert list(output.aligned(rows)) == ["NAME  STATE", "日本  running", "a     " + "x" * 50]
    assert [cells.width(line) <= 20 for line in output.aligned(rows, terminal_columns=20)] == [True, True, True]


def test_fields_are_found_by_dotted_path():
    document = {"spec": {"image": "x"}, "labels": {"a.b": "c"}}
    assert output.field(document, "spec.image") == "x"
    assert output.field(document, "labels.a.b") == "c"
    assert output.field(document, "labels.none.more") is None
