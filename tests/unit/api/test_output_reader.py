from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.output_reader import LastLines, merged
from swarmsync.store.outputs import Chunk

START = datetime(2026, 11, 24, tzinfo=UTC)


def chunk(stream: int, second: int, data: bytes = b"x", start: int = 0) -> Chunk:
    return Chunk(stream, start, START + timedelta(seconds=second), data)


def test_streams_are_merged_by_time():
    out, err = [chunk(1, 0), chunk(1, 3)], [chunk(2, 1), chunk(2, 3)]
    assert merged([out, err], [False, False]) == [out[0], err[0], out[1], err[1]]


def test_a_merge_stops_where_a_stream_that_goes_on_ends():
    out, err = [chunk(1, 0), chunk(1, 1)], [chunk(2, 5)]
    assert merged([out, err], [True, False]) == out
    assert merged([out, err], [False, True]) == [*out, *err]
    assert merged([[], err], [False, False]) == err
    assert merged([[], []], [False, False]) == []


@pytest.mark.parametrize(
    ("lines", "pieces", "expected"),
    [
        (0, [b"a\nb\n"], b""),
        (1, [b"a\nb\n"], b"b\n"),
        (1, [b"a\nb"], b"b"),
        (2, [b"a\n", b"b\n", b"c\n"], b"b\nc\n"),
        (1, [b"a\nlong ", b"line", b" on\n"], b"long line on\n"),
        (3, [b"\n\n\n"], b"\n\n\n"),
        (2, [b"\n\n\n"], b"\n\n"),
        (9, [b"a\n", b"b"], b"a\nb"),
    ],
)
def test_the_last_lines(lines, pieces, expected):
    assert tail_of(pieces, lines) == expected


def tail_of(pieces: list[bytes], lines: int) -> bytes:
    counter = LastLines(lines)
    for piece in reversed(pieces):
        if counter.full:
            break
        counter.add(chunk(1, 0, piece))
    return b"".join(entry.data for entry in counter.chunks)


@given(st.lists(st.binary(max_size=6).map(lambda b: bytes(b"ab\n"[x % 3] for x in b)), max_size=8), st.integers(0, 8))
def test_the_last_lines_are_those_of_the_whole(pieces, lines):
    whole = b"".join(piece for piece in pieces if piece)
    ends = whole.endswith(b"\n")
    split = whole.removesuffix(b"\n").split(b"\n") if whole else []
    wanted = split[len(split) - lines :] if lines < len(split) else split
    expected = b"\n".join(wanted) + (b"\n" if ends and wanted else b"")
    assert tail_of([piece for piece in pieces if piece], lines) == expected


def test_a_chunk_is_cut_at_an_offset():
    whole = chunk(1, 0, b"0123456789", start=100)
    assert whole.end == 110
    assert whole.cut(100) is whole
    assert whole.cut(50) is whole
    assert (whole.cut(107).start, whole.cut(107).data) == (107, b"789")
