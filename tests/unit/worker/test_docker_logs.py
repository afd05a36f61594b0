import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.container_runtime import LogPiece
from worker.docker_logs import LINE_PART, LogFrames, LogStreamBroken

STAMP = b"2026-11-23T21:13:23.445954645Z "
AT = 1795468403.445954
NUMBERS = {"stdout": 1, "stderr": 2}


def frame(stream: str, content: bytes) -> bytes:
    data = STAMP + content
    return struct.pack(">BxxxL", NUMBERS[stream], len(data)) + data


def joined(pieces, stream):
    return b"".join(piece.data for piece in pieces if piece.stream == stream)


def test_runs_of_one_stream_are_joined_and_keep_their_order():
    data = frame("stdout", b"a\n") + frame("stdout", b"b\n") + frame("stderr", b"x\n") + frame("stdout", b"c")
    assert LogFrames({}).feed(data) == [
        LogPiece("stdout", b"a\nb\n", pytest.approx(AT)),
        LogPiece("stderr", b"x\n", pytest.approx(AT)),
        LogPiece("stdout", b"c", pytest.approx(AT)),
    ]


lines = st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(max_size=40)), max_size=20)


@given(lines, st.data())
def test_any_cut_and_any_skip_give_the_same_bytes(entries, data):
    entries = [(stream, content.replace(b"\n", b"") + b"\n") for stream, content in entries]
    sent = b"".join(frame(*entry) for entry in entries)
    skip = {stream: data.draw(st.integers(0, 60)) for stream in NUMBERS}
    frames, pieces, rest = LogFrames(skip), [], sent
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        pieces += frames.feed(rest[:size])
        rest = rest[size:]
    pieces += frames.finish(0.0)
    assert frames.complete
    for stream in NUMBERS:
        whole = b"".join(content for entry_stream, content in entries if entry_stream == stream)
        assert joined(pieces, stream) == whole[skip[stream] :]
    assert all(piece.data for piece in pieces)
    assert frames.last_frame == (frame(*entries[-1]) if entries else b"")


PART = b"x" * LINE_PART


@pytest.mark.parametrize(
    ("entries", "whole"),
    [
        ([PART, b"end", b"next\n"], PART + b"end\nnext\n"),  # old engines lose the newline of a long line
        ([PART, b"end\n", b"next\n"], PART + b"end\nnext\n"),  # newer ones do not
        ([PART, PART, b"", b"next\n"], PART + PART + b"\nnext\n"),  # a long line of exactly two parts
        ([PART, b"end", b"tail"], PART + b"end\ntail"),
        ([b"tail"], b"tail"),
        ([PART], PART),
    ],
)
@pytest.mark.parametrize("newlines_lost", [True, False])
def test_newlines_of_long_lines(entries, whole, newlines_lost):
    frames = LogFrames({}, newlines_lost=newlines_lost)
    pieces = [piece for entry in entries for piece in frames.feed(frame("stdout", entry) + frame("stderr", b"e\n"))]
    pieces += frames.finish(AT)
    assert joined(pieces, "stdout") == whole
    assert joined(pieces, "stderr") == b"e\n" * len(entries)


@pytest.mark.parametrize(("newlines_lost", "end"), [(True, b"end\n"), (False, b"end")])
def test_the_last_long_line_is_taken_for_whole_by_old_engines_only(newlines_lost, end):
    frames = LogFrames({"stdout": LINE_PART}, newlines_lost=newlines_lost)
    pieces = frames.feed(frame("stdout", PART) + frame("stdout", b"end"))
    assert joined(pieces + frames.finish(AT), "stdout") == end
    assert frames.finish(AT) == []


def test_parts_of_a_long_line_cannot_be_told_apart():
    frames = LogFrames({})
    assert frames.last_is_unique
    for entry, unique in ((b"a\n", True), (b"tail", True), (PART, False), (b"x" * (LINE_PART - 1) + b"\n", True)):
        frames.feed(frame("stdout", entry))
        assert frames.last_is_unique is unique


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">BxxxL", 3, 40) + b"Error grabbing logs: something is broken",
        struct.pack(">BxxxL", 1, 3) + b"abc",
        struct.pack(">BxxxL", 1, len(STAMP) + 1) + b"not a time".ljust(len(STAMP)) + b"x",
        b'{"message": "no frames at all"}',
    ],
)
def test_what_is_no_output_is_never_taken_for_output(data):
    with pytest.raises(LogStreamBroken):
        LogFrames({}).feed(data)


def test_an_unfinished_frame_is_noticed():
    frames = LogFrames({})
    assert frames.feed(frame("stdout", b"abc")[:-1]) == []
    assert not frames.complete
