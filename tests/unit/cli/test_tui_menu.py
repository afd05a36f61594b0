import json
import shlex
from datetime import UTC, datetime
from itertools import product

import pytest
from fake_core import job
from tui_samples import T0, shown

from cli.commands.vocabulary import COMMANDS, Noun
from cli.tui.entry import EntryScreen
from cli.tui.forms import FORMS, FormScreen
from cli.tui.kinds import KINDS
from cli.tui.lists import JobScreen, ListScreen
from cli.tui.main_menu import ENTRIES, MainMenu
from cli.tui.screens import Answer, Ask, Failed, Leave, Open, Prompt, Quit

NOW = T0 + 100


def press(screen, *keys, now=NOW):
    wishes = []
    for key in keys:
        wishes += screen.press(key, now)
    return wishes


def kind(name: str):
    return next(kind for kind in KINDS if kind.name == name)


def listed(*items, name="jobs") -> ListScreen:
    screen = ListScreen(kind(name))
    screen.start(NOW)
    (view, *_) = screen.kind.views
    screen.take(Answer(f"{name}:{view}", {"items": list(items)}), NOW)
    return screen


JOBS = [
    job(id="01a", name="alpha", state="running", worker="w1", exit_code=None),
    job(id="01b", name="beta", state="failed", exit_code=9, reason="ExitCode"),
    job(id="01c", name="gamma", state="failed", exit_code=10),
]


# --- the menu ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", range(len(ENTRIES)))
def test_every_entry_opens_by_key_by_cursor_and_by_mouse(index):
    entry = ENTRIES[index]
    for wishes in (
        press(MainMenu(), entry.key),
        press(MainMenu(), *["down"] * index, "enter"),
        MainMenu().click(str(index), NOW),
    ):
        (wish,) = wishes
        assert isinstance(wish, Open)
        wish.screen.start(NOW)
        for columns, rows in ((40, 10), (80, 24), (200, 60)):
            shown(wish.screen, columns, rows)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_the_command_of_every_entry_exists(entry):
    _, *words = entry.command.split()
    found = COMMANDS[words[0]]
    assert not isinstance(found, Noun) or words[1] in found.verbs


def test_the_menu_shows_counts_and_the_command():
    menu = MainMenu()
    menu.start(NOW)
    menu.take(Answer("stats", {"jobs": {"running": 2, "failed": 0}, "workers": {"ready": 3}}), NOW)
    lines = shown(menu)
    assert lines[1] == "workers: ready=3; jobs: 2 running"
    assert lines[-2] == "$ consumer job list"
    press(menu, "down", "down", "up")
    assert shown(menu)[-2] == "$ consumer job create"
    menu.take(Failed("stats", "cannot reach Core", gone=True), NOW)
    assert "reconnecting" in shown(menu)[0]
    assert press(menu, "q") == [Quit()]
    assert press(menu, "esc") == [Leave()]


# --- lists ------------------------------------------------------------------------------------------------------------


def test_every_command_of_an_action_exists():
    for each in KINDS:
        for action in each.actions.values():
            _, noun, verb = action.command.split()
            assert verb in COMMANDS[noun].verbs


def test_a_list_is_filtered_as_one_types():
    screen = listed(*JOBS)
    press(screen, "/", *"BET")
    assert [item["id"] for item in screen.rows()] == ["01b"]
    assert screen.view(80, 24, NOW).cursor == (9, 22)
    press(screen, "enter")
    assert shown(screen)[-3] == "$ consumer job list | grep -i BET"
    press(screen, "/", "esc")
    assert len(screen.rows()) == 3


def test_filters_of_core_are_asked_for_once_they_are_whole():
    screen = listed(*JOBS)
    assert press(screen, "/", *"user=ann label=a=b label=c=d bet") == []
    (ask,) = press(screen, "enter")
    assert (ask.query["user"], ask.query["label"]) == ("ann", ["a=b", "c=d"])
    screen.take(Answer(ask.tag, {"items": JOBS[1:]}), NOW)
    assert [item["id"] for item in screen.rows()] == ["01b"]
    assert screen.command() == "consumer job list --user ann --label a=b --label c=d | grep -i bet"
    (again,) = screen.tick(NOW + 2)
    assert again.query == ask.query
    (all_again,) = press(screen, "/", "esc")
    assert "user" not in all_again.query


def test_times_are_sorted_by_their_length():
    ages_s = {"01a": 7_200, "01b": 300, "01c": 3 * 86_400}
    times = {name: datetime.fromtimestamp(NOW - age_s, UTC).isoformat() for name, age_s in ages_s.items()}
    screen = listed(*({**entry, "submitted_at": times[entry["id"]]} for entry in JOBS))
    column = [column.name for column in screen.shown_columns()].index("age")
    press(screen, *["o"] * (column + 1))
    assert [item["id"] for item in screen.rows()] == ["01b", "01a", "01c"]


def test_a_page_down_goes_as_far_as_the_screen_is_high():
    many = [job(id=f"01{number:03d}") for number in range(100)]
    screen = listed(*many)
    screen.view(80, 60, NOW)
    press(screen, "page down")
    place = [item["id"] for item in screen.rows()].index(screen.selected)
    assert 50 <= place <= 58


def test_every_key_is_explained_in_80_columns():
    lines = shown(listed(*JOBS))
    hints = " ".join(lines[-2:])
    assert all(word in hints for word in ("open", "release", "rerun", "back", "quit"))
    assert "…" not in hints
    assert all("…" not in line for line in lines)


def test_an_entry_is_looked_at_again():
    (wish,) = press(listed({"name": "w1", "id": "1"}, name="workers"), "enter")
    wish.screen.start(NOW)
    assert wish.screen.tick(NOW + 1) == []
    assert [ask.path for ask in wish.screen.tick(NOW + 2)] == ["/v1/workers/w1"]


def test_a_list_is_sorted_by_any_column_numbers_by_size():
    screen = listed(*JOBS)
    exit_column = [column.name for column in screen.shown_columns()].index("exit")
    press(screen, *["o"] * (exit_column + 1))
    assert [item["exit_code"] for item in screen.rows()] == [9, 10, None]
    assert "EXIT+" in shown(screen)[1]
    press(screen, "O")
    assert [item["exit_code"] for item in screen.rows()] == [None, 10, 9]


def test_other_jobs_are_asked_for_and_late_answers_are_passed_over():
    screen = listed(*JOBS)
    (ask,) = press(screen, "s")
    assert (ask.query["state"], ask.query["limit"]) == ("active", 200)
    screen.take(Answer("jobs:all", {"items": []}), NOW)
    assert len(screen.items) == 3
    screen.take(Answer("jobs:active", {"items": JOBS[:1]}), NOW)
    assert len(screen.items) == 1
    assert shown(screen)[-3] == "$ consumer job list --state active"
    (more,) = press(screen, "m")
    assert more.query["limit"] == 400


def test_actions_ask_first_where_they_cannot_be_undone():
    screen = listed(*JOBS)
    shown(screen)
    assert press(screen, "c") == []
    assert shown(screen)[-2] == "consumer job cancel 01a: are you sure?"
    assert press(screen, "n") == []
    assert press(screen, "c", "y") == [Ask("act", "/v1/jobs/01a/cancel", method="POST")]
    screen.take(Failed("act", "it has ended", gone=False), NOW)
    assert "consumer job cancel 01a: it has ended" in shown(screen)[0]
    assert shown(screen)[-3] == "$ consumer job list"
    (hold,) = press(screen, "down", "h")
    assert hold.path == "/v1/jobs/01b/hold"
    (again,) = screen.take(Answer("act", {}), NOW)
    assert again.path == "/v1/jobs"


def test_entries_open_by_enter_and_by_mouse():
    screen = listed(*JOBS)
    page = screen.view(80, 24, NOW)
    (row,) = [row for row, name in page.targets.items() if name == "01b"]
    assert "beta" in "".join(words for _, words in page.lines[row])
    assert screen.click("01b", NOW) == []
    (wish,) = screen.click("01b", NOW)
    assert isinstance(wish.screen, JobScreen)
    (wish,) = press(listed({"name": "w1", "id": "1"}, name="workers"), "enter")
    assert isinstance(wish.screen, EntryScreen)
    (ask,) = wish.screen.start(NOW)
    assert ask.path == "/v1/workers/w1"
    wish.screen.take(Answer(ask.tag, {"name": "w1", "runtime": "docker"}), NOW)
    assert shown(wish.screen)[2] == "runtime: docker"
    assert shown(wish.screen)[-2] == "$ consumer worker show w1"


def test_a_list_of_nothing_and_a_core_that_is_away():
    screen = listed()
    assert press(screen, "enter", "c", "down") == []
    assert shown(screen)[2] == "nothing to show"
    screen.take(Failed("jobs:all", "cannot reach Core", gone=True), NOW)
    assert "reconnecting" in shown(screen)[0]
    assert press(screen, "q", "esc") == [Quit(), Leave()]


def test_the_list_is_looked_at_again_every_two_seconds():
    screen = listed(*JOBS)
    assert screen.tick(NOW + 1) == []
    assert [wish.path for wish in screen.tick(NOW + 2)] == ["/v1/jobs"]


def test_a_long_list_scrolls():
    screen = listed(*(job(id=f"{n:04}") for n in range(500)))
    press(screen, *["page down"] * 5)
    lines = shown(screen)
    assert any(line.startswith("0050") for line in lines)
    press(screen, "end")
    assert any(line.startswith("0499") for line in shown(screen))


# --- forms ------------------------------------------------------------------------------------------------------------


def typed(form: str, **values) -> FormScreen:
    screen = FormScreen(FORMS[form])
    screen.start(NOW)
    for field, prompt in zip(screen.form.fields, screen.prompts, strict=True):
        name = field.label.replace(" ", "_")
        if name in values:
            prompt.value = values[name]
    return screen


def test_a_form_becomes_a_spec_and_a_command():
    values = {"image": "alpine", "command": "echo 'a b'", "cpus": "0.5", "environment": "A=1 B='x y'", "retries": "2"}
    screen = typed("job", **values, labels="team=ml", priority="80")
    assert screen.document() == {
        "image": "alpine",
        "command": "echo 'a b'",
        "resources": {"cpus": 0.5},
        "environment": {"A": "1", "B": "x y"},
        "labels": {"team": "ml"},
        "priority": 80,
        "retry": {"attempts": 3},
    }
    assert screen.command() == (
        "consumer job create --cpus 0.5 -e A=1 -e 'B=x y' --label team=ml --priority 80 --retries 2 alpine echo 'a b'"
    )


def test_the_command_of_a_form_makes_the_same_spec(consumer, core):
    screen = typed(
        "job", image="alpine", command="echo hi", cpus="2", memory="1GiB", retries="1", environment="A=1 B=2"
    )
    core.on("POST", "/v1/jobs", (201, job()))
    assert consumer(*shlex.split(screen.command())[1:]) == 0
    assert core.requests[-1].body == {**screen.document(), "command": ["echo", "hi"]}


def test_a_schedule_form():
    screen = typed("schedule", cron="H 2 * * *", time_zone="Europe/Berlin", image="alpine", cpus="2")
    assert screen.document() == {
        "cron": "H 2 * * *",
        "timezone": "Europe/Berlin",
        "job": {"image": "alpine", "resources": {"cpus": 2}},
    }
    assert screen.command() == "consumer schedule create --cron 'H 2 * * *' --tz Europe/Berlin --cpus 2 alpine"
    (ask,) = typed("schedule", cron="@daily").tick(NOW + 1)
    assert (ask.path, ask.body) == ("/v1/schedules/preview", {"cron": "@daily"})
    screen.tick(NOW + 1)
    screen.take(Answer("check.1", {"items": [{"local": "2026-11-25 02:00"}]}), NOW)
    assert "valid; next fires 2026-11-25 02:00" in shown(screen)


def test_core_checks_when_typing_pauses_and_wrong_fields_say_so():
    screen = FormScreen(FORMS["job"])
    press(screen, *"alpine", "down", "down", "down", *"lots")
    assert screen.tick(NOW + 0.1) == []
    (ask,) = screen.tick(NOW + 0.3)
    assert (ask.path, ask.body["resources"]) == ("/v1/jobs/validate", {"cpus": "lots"})
    assert screen.tick(NOW + 9) == []
    wrong = (("$.resources.cpus", "Expected `float`"), ("$.network", "is away"))
    screen.take(Failed(ask.tag, "invalid", gone=False, errors=wrong), NOW)
    lines = shown(screen)
    place = next(index for index, line in enumerate(lines) if "> cpus" in line)
    assert lines[place + 1].strip() == "Expected `float`"
    assert "is away" in lines
    press(screen, "ctrl u", "1")
    (ask,) = screen.tick(NOW + 1)
    screen.take(Failed("check.1", "an earlier answer", gone=False), NOW)
    screen.take(Answer(ask.tag, {"resources": {"cpus": 1.0, "memory": "512MiB"}}), NOW)
    assert "valid; 1 cpus, 512MiB memory" in shown(screen)
    assert screen.errors == {}


def test_a_form_is_sent_once_and_leaves():
    screen = typed("job", image="alpine")
    (ask,) = press(screen, "f2")
    assert (ask.path, ask.method, ask.once) == ("/v1/jobs", "POST", True)
    assert press(screen, "f2") == []
    screen.take(Failed("make", "invalid", gone=False, errors=(("$.image", "unknown"),)), NOW)
    assert screen.errors == {"image": "unknown"}
    assert len(press(screen, *["down"] * len(screen.prompts), "enter")) == 1
    assert screen.take(Answer("make", job()), NOW) == [Leave()]


def test_a_form_by_mouse():
    screen = typed("job", image="alpine")
    page = screen.view(80, 24, NOW)
    button = next(row for row, target in page.targets.items() if target == "make")
    assert "create" in "".join(words for _, words in page.lines[button])
    screen.click("3", NOW)
    assert screen.place == 3
    assert len(screen.click("make", NOW)) == 1


def test_a_form_is_left_without_harm():
    assert press(FormScreen(FORMS["job"]), "x", "esc") == [Leave()]


def test_the_bodies_of_forms_are_json():
    for name, cpus in product(FORMS, ["nan", "inf", "1e999", "1,5"]):
        screen = typed(name, image="a", cpus=cpus, environment="A='open", cron="x")
        json.dumps(screen.document(), allow_nan=False)


@pytest.mark.parametrize(
    ("keys", "value", "place"),
    [
        (["a", "b", "left", "x"], "axb", 2),
        (["a", "b", "home", "delete"], "b", 0),
        (["a", "b", "backspace"], "a", 1),
        (["a", "b", "left", "left", "left", "backspace"], "ab", 0),
        (["a", "b", "left", "ctrl u"], "b", 0),
        (["a", "home", "end", "b"], "ab", 2),
        (["a", "f5", "page up"], "a", 1),
    ],
)
def test_a_line_is_edited(keys, value, place):
    prompt = Prompt()
    for key in keys:
        prompt.press(key)
    assert (prompt.value, prompt.place) == (value, place)
