"""Several specs, and streams: what is printed for programs can be read by them whole."""

import json

import pytest
import yaml
from fake_core import ID, Problem, Stream, job

from cli.commands import job_create, log_read

OTHER = "01hzy3k5m7abd"
PLAN = {"verdict": "now", "message": "it starts at once", "blockers": [], "position": None, "would_start_if": []}
WAITS = {**PLAN, "verdict": "later", "message": "it waits"}


@pytest.fixture
def two(tmp_path):
    (tmp_path / "two.yaml").write_text("image: a\nname: x\n---\nimage: b\n")
    return str(tmp_path / "two.yaml")


@pytest.fixture
def printed(consumer, capsys):
    def run(*words, code=0):
        assert consumer(*words) == code
        return capsys.readouterr().out

    return run


def validates(core):
    core.on("POST", "/v1/jobs/validate", lambda request: {**request.body, "priority": 50})


def test_several_specs_are_one_list_of_json(core, printed, two):
    validates(core)
    whole = [{"image": "a", "name": "x", "priority": 50}, {"image": "b", "priority": 50}]
    assert json.loads(printed("job", "validate", "-f", two, "-o", "json")) == whole
    assert [json.loads(line) for line in printed("job", "validate", "-f", two, "-o", "jsonl").splitlines()] == whole
    for form in ("yaml", "table"):
        assert list(yaml.safe_load_all(printed("job", "validate", "-f", two, "-o", form))) == whole
    assert json.loads(printed("job", "validate", "a", "-o", "json")) == whole[1] | {"image": "a"}
    assert not printed("job", "validate", "a").startswith("---")


def test_a_spec_that_is_refused_leaves_json_whole(core, consumer, printed, two):
    wrong = Problem(422, "invalid", [{"path": "$.image", "message": "no"}])
    core.on("POST", "/v1/jobs/validate", {"image": "a"}, wrong)
    assert json.loads(printed("job", "validate", "-f", two, "-o", "json", code=2)) == [{"image": "a"}]


def test_several_plans_are_one_list_of_json(core, printed, two):
    core.on("POST", "/v1/jobs/plan", WAITS, PLAN)
    assert json.loads(printed("job", "plan", "-f", two, "-o", "json", code=1)) == [WAITS, PLAN]
    core.on("POST", "/v1/jobs/plan", PLAN, WAITS)
    assert printed("job", "plan", "-f", two, code=1) == "It starts at once.\nIt waits.\n"


def test_several_schedules_are_one_list_of_json(core, printed, tmp_path):
    (tmp_path / "two.yaml").write_text("cron: '@daily'\njob: {image: a}\n---\ncron: '@hourly'\njob: {image: b}\n")
    core.on("POST", "/v1/schedules", (201, {"id": ID}), (201, {"id": OTHER}))
    made = printed("schedule", "create", "-f", str(tmp_path / "two.yaml"), "-o", "json")
    assert json.loads(made) == [{"id": ID}, {"id": OTHER}]
    core.on("POST", "/v1/schedules/preview", {"items": []})
    shown = printed("schedule", "preview", "-f", str(tmp_path / "two.yaml"), "-o", "yaml")
    assert list(yaml.safe_load_all(shown)) == [{"items": []}] * 2


@pytest.mark.parametrize("form", ["json", "yaml", "jsonl"])
def test_more_jobs_than_one_request_takes_are_one_document(core, printed, two, monkeypatch, form):
    monkeypatch.setattr(job_create, "BATCH_MAX", 1)
    core.on("POST", "/v1/jobs", (201, {"ids": [ID]}), (201, {"ids": [OTHER]}))
    assert yaml.safe_load(printed("job", "create", "-f", two, "-o", form)) == {"ids": [ID, OTHER]}


def test_what_was_made_before_a_refusal_is_told(core, printed, two, monkeypatch):
    monkeypatch.setattr(job_create, "BATCH_MAX", 1)
    core.on("POST", "/v1/jobs", (201, {"ids": [ID]}), Problem(422, "no", [{"path": "$.image", "message": "no"}]))
    assert json.loads(printed("job", "create", "-f", two, "-o", "json", code=2)) == {"ids": [ID]}


def test_names_for_scripts_are_what_the_next_command_takes(core, printed):
    core.on("POST", "/v1/jobs", (201, job(name="nn")))
    assert printed("job", "create", "-o", "name", "--name", "nn", "alpine") == f"{ID}\n"
    core.on("GET", "/v1/users", {"items": [{"id": OTHER, "username": "ann"}], "next_cursor": None})
    assert printed("user", "list", "-o", "name") == "ann\n"
    hook = {"id": OTHER, "url": "https://example.org", "name": "jobs of this name"}
    core.on("GET", "/v1/webhooks", {"items": [hook], "next_cursor": None})
    assert printed("webhook", "list", "-o", "name") == f"{OTHER}\n"
    core.on("GET", "/v1/workers", {"items": [{"id": OTHER, "name": "w1"}], "next_cursor": None})
    assert printed("worker", "list", "-o", "name") == "w1\n"


def test_a_stream_has_every_form(core, printed):
    events = [{"job": ID, "name": "nn", "state": "queued"}, {"job": ID, "name": "nn", "state": "running"}]
    core.on("GET", "/v1/events", Stream([b"data: " + json.dumps(event).encode() + b"\n" for event in events]))
    assert [json.loads(line) for line in printed("events", "-o", "json").splitlines()] == events
    text = printed("events", "-o", "yaml")
    assert list(yaml.safe_load_all(text)) == events
    assert text.startswith("---\n")
    assert printed("events", "-o", "name") == f"{ID}\n{ID}\n"
    assert printed("events", "-o", "wide") == printed("events")


def test_log_records_that_come_have_every_form(core, consumer, capsys, monkeypatch):
    record = {"id": OTHER, "at": "2026-11-23T10:00:00Z", "level": "info", "source": "S", "job": ID, "message": "m"}
    core.on("GET", "/v1/logs", {"items": [record], "next_cursor": None})

    def interrupt(_seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(log_read.time, "sleep", interrupt)
    shown = {}
    for form in ("json", "yaml", "name", "table"):
        consumer("log", "follow", "-o", form)
        shown[form] = capsys.readouterr().out
    assert json.loads(shown["json"]) == record
    assert shown["yaml"].startswith("---\nid:")
    assert yaml.safe_load(shown["yaml"]) == record
    assert shown["name"] == f"{OTHER}\n"
    assert shown["table"] == "2026-11-23T10:00:00Z info    S m\n"
