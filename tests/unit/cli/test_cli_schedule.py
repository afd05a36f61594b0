"""The commands about schedules against a scripted Core."""

import io
import json
import sys
from datetime import UTC, datetime, timedelta

import pytest
from fake_core import ID, Problem, job

from cli import schedules

OTHER = "01hzy3k5m7abd"
PATH = "/v1/schedules"
FAR = "2036-11-24T01:00:00.000000Z"


def schedule(**fields):
    return {
        "id": ID,
        "name": "nightly",
        "user": "ann",
        "paused": False,
        "cron": "0 2 * * *",
        "at": None,
        "delay": None,
        "timezone": "Europe/Berlin",
        "overlap": "skip",
        "misfire": "last",
        "misfire_window": "1h",
        "jitter": None,
        "start": None,
        "end": None,
        "next_fire_at": FAR,
        "next_fire_local": "2036-11-24T02:00:00+01:00",
        "created_at": "2026-11-23T10:00:00.000000Z",
        "job": {"image": "alpine:3.20", "command": ["date"]},
        **fields,
    }


def test_create_from_flags_puts_the_job_under_job(consumer, core, capsys):
    core.on("POST", PATH, (201, schedule()))
    words = ["--cron", "H 2 * * *", "--tz", "Europe/Berlin", "--overlap", "queue", "--misfire", "all"]
    words += ["--misfire-window", "15m", "--jitter", "5m", "--name", "nightly", "--memory", "1g", "-e", "A=1"]
    assert consumer("schedule", "create", *words, "alpine:3.20", "echo", "--cron", "x") == 0
    assert capsys.readouterr().out == f"{ID}\n"
    (request,) = core.requests
    assert request.headers["Idempotency-Key"]
    assert request.body == {
        "name": "nightly",
        "cron": "H 2 * * *",
        "timezone": "Europe/Berlin",
        "overlap": "queue",
        "misfire": "all",
        "misfire_window": "15m",
        "jitter": "5m",
        "job": {
            "image": "alpine:3.20",
            "command": ["echo", "--cron", "x"],
            "name": "nightly",
            "environment": {"A": "1"},
            "resources": {"memory": "1g"},
        },
    }


@pytest.mark.parametrize(
    ("flag", "value", "field"), [("--at", "2026-11-24T02:00:00Z", "at"), ("--delay", "15m", "delay")]
)
def test_create_for_one_time(consumer, core, flag, value, field):
    core.on("POST", PATH, (201, schedule()))
    assert consumer("cron", "create", flag, value, "alpine") == 0
    assert core.requests[0].body == {field: value, "job": {"image": "alpine"}}


def test_create_from_a_file_with_flags_on_top(consumer, core, capsys, monkeypatch):
    text = b"name: n\ncron: '@daily'\njob: {image: a, labels: {x: '1'}}\n---\nname: m\nimage: b\ncron: '@hourly'\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    core.on("POST", PATH, (201, schedule()), (201, schedule(id=OTHER)))
    assert consumer("schedule", "create", "-f", "-", "--tz", "Asia/Tokyo", "-l", "y=2") == 0
    assert capsys.readouterr().out == f"{ID}\n{OTHER}\n"
    assert [request.body for request in core.requests] == [
        {
            "name": "n",
            "cron": "@daily",
            "timezone": "Asia/Tokyo",
            "job": {"image": "a", "labels": {"x": "1", "y": "2"}},
        },
        {
            "name": "m",
            "cron": "@hourly",
            "timezone": "Asia/Tokyo",
            "job": {"image": "b", "name": "m", "labels": {"y": "2"}},
        },
    ]
    keys = {request.headers["Idempotency-Key"] for request in core.requests}
    assert len(keys) == 2


@pytest.mark.parametrize("words", [[], ["-f", "x.yaml", "alpine"], ["-f", "/no/such/file"]])
def test_create_needs_one_source(consumer, core, words):
    assert consumer("schedule", "create", "--cron", "@daily", *words) == 2
    assert core.requests == []


def test_a_wrong_expression_is_2_and_names_the_field(consumer, core, capsys):
    core.on("POST", PATH, Problem(422, "no", [{"path": "$.cron", "message": "'x' is no cron expression"}]))
    assert consumer("schedule", "create", "--cron", "x", "alpine") == 2
    assert capsys.readouterr().err == "swarmsync: $.cron: 'x' is no cron expression\n"


def test_list_shows_the_next_fire_relative_and_local(consumer, core, capsys):
    soon = (datetime.now(UTC) + timedelta(hours=3, minutes=1)).isoformat()
    items = [
        schedule(next_fire_at=soon),
        schedule(id=OTHER, name="once", cron=None, at="2026-01-01T00:00:00Z", next_fire_at=None, next_fire_local=None),
        schedule(id="x", name="p", cron=None, delay="15m", paused=True, next_fire_at=None, next_fire_local=None),
    ]
    core.on("GET", PATH, {"items": items, "next_cursor": None})
    assert consumer("schedule", "list", "--no-headers", "--columns", "name,rule,state,next,local,image") == 0
    lines = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    shown = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert shown == [
        ["nightly", "0 2 * * *", "active", "in 3h", "2036-11-24T02:00:00+01:00", "alpine:3.20"],
        ["once", "at 2026-01-01T00:00:00Z", "ended", "-", "-", "alpine:3.20"],
        ["p", "after 15m", "paused", "-", "-", "alpine:3.20"],
    ]


def test_list_outputs_and_filters(consumer, core, capsys):
    page = {"items": [schedule(), schedule(id=OTHER, name="b")], "next_cursor": None}
    core.on("GET", PATH, page)

    def printed(*words):
        assert consumer("schedule", "list", *words) == 0
        return capsys.readouterr().out

    assert printed("-q") == f"{ID}\n{OTHER}\n"
    assert printed("-o", "name") == "nightly\nb\n"
    assert json.loads(printed("-o", "json")) == page
    assert [json.loads(line) for line in printed("-o", "jsonl").splitlines()] == page["items"]
    assert f"- id: {ID}" in printed("-o", "yaml")
    assert "OVERLAP" in printed("-o", "wide")
    core.requests.clear()
    printed("--paused", "--name", "n*", "-u", "bob", "--limit", "7")
    printed("--active")
    assert [request.query for request in core.requests] == [
        {"paused": ["true"], "name": ["n*"], "user": ["bob"], "limit": ["7"]},
        {"paused": ["false"], "limit": ["50"]},
    ]
    assert consumer("schedule", "list", "--active", "--paused") == 2


def test_show_describes(consumer, core, capsys):
    core.on("GET", f"{PATH}/nightly", schedule())
    assert consumer("schedule", "show", "nightly") == 0
    out = capsys.readouterr().out
    assert "2036-11-24T02:00:00+01:00" in out
    assert "Misfire:        last, within 1h\n" in out
    assert out.endswith("Job:\n  image: alpine:3.20\n  command:\n  - date\n")


def test_last_is_the_newest_of_mine_and_at_is_a_name(consumer, core):
    core.on("GET", "/v1/auth/session", {"username": "ann"})
    core.on("GET", PATH, {"items": [schedule()], "next_cursor": None})
    core.on("GET", f"{PATH}/{ID}", schedule())
    core.on("GET", f"{PATH}/last", schedule(name="last"))
    assert consumer("schedule", "show", "last") == 0
    assert core.asked("GET", PATH)[0].query == {"user": ["ann"], "limit": ["1"]}
    assert len(core.asked("GET", f"{PATH}/{ID}")) == 1
    assert consumer("schedule", "show", "@last") == 0
    core.on("GET", PATH, {"items": [], "next_cursor": None})
    assert consumer("schedule", "show", "last") == 3


def test_history_is_a_line_per_due_instant(consumer, core, capsys):
    entries = [
        {"due_at": "T3", "outcome": "late", "reason": "Misfire", "job_id": ID, "fired_at": "F", "lateness_ms": 600_500},
        {
            "due_at": "T2",
            "outcome": "skipped",
            "reason": "Overlap",
            "job_id": None,
            "fired_at": None,
            "lateness_ms": None,
        },
        {"due_at": "T1", "outcome": "fired", "reason": "", "job_id": OTHER, "fired_at": "F", "lateness_ms": 12},
    ]
    core.on("GET", f"{PATH}/nightly/history", {"items": entries, "next_cursor": None})
    assert consumer("schedule", "history", "nightly", "--no-headers") == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["T3", "late", "10m", ID, "Misfire"],
        ["T2", "skipped", "-", "-", "Overlap"],
        ["T1", "fired", "12ms", OTHER, "-"],
    ]


def test_update_sends_a_merge_patch(consumer, core, capsys):
    core.on("PATCH", f"{PATH}/nightly", schedule())
    words = ["--cron", "0 3 * * *", "--name", "n2", "--image", "b", "--memory", "1g"]
    assert consumer("schedule", "update", "nightly", *words) == 0
    assert core.requests[0].body == {
        "cron": "0 3 * * *",
        "at": None,
        "delay": None,
        "name": "n2",
        "job": {"image": "b", "resources": {"memory": "1g"}},
    }
    assert consumer("schedule", "update", "nightly", "--overlap", "allow") == 0
    assert core.requests[1].body == {"overlap": "allow"}
    assert consumer("schedule", "update", "nightly") == 2


def test_pause_resume_delete_go_on_after_a_refusal(consumer, core, capsys):
    core.on("POST", f"{PATH}/a/pause", Problem(404, "there is no schedule 'a'"))
    core.on("POST", f"{PATH}/b/pause", schedule(id=OTHER))
    assert consumer("schedule", "pause", "a", "b") == 3
    assert capsys.readouterr().out == f"{OTHER}\n"
    core.on("POST", f"{PATH}/b/resume", schedule(id=OTHER))
    assert consumer("schedule", "resume", "b") == 0
    core.on("DELETE", f"{PATH}/b", (204, None))
    assert consumer("schedule", "delete", "b") == 0
    assert capsys.readouterr().out == f"{OTHER}\nb\n"


def test_trigger_prints_the_id_of_the_job(consumer, core, capsys):
    core.on("POST", f"{PATH}/nightly/trigger", (201, job()))
    assert consumer("schedule", "trigger", "nightly") == 0
    assert capsys.readouterr().out == f"{ID}\n"


def test_preview_shows_local_time_utc_and_what_the_clock_change_does(consumer, core, capsys):
    fires = [
        {"at": "2036-03-29T01:30:00.000000Z", "local": "2036-03-29T02:30:00+01:00", "note": None},
        {"at": "2036-03-30T01:00:00.000000Z", "local": "2036-03-30T03:00:00+02:00", "note": "02:30 does not exist"},
    ]
    core.on("POST", f"{PATH}/preview", {"timezone": "Europe/Berlin", "items": fires})
    words = ["--cron", "30 2 * * *", "--tz", "Europe/Berlin", "--count", "2", "--from", "2036-03-29T00:00:00Z"]
    assert consumer("schedule", "preview", *words) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].split() == ["LOCAL", "UTC", "IN", "NOTE"]
    assert out[2].startswith("2036-03-30T03:00:00+02:00  2036-03-30T01:00:00.000000Z  in ")
    assert out[2].endswith("02:30 does not exist")
    assert core.requests[0].body == {
        "cron": "30 2 * * *",
        "timezone": "Europe/Berlin",
        "count": 2,
        "from": "2036-03-29T00:00:00Z",
    }
    assert consumer("schedule", "preview", "--cron", "@daily", "-o", "json") == 0
    assert json.loads(capsys.readouterr().out)["items"] == fires
    assert consumer("schedule", "preview") == 2


def test_completion_offers_names_and_is_silent_without_core(consumer, core):
    core.on("GET", PATH, {"items": [schedule()], "next_cursor": None})
    assert schedules.complete("ni") == [("nightly", "0 2 * * *")]
    core.close()
    assert schedules.complete("l") == [("last", "your newest schedule")]
