"""What is for people: questions, lists that are printed again in place, times, and going on behind a page."""

import sys

import pytest
from fake_core import job

from cli import asking, cells, output

ID, OTHER = "0000000000001", "0000000000002"


@pytest.fixture
def terminal(monkeypatch):
    """A terminal for questions; returns what was asked, and answers as told."""
    asked = []
    answers = {"say": True}
    monkeypatch.setattr(asking, "terminal", lambda: True)

    def confirm(question, **_how):
        asked.append(question)
        if not answers["say"]:
            raise asking.typer.Abort

    monkeypatch.setattr(asking.typer, "confirm", confirm)
    return asked, answers


DELETES = [
    (("queue", "delete", "gpu"), "/v1/queues/gpu"),
    (("user", "delete", "ann"), "/v1/users/ann"),
    (("secret", "delete", "pw"), "/v1/secrets/pw"),
    (("worker", "delete", "w1"), "/v1/workers/w1"),
    (("webhook", "delete", "hook"), "/v1/webhooks/hook"),
]


@pytest.mark.parametrize(("words", "path"), DELETES)
def test_deleting_asks_on_a_terminal_only(consumer, core, terminal, words, path):
    asked, answers = terminal
    core.on("DELETE", path, (204, None))
    assert consumer(*words) == 0
    assert len(asked) == 1
    assert words[2] in asked[0]
    assert consumer(*words, "-y") == 0
    assert len(asked) == 1
    before = len(core.requests)
    answers["say"] = False
    assert consumer(*words) == 1
    assert len(core.requests) == before


def test_nobody_is_asked_without_a_terminal(consumer, core, capsys):
    core.on("DELETE", "/v1/queues/gpu", (204, None))
    assert consumer("queue", "delete", "gpu") == 0
    for words, flag in (
        (("user", "create", "ann"), "--password-stdin"),
        (("login", "--url", "http://127.0.0.1:1"), "--username"),
        (("registry", "add", "-u", "me", "r.example.org"), "--password-stdin"),
    ):
        assert consumer(*words) == 2
        assert flag in capsys.readouterr().err


def test_an_empty_secret_is_named_as_such(consumer, monkeypatch, capsys, tmp_path):
    empty = tmp_path / "empty"
    empty.touch()
    assert consumer("secret", "set", "pw", "--from-file", str(empty)) == 2
    assert "the value is empty" in capsys.readouterr().err


def test_a_list_goes_on_behind_a_cursor(consumer, core, capsys):
    core.on("GET", "/v1/queues", {"items": [{"name": "default"}], "next_cursor": None})
    assert consumer("queue", "list", "--cursor", "abc", "-q") == 0
    assert core.requests[-1].query["cursor"] == ["abc"]
    core.on("GET", "/v1/jobs", {"items": [job(id=OTHER)], "next_cursor": OTHER})
    assert consumer("job", "list", "--cursor", ID, "--limit", "1", "-q") == 0
    assert core.requests[-1].query["cursor"] == [ID]
    assert capsys.readouterr().out.split() == ["default", OTHER]


def test_what_is_watched_is_drawn_in_place(monkeypatch):
    monkeypatch.setattr(output.shutil, "get_terminal_size", lambda: (30, 4))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    printed = []
    monkeypatch.setattr(output, "emit", printed.append)

    def stop_at_third(_seconds):
        if len(printed) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(output.time, "sleep", stop_at_third)
    with pytest.raises(KeyboardInterrupt):
        output.once_or_again(True, lambda: "one\ntwo\nthree\nfour\n")
    assert printed[0].startswith("\x1b[H\x1b[2J")
    assert all("\x1b[2J" not in text for text in printed[1:])
    for text in printed:
        assert text.endswith("\x1b[J")
        assert text.count("\n") == 3  # never more than the terminal is high
        assert "two\x1b[K\n" in text
        assert "three" not in text


@pytest.mark.parametrize(
    ("moment", "fraction", "shown"),
    [
        ("2026-11-24T02:00:00.123456Z", 0, "2026-11-24T02:00:00Z"),
        ("2026-11-24T02:00:00.123456Z", 3, "2026-11-24T02:00:00.123Z"),
        ("2026-11-24T03:00:00+01:00", 0, "2026-11-24T02:00:00Z"),
        (None, 0, "-"),
        ("no\x1btime", 0, "no\\x1btime"),
    ],
)
def test_times_for_people_have_no_microseconds(moment, fraction, shown):
    assert cells.instant(moment, fraction=fraction) == shown
