import pytest
from tui_samples import T0, module, shown

from cli.tui.core_board import bottleneck, describe, figures
from cli.tui.core_inspect import CoreInspect
from cli.tui.screens import Answer, Failed, Leave, Quit

NOW = T0 + 100
FINE = [module("harvester"), module("scheduler"), module("dispatcher")]


@pytest.mark.parametrize(
    ("modules", "name", "sentence"),
    [
        ([], "", "Nothing is known of the engine: no figures for 10 s."),
        ([{"name": "scheduler", "state": "unknown"}], "", "Nothing is known of the engine: no figures for 10 s."),
        (FINE, "", "No bottleneck: every module keeps up; the fullest ring is to-harvester, 0 %."),
        (
            [*FINE, module("logger", fill=0.91, oldest_ms=3_100)],
            "logger",
            "Logger is the bottleneck: ring to-logger 91 % full, 3.1 s behind.",
        ),
        (
            [module("logger", fill=0.91), module("harvester", pulse_age_ms=1_840)],
            "harvester",
            "Harvester is the bottleneck: no pulse for 1.8 s, ring to-harvester 0 % full.",
        ),
        (
            [module("harvester", pulse_age_ms=9_000), module("scheduler", state="waiting")],
            "scheduler",
            "Scheduler is the bottleneck: it is waiting, ring to-scheduler 0 % full.",
        ),
        (
            [*FINE, {"name": "worker", "kind": "worker", "state": "failing"}],
            "worker",
            "The engine keeps up, but worker does not run.",
        ),
        ([module("hibernator", rings={})], "", "No bottleneck: every module keeps up; no ring is known."),
        ([module("scheduler", oldest_ms=2_000)], "scheduler", "Scheduler is the bottleneck: ring to-scheduler 0 % full, 2.0 s behind."),
    ],
)  # fmt: skip
def test_one_sentence_names_the_bottleneck(modules, name, sentence):
    assert bottleneck(modules) == (name, sentence)


def test_the_snapshot_says_what_the_screen_says():
    document = figures([*FINE, module("logger", pulse_age_ms=800)])
    assert document["bottleneck"] == "logger"
    assert document["modules"][-1]["condition"] == "late"
    assert "logger      late     0.8s   1/0/2   0%    3      0.0s    0    50MiB   3%" in describe(document)


@pytest.fixture
def screen():
    screen = CoreInspect()
    assert {wish.path for wish in screen.start(NOW)} == {"/v1/modules", "/v1/logs"}
    screen.take(Answer("modules", {"items": FINE}), NOW)
    return screen


def test_figures_and_logs_are_asked_for_at_their_pace(screen):
    assert screen.tick(NOW + 0.2) == []
    assert [wish.path for wish in screen.tick(NOW + 0.5)] == ["/v1/modules"]
    assert [wish.path for wish in screen.tick(NOW + 1)] == ["/v1/modules", "/v1/logs"]


@pytest.mark.parametrize(("columns", "rows"), [(40, 10), (80, 24), (200, 60)])
def test_it_fits_every_size(screen, columns, rows):
    assert "CoreInspect" in shown(screen, columns, rows)[0]


def test_a_late_module_is_marked(screen):
    screen.take(Answer("modules", {"items": [FINE[1], module("harvester", pulse_age_ms=900, restarts=2)]}), NOW)
    lines = shown(screen)
    assert lines[1].startswith("Harvester is the bottleneck: no pulse for 0.9 s")
    assert lines[4].split()[:3] == ["harvester", "late", "0.9s"]
    assert lines[4].split()[-3] == "2"


def test_the_log_of_the_selected_module_follows(screen):
    record = {"id": "1", "at": "2026-11-24T02:00:00.000000Z", "level": "info", "message": "worker w1 joined"}
    screen.take(Answer("logs:harvester:debug:", {"items": [{**record, "id": "2", "message": "later"}, record]}), NOW)
    screen.take(Answer("logs:harvester:debug:", {"items": [{**record, "id": "2", "message": "later"}]}), NOW)
    text = "\n".join(shown(screen))
    assert text.index("02:00:00 info    worker w1 joined") < text.index("later")
    assert text.count("later") == 1
    (ask,) = [wish for wish in screen.tick(NOW + 1) if wish.path == "/v1/logs"]
    assert ask.query["since"] == record["at"]
    (asked,) = screen.press("down", NOW + 1.1)
    assert (screen.selected, asked.query["source"], asked.query["since"]) == ("scheduler", "scheduler", None)
    assert "later" not in "\n".join(shown(screen))
    screen.take(Answer("logs:harvester:debug:", {"items": [record]}), NOW)
    assert "joined" not in "\n".join(shown(screen))


def test_the_log_is_filtered(screen):
    (ask,) = screen.press("v", NOW + 0.1)
    assert ask.query["level"] == "info"
    for key in ["/", *"lease"]:
        assert screen.press(key, NOW) == []
    assert screen.view(80, 24, NOW).cursor == (len("search: lease"), 22)
    (ask,) = screen.press("enter", NOW + 0.2)
    assert ask.query["q"] == "lease"


def test_who_may_not_read_the_log_is_told(screen):
    screen.take(Failed("logs:harvester:debug:", "only operators may", gone=False), NOW)
    assert "only operators may" in "\n".join(shown(screen))


def test_core_goes_away_and_comes_back(screen):
    screen.take(Failed("modules", "cannot reach Core", gone=True), NOW)
    assert "reconnecting: cannot reach Core" in shown(screen)[0]
    assert "harvester" in "\n".join(shown(screen))
    screen.take(Answer("modules", {"items": FINE}), NOW)
    assert "LIVE" in shown(screen)[0]


def test_a_click_selects(screen):
    page = screen.view(80, 24, NOW)
    screen.click(page.targets[4], NOW)
    assert screen.selected == "scheduler"


def test_keys_that_leave(screen):
    assert (screen.press("esc", NOW), screen.press("q", NOW)) == ([Leave()], [Quit()])
