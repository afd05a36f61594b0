from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Annotated, Literal

import pytest
from msgspec import Meta, Struct

from api import query_strings
from api.query_strings import NoQuery, QueryError, read
from swarmsync.model.lifecycle import FINAL, WAITING, JobState

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


class Query(Struct, frozen=True, forbid_unknown_fields=True):
    name: str = ""
    label: tuple[str, ...] = ()
    limit: Annotated[int, Meta(ge=1, le=10)] = 5
    follow: bool = False
    kind: Literal["a", "b"] | None = None


def query(text: bytes, kind=Query):
    return read(SimpleNamespace(scope={"query_string": text}), kind)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", Query()),
        (b"name=&limit=", Query()),
        (b"name=a%20b%26c&limit=7", Query(name="a b&c", limit=7)),
        (b"label=a=1&label=b%3D2", Query(label=("a=1", "b=2"))),
        (b"follow=1", Query(follow=True)),
        (b"follow=true&kind=b", Query(follow=True, kind="b")),
        (b"name=%C3%A9", Query(name="\u00e9")),
    ],
)
def test_parameters_are_read(text, expected):
    assert query(text) == expected


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (b"limit=0", "limit"),
        (b"limit=11", "limit"),
        (b"limit=99999999999999999999", "limit"),
        (b"limit=x", "limit"),
        (b"limit=1&limit=2", "limit"),
        (b"kind=c", "kind"),
        (b"follow=perhaps", "follow"),
        (b"nmae=x", "nmae"),
        (b"name=a%00", "name"),
        (b"%00=a", "\\0"),
        (b"name=%ff", ""),
        (b"name=\xc3\xa9", ""),
        (b"&".join([b"label=a"] * 101), ""),
    ],
)
def test_what_is_wrong_is_named(text, name):
    with pytest.raises(QueryError) as caught:
        query(text)
    assert [error.path for error in caught.value.errors] == [f"?{name}"]


def test_a_word_that_is_not_known_is_answered_with_those_that_are():
    with pytest.raises(QueryError, match="known are a, b"):
        query(b"kind=c")


def test_a_route_without_parameters_takes_none():
    assert query(b"", NoQuery) == NoQuery()
    with pytest.raises(QueryError, match="there are none here"):
        query(b"x=1", NoQuery)


def test_states_and_their_groups():
    assert query_strings.states("") is None
    assert query_strings.states("queued, running,queued") == (JobState.QUEUED, JobState.RUNNING)
    assert query_strings.states("waiting") == WAITING
    assert set(query_strings.states("finished,running") or ()) == {*FINAL, JobState.RUNNING}
    for text in ("sleeping", "queued,", ","):
        with pytest.raises(QueryError):
            query_strings.states(text)


def test_moments_are_times_or_ages():
    assert query_strings.moment("since", "", NOW) is None
    assert query_strings.moment("since", "1h30m", NOW) == NOW - timedelta(minutes=90)
    assert query_strings.moment("since", "2026-11-24T02:00:00+01:00", NOW) == datetime(2026, 11, 24, 1, tzinfo=UTC)
    assert query_strings.moment("since", "2026-11-24T02:00:00 01:00", NOW) == datetime(2026, 11, 24, 1, tzinfo=UTC)
    for text in ("yesterday", "2026-11-24", "2026-11-24T02:00:00", "9999-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00"):
        with pytest.raises(QueryError):
            query_strings.moment("since", text, NOW)


def test_labels_become_a_mapping_of_what_a_thing_must_have():
    assert query_strings.labels("label", ()) is None
    assert query_strings.labels("label", ("a=1", "b=x=y", "c=")) == {"a": "1", "b": "x=y", "c": ""}
    for pair in ("a", "=1"):
        with pytest.raises(QueryError):
            query_strings.labels("label", (pair,))


def test_cursors_are_ids():
    assert query_strings.cursor("cursor", "") is None
    assert query_strings.cursor("cursor", "000000000000z") == 31
    with pytest.raises(QueryError):
        query_strings.cursor("cursor", "z")
