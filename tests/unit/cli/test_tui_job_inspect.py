import pytest
from tui_samples import T0, event, moment, shown, worker

from cli.tui.job_inspect import JobInspect
from cli.tui.screens import Answer, Ask, Began, Events, Failed, FollowEvents, FollowLogs, Leave, Link, Output, Quit

NOW = T0 + 100


@pytest.fixture
def screen():
    screen = JobInspect()
    assert FollowEvents() in screen.start(NOW)
    screen.take(Began(moment(0), [event("a", "running", 1), event("b", "queued", 2), event("c", "starting", 3)]), NOW)
    screen.take(Answer("workers", {"items": [worker("w1")]}), NOW)
    return screen


def press(screen, *keys, now=NOW):
    wishes = []
    for key in keys:
        wishes += screen.press(key, now)
    return wishes


def text_of(screen, **size):
    return "\n".join(shown(screen, **size))


@pytest.mark.parametrize(("columns", "rows"), [(40, 10), (80, 24), (120, 30), (200, 60)])
def test_it_fits_every_size(screen, columns, rows):
    screen.take(
        Events([event(f"x{n}", "running", 10 + n, worker=f"worker-with-a-long-name-{n}") for n in range(40)]), NOW
    )
    press(screen, "enter")
    assert "JobInspect" in shown(screen, columns, rows)[0]
    press(screen, "left")
    assert "PAST" in shown(screen, columns, rows)[0]


def test_what_is_shown(screen):
    screen.take(Answer("stats", {"waiting": {"Resources": 1}}), NOW)
    lines = shown(screen)
    assert lines[1] == "starting 1  running 1  queued 1"
    assert lines[2].startswith("w1 ready     [####----]  50%    2 jobs")
    assert lines[3] == "waiting for: Resources 1"
    assert [line.split()[0] for line in lines[5:8]] == ["c", "a", "b"]
    assert lines[-2] == "$ consumer inspect jobs"


def test_names_cannot_steer_the_terminal(screen):
    screen.take(Events([event("d", "running", 9, name="\x1b[2Jx\n")]), NOW)
    assert "\\x1b[2Jx\\n" in text_of(screen, columns=200)
    assert "\x1b" not in text_of(screen)


def test_the_cursor_stays_with_its_job(screen):
    shown(screen)
    press(screen, "down", "down")
    assert screen.selected == "b"
    screen.take(Events([event("0", "running", 9)]), NOW)
    shown(screen)
    assert screen.selected == "b"
    press(screen, "home")
    assert screen.selected == "c"
    press(screen, "end", "down")
    assert screen.selected == "b"


def test_a_click_selects_and_the_next_one_opens(screen):
    page = screen.view(80, 24, NOW)
    row = next(row for row, job in page.targets.items() if job == "b")
    assert "".join(words for _, words in page.lines[row]).startswith("b ")
    assert screen.click("b", NOW) == []
    wishes = screen.click("b", NOW)
    assert FollowLogs("b") in wishes


def test_one_job_from_close_by(screen):
    shown(screen)
    wishes = press(screen, "down", "enter")
    assert [wish.path for wish in wishes if isinstance(wish, Ask)] == ["/v1/jobs/a", "/v1/jobs/a/why"]
    job = {
        "id": "a",
        "state": "running",
        "user": "ann",
        "queue": "default",
        "priority": 50,
        "spec": {"image": "alpine"},
    }
    screen.take(Answer("detail:a", job), NOW)
    assert "image        alpine" in text_of(screen)
    press(screen, "tab")
    why = {"state": "queued", "position": 3, "blockers": [{"reason": "Resources", "message": "no room"}]}
    screen.take(Answer("why:a", why), NOW)
    assert "- Resources: no room" in text_of(screen)
    press(screen, "tab")
    screen.take(Output("a", "".join(f"line {n}\n" for n in range(50)) + "no end"), NOW)
    screen.take(Output("b", "foreign\n"), NOW)
    assert shown(screen)[-3] == "no end"
    assert "foreign" not in text_of(screen)
    press(screen, "page up")
    assert "no end" not in text_of(screen)
    assert press(screen, "esc") == [FollowLogs("")]
    assert press(screen, "esc") == [Leave()]
    assert press(screen, "q") == [Quit()]


def test_a_change_of_the_open_job_is_looked_at_again(screen):
    shown(screen)
    press(screen, "enter")
    wishes = screen.take(Events([event("c", "running", 9)]), NOW)
    assert "/v1/jobs/c" in [wish.path for wish in wishes]
    assert screen.take(Events([event("b", "held", 10)]), NOW) == []


def test_a_filter_is_typed(screen):
    press(screen, "/", *"user=bob x", "backspace", "backspace")
    assert screen.view(80, 24, NOW).cursor == (len("filter: user=bob"), 22)
    press(screen, "enter")
    assert (screen.wanted.user, screen.rows()) == ("bob", [])
    assert shown(screen)[-2] == "$ consumer inspect jobs --user bob"
    press(screen, "/", "ctrl u", "enter", "s", "s")
    assert (screen.wanted.state, [job.job for job in screen.rows()]) == ("waiting", ["b"])
    press(screen, "/", *"typed but left", "esc")
    assert screen.wanted.text == ""


def test_core_goes_away_and_comes_back(screen):
    screen.take(Link("the stream broke"), NOW)
    assert "reconnecting: the stream broke" in shown(screen)[0]
    assert "running 1" in shown(screen)[1]
    screen.take(Link(""), NOW)
    assert "LIVE" in shown(screen)[0]


def test_back_in_time_and_live_again(screen):
    (ask,) = press(screen, "left")
    assert ask.query["at"] == moment(90)
    (more,) = screen.take(Answer(ask.tag, {"at": moment(90), "items": [event("z", "running", 1)]}), NOW)
    assert more.path == "/v1/events/history"
    assert [job.job for job in screen.rows()] == ["z"]
    screen.take(Events([event("a", "succeeded", 11)]), NOW)
    assert [job.job for job in screen.rows()] == ["z"]
    assert "--at 2026-" in shown(screen)[-2]
    press(screen, " ")
    assert "paused" in shown(screen)[0]
    press(screen, "l")
    assert {job.job for job in screen.rows()} == {"a", "b", "c"}
    assert screen.rows()[-1].state == "succeeded"


def test_answers_to_an_earlier_seek_are_passed_over(screen):
    (first,) = press(screen, "left")
    (second,) = press(screen, "[")
    assert screen.take(Answer(first.tag, {"at": moment(90), "items": [event("z", "running", 1)]}), NOW) == []
    assert screen.rows() == []
    assert second.query["at"] == moment(30)
    assert press(screen, "right", "right", "right", "right", "right", "right", "right", now=NOW)
    assert screen.replay is None


def test_a_past_that_cannot_be_read_says_so(screen):
    (ask,) = press(screen, "left")
    screen.take(Failed(ask.tag, "it is not kept", gone=False), NOW)
    assert "cannot go back: it is not kept" in shown(screen)[-2]


def test_workers_and_stats_are_asked_for_every_two_seconds(screen):
    assert screen.tick(NOW + 1) == []
    assert [wish.tag for wish in screen.tick(NOW + 2)] == ["workers", "stats"]
    assert screen.tick(NOW + 2.5) == []
