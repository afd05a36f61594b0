import pytest
from fake_core import ID, FakeCore, Hangup, Problem, Stream, chunk, end, job
from hypothesis import given
from hypothesis import strategies as st

from swarmsync import errors
from swarmsync.client import Client
from swarmsync.events import follow_events
from swarmsync.follow import LogChunk, LogEnd, Resume, follow

LOGS = f"/v1/jobs/{ID}/logs"


@pytest.fixture
def client(core):
    with Client(core.url, patience_s=1.0, sleep=lambda _: None) as client:
        yield client


def pieces_of(client, **query):
    return list(follow(client, ID, query, patience_s=5.0, sleep=lambda _: None))


def text(pieces, stream="stdout"):
    return b"".join(piece.data for piece in pieces if isinstance(piece, LogChunk) and piece.stream == stream)


def test_a_whole_stream(core, client):
    core.on("GET", LOGS, Stream([chunk(b"out\n"), b"", chunk(b"\xff\x00", stream="stderr"), b'{"new": 1}', end()]))
    pieces = pieces_of(client)
    assert (text(pieces), text(pieces, "stderr")) == (b"out\n", b"\xff\x00")
    assert pieces[-1] == LogEnd("succeeded", "Completed", "", 0, 1)
    assert core.requests[0].query == {"follow": ["1"], "format": ["jsonl"]}


def test_a_broken_stream_is_resumed_by_offset_and_nothing_comes_twice(core, client):
    core.on(
        "GET",
        LOGS,
        Stream([chunk(b"one "), chunk(b"err", stream="stderr")], broken=True),
        Hangup(),
        Problem(503, "starting"),
        Stream([chunk(b"e two", offset=2), chunk(b" three", offset=7), end()]),
    )
    pieces = pieces_of(client, tail=5)
    assert (text(pieces), text(pieces, "stderr")) == (b"one two three", b"err")
    last = core.asked("GET", LOGS)[-1].query
    assert last == {"follow": ["1"], "format": ["jsonl"], "attempt": ["1"], "stdout_from": ["4"], "stderr_from": ["3"]}


def test_offsets_begin_again_with_each_attempt(core, client):
    core.on("GET", LOGS, Stream([chunk(b"first"), chunk(b"second", attempt=2), chunk(b"late"), end()]))
    assert text(pieces_of(client)) == b"firstsecond"


def test_a_stream_that_ends_early_for_good_takes_the_verdict_from_the_job(core, client):
    core.on("GET", LOGS, Stream([chunk(b"x")]), Stream([]))
    core.on("GET", f"/v1/jobs/{ID}", job(state="failed", reason="ExitCode", exit_code=4, attempt=1))
    assert pieces_of(client)[-1] == LogEnd("failed", "ExitCode", "", 4, 1)


def test_patience_ends(core, client):
    core.on("GET", LOGS, Hangup())
    with pytest.raises(errors.Unavailable):
        list(follow(client, ID, patience_s=0.0, sleep=lambda _: None))


def test_a_job_that_is_gone_is_not_waited_for(core, client):
    with pytest.raises(errors.NotFound):
        pieces_of(client)


@given(st.binary(max_size=40), st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=20))
def test_resume_hands_out_each_byte_once_whatever_is_repeated(whole, ranges):
    resume, got = Resume(), b""
    for first, stop in [*ranges, (0, len(whole))]:
        start = min(first, len(got))  # Core repeats what was seen and never leaves a gap
        piece = resume.unseen(LogChunk("stdout", 1, start, "", whole[start:stop]))
        got += piece.data if piece else b""
    assert got == whole


def test_events_go_on_where_they_broke_off():
    core = FakeCore()
    core.on(
        "GET",
        "/v1/events",
        Stream([b": hello", b"id: 7", b"event: job", b'data: {"state":"queued"}', b""], broken=True),
        Stream([b"id: 8", b'data: {"state":', b'data: "running"}', b""]),
    )
    with Client(core.url) as client:
        events = follow_events(client, {}, sleep=lambda _: None)
        assert [next(events), next(events)] == [{"state": "queued"}, {"state": "running"}]
        events.close()
    assert core.requests[1].headers["Last-Event-ID"] == "7"
    core.close()
