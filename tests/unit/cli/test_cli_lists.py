"""What every list and every full-screen program of the command line promises."""

import pytest
from fake_core import Problem
from test_cli_terminal import Screen
from tui_samples import event, module, moment

from cli.commands.vocabulary import COMMANDS, Noun
from cli.lazy_group import LazyCommands

LISTS = sorted(name for name, entry in COMMANDS.items() if isinstance(entry, Noun) and "list" in entry.verbs)


@pytest.mark.parametrize("noun", LISTS)
def test_every_list_can_be_printed_chosen_and_watched(noun):
    command = LazyCommands(COMMANDS)[noun].commands["list"]
    flags = {flag for param in command.params for flag in param.opts}
    assert flags >= {"-o", "--output", "--columns", "-q", "--quiet", "--watch", "--no-headers", "--limit"}


@pytest.mark.parametrize("words", [["main-menu"], ["inspect", "jobs"], ["inspect", "core"]])
def test_who_is_not_logged_in_is_told_before_a_screen_opens(core, tmp_path, words):
    core.on("GET", "/v1/auth/session", Problem(401, "the token has ended"))
    screen = Screen(core.url, tmp_path, *words)
    assert screen.end() == 4
    assert "consumer login" in screen.text
    assert "\x1b[?1049h" not in screen.text


def test_a_snapshot_has_all_pages_of_one_moment(consumer, core, capsys):
    first = {"at": moment(9), "place": "1-0", "items": [event("a", "running", 1)], "next_cursor": "a"}
    core.on("GET", "/v1/events/snapshot", first, {**first, "items": [event("b", "queued", 2)], "next_cursor": None})
    assert consumer("inspect", "jobs", "--snapshot", "--at", "-2m") == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0] == f"At {moment(9)}: 1 running, 1 queued"
    assert [line.split()[:3] for line in out.splitlines()[-2:]] == [["a", "name-a", "ann"], ["b", "name-b", "ann"]]
    asked = [request.query for request in core.asked("GET", "/v1/events/snapshot")]
    assert (asked[1]["at"], asked[1]["cursor"]) == ([moment(9)], ["a"])


def test_a_snapshot_of_core(consumer, core, capsys):
    core.on("GET", "/v1/modules", {"items": [module("harvester", pulse_age_ms=2_000)]})
    assert consumer("inspect", "core", "--snapshot") == 0
    assert capsys.readouterr().out.startswith("Harvester is the bottleneck: no pulse for 2.0 s")


def test_a_time_that_is_none_names_its_flag(consumer, capsys):
    assert consumer("inspect", "jobs", "--snapshot", "--at", "soon") == 2
    assert "--at" in capsys.readouterr().err
