"""A job that was opened from a list of the menu: the keys of its list, and the members of an array."""

import pytest
from fake_core import job
from tui_samples import T0, shown

from cli.tui.lists import JobScreen
from cli.tui.screens import Answer, Ask, Failed

NOW = T0 + 100


def press(screen, *keys):
    return [wish for key in keys for wish in screen.press(key, NOW)]


def opened(**fields) -> JobScreen:
    """A job's own screen, with what Core says of it."""
    screen = JobScreen("01a")
    detail, why, _ = screen.start(NOW)
    screen.take(Answer(detail.tag, job(id="01a", name="alpha", **fields)), NOW)
    screen.take(Answer(why.tag, {"state": fields.get("state", "queued"), "blockers": []}), NOW)
    return screen


@pytest.mark.parametrize(("key", "verb"), [("h", "hold"), ("u", "release"), ("r", "rerun")])
def test_an_opened_job_is_changed_from_where_it_is(key, verb):
    screen = opened(state="queued")
    assert press(screen, key) == [Ask("act", f"/v1/jobs/01a/{verb}", method="POST")]
    assert f"consumer job {verb} 01a" in shown(screen)[0]
    looks = screen.take(Answer("act", {"id": "01z"}), NOW + 1)
    assert [ask.path for ask in looks] == ["/v1/jobs/01a", "/v1/jobs/01a/why"]
    assert f"consumer job {verb} 01a: done" in shown(screen)[0]
    assert ("it made the job 01z" in shown(screen)[0]) == (verb == "rerun")


@pytest.mark.parametrize(("key", "verb"), [("c", "cancel"), ("K", "kill")])
def test_an_opened_job_is_stopped_after_a_yes(key, verb):
    screen = opened(state="running")
    assert press(screen, key) == []
    assert shown(screen)[-2] == f"consumer job {verb} 01a: are you sure?"
    assert press(screen, "n") == []
    assert press(screen, key, "y") == [Ask("act", f"/v1/jobs/01a/{verb}", method="POST")]
    assert screen.take(Failed("act", "it has ended", gone=False), NOW) == []
    assert f"consumer job {verb} 01a: it has ended" in shown(screen)[0]
    press(screen, "tab")
    assert ": it has ended" not in shown(screen)[0]


def test_an_opened_job_explains_its_keys_in_80_columns():
    hints = " ".join(shown(opened(state="queued"))[-2:])
    assert all(word in hints for word in ("logs", "cancel", "kill", "hold", "release", "rerun", "back", "quit"))
    assert "members" not in hints
    assert "…" not in hints


def test_the_members_of_an_opened_array_are_a_list_of_jobs():
    screen = opened(state="running", array={"total": 3, "by_state": {"queued": 1, "succeeded": 2}})
    assert any(line.startswith("members") and "3: 1 queued, 2 succeeded" in line for line in shown(screen))
    assert "members" in " ".join(shown(screen)[-2:])
    (wish,) = press(screen, "m")
    (ask,) = wish.screen.start(NOW)
    assert (ask.path, ask.query["array"]) == ("/v1/jobs", "01a")
    wish.screen.take(Answer(ask.tag, {"items": [job(id="01a1", name="alpha", array_index=1)]}), NOW)
    assert "Members of 01a" in shown(wish.screen)[0]
    assert "$ consumer job list --array 01a" in shown(wish.screen)
    (member,) = press(wish.screen, "enter")
    assert isinstance(member.screen, JobScreen)
    assert member.screen.start(NOW)[0].path == "/v1/jobs/01a1"
    (failed,) = press(wish.screen, "s", "s", "s", "s")[-1:]
    assert (failed.query["array"], failed.query["state"]) == ("01a", "failed")


def test_a_job_that_is_no_array_has_no_members_to_open():
    assert press(opened(state="running"), "m") == []
