import random

import pytest
from tui_samples import T0, event, moment, worker

from cli.tui.job_board import Filter, JobBoard, read_filter
from cli.tui.replay import Replay, slider
from cli.tui.screens import Answer


def board_of(*events) -> JobBoard:
    board = JobBoard()
    for each in events:
        board.apply(each)
    return board


def test_a_job_moves_through_its_states_and_ends():
    board = board_of(event("a", "queued", 1), event("a", "starting", 2), event("a", "running", 3))
    assert (board.counts(), board.jobs["a"].worker) == ({"running": 1}, "w1")
    board.apply(event("a", "succeeded", 4))
    assert board.counts() == {}
    assert [job.state for job in board.ended] == ["succeeded"]


def test_news_that_is_older_than_what_is_known_changes_nothing():
    board = JobBoard()
    board.begin(moment(5), [event("a", "running", 5)])
    assert board.apply(event("a", "queued", 4)) is None
    assert board.apply(event("a", "running", 5)) is None
    assert board.apply(event("a", "succeeded", 6)) is not None
    assert board.apply(event("a", "running", 5)) is None
    assert board.counts() == {}


def test_a_job_that_is_queued_again_has_left_its_worker():
    board = board_of(event("a", "running", 1), event("a", "queued", 2, worker="w1", reason="RetryBackoff"))
    assert board.lanes() == {}
    assert board.waiting() == {"RetryBackoff": 1}


def test_an_array_counts_by_its_members():
    board = board_of(
        event("a", "queued", 1, array_size=2),
        event("b", "queued", 2, array_size=2, array_index=0),
        event("c", "queued", 3, array_size=2, array_index=1),
    )
    assert board.counts() == {"queued": 2}
    assert board.jobs["c"].label == "name-c[1]"


def test_lanes_show_registered_workers_and_those_with_jobs():
    board = board_of(event("a", "running", 1), event("b", "running", 2), event("c", "running", 3, worker="gone"))
    lanes = board.lanes([worker("w1"), worker("idle")])
    assert {name: len(lane.jobs) for name, lane in lanes.items()} == {"gone": 1, "idle": 0, "w1": 2}
    assert lanes["w1"].share() == pytest.approx(0.5)
    assert lanes["gone"].share() is None


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("", ["a", "b", "c"]),
        ("user=bob", ["b"]),
        ("state=waiting", ["c"]),
        ("state=running queue=gpu", ["b"]),
        ("worker=w1 name-a", ["a"]),
        ("nothing", []),
    ],
)
def test_filters(words, found):
    board = board_of(
        event("a", "running", 1), event("b", "running", 2, user="bob", queue="gpu"), event("c", "queued", 3)
    )
    wanted = read_filter(words)
    assert sorted(job.job for job in board.shown(wanted)) == found
    assert read_filter(wanted.words()) == wanted


def test_boards_of_the_same_events_are_equal_whenever_they_begin():
    rng = random.Random(4)
    states = ["queued", "starting", "running", "stopping", "succeeded"]
    place, events = dict.fromkeys("abcdefgh", 0), []
    for seq in range(1, 200):
        job = rng.choice("abcdefgh")
        if place[job] < len(states):
            events.append(event(job, states[place[job]], seq))
            place[job] += 1
    whole = board_of(*events).snapshot()
    for cut in range(0, len(events), 7):
        early = board_of(*events[:cut])
        later = JobBoard()
        items = [next(e for e in reversed(events[:cut]) if e["job"] == job) for job in early.jobs]
        later.begin(early.at, items)
        for each in events[max(cut - 9, 0) :]:
            later.apply(each)
        assert later.snapshot() == whole


def test_ten_thousand_jobs_are_no_burden():
    items = [event(f"j{n}", "running", n, worker=f"w{n % 200}") for n in range(1, 10_001)]
    board = JobBoard()
    board.begin(moment(0), items)
    assert len(board.lanes()) == 200
    assert len(board.shown(Filter())) == 10_000


# --- the time slider --------------------------------------------------------------------------------------------------


def begun(events, *, at=0.0, now=60.0, speed=1):
    replay = Replay(T0 + at, T0 + now, speed=speed)
    (ask,) = replay.start()
    assert (ask.path, ask.query["at"]) == ("/v1/events/snapshot", moment(at))
    (more,) = replay.take(Answer("past.0", {"at": moment(at), "items": []}))
    assert (more.path, more.query["since"], more.query["until"]) == ("/v1/events/history", moment(at), moment(now))
    replay.take(Answer("history.0", {"items": events, "next_cursor": None}))
    return replay


def test_the_past_goes_by_at_its_own_pace():
    replay = begun([event("a", "queued", 1), event("a", "running", 3), event("a", "succeeded", 10)])
    replay.tick(T0 + 62)
    assert replay.board.counts() == {"queued": 1}
    replay.tick(T0 + 63.5)
    assert replay.board.counts() == {"running": 1}
    assert replay.playhead == T0 + 3.5


def test_sixty_times_faster_and_paused():
    replay = begun([event("a", "queued", 1), event("a", "succeeded", 50)], speed=60)
    replay.playing = False
    replay.tick(T0 + 61)
    assert replay.board.counts() == {}
    replay.playing = True
    replay.tick(T0 + 61.5)
    assert (replay.board.counts(), replay.over()) == ({"queued": 1}, False)
    replay.tick(T0 + 62.5)
    assert (replay.board.counts(), replay.over()) == ({}, True)


def test_time_stands_still_until_the_next_page_is_there():
    replay = Replay(T0, T0 + 60)
    replay.start()
    replay.take(Answer("past.0", {"at": moment(0), "items": []}))
    replay.take(Answer("history.0", {"items": [event("a", "queued", 1)], "next_cursor": "7-1"}))
    (ask,) = replay.tick(T0 + 90)
    assert ask.query["cursor"] == "7-1"
    assert replay.playhead == T0
    replay.take(Answer("history.0", {"items": [event("a", "succeeded", 2)], "next_cursor": None}))
    replay.tick(T0 + 91)
    assert replay.playhead == T0 + 1


def test_speeds_end_at_1_and_60():
    replay = Replay(T0, T0)
    replay.faster(-1)
    assert replay.speed == 1
    for _ in range(9):
        replay.faster(1)
    assert replay.speed == 60


def test_the_slider_shows_where_the_playhead_is():
    assert slider(T0, T0, 11) == "==========|"
    assert slider(T0 - 300, T0, 11) == "=====|-----"
    assert slider(T0 - 100_000, T0, 11).startswith("==|")
