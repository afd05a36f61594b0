"""The management commands against a scripted Core."""

import io
import json
import sys

import pytest
from fake_core import ID, Problem, Stream, chunk, end, job

from cli.commands import job_wait
from cli.commands.vocabulary import COMMANDS, Noun

OTHER = "01hzy3k5m7abd"
PATH = f"/v1/jobs/{ID}"


def every_command():
    for name, entry in COMMANDS.items():
        yield from ([name, verb] for verb in entry.verbs) if isinstance(entry, Noun) else [[name]]


@pytest.mark.parametrize("command", list(every_command()), ids=" ".join)
def test_every_command_has_help_with_an_example(consumer, capsys, command):
    assert consumer(*command, "--help") == 0
    out = capsys.readouterr().out
    assert out.startswith(f"Usage: consumer {' '.join(command)}")
    assert "Examples:\n    consumer" in out or "Examples:\n    echo" in out


@pytest.mark.parametrize("name", ["stdin", "stdout", "stderr"])
def test_a_closed_stream_is_no_crash(consumer, core, monkeypatch, name):
    core.on("POST", "/v1/jobs", (201, job()))
    monkeypatch.setattr(sys, name, None)
    assert consumer("job", "create", "alpine") == 0
    getattr(sys, name).close()


def test_unknown_commands_get_a_suggestion(consumer, capsys):
    assert consumer("jbo") == 2
    assert "Did you mean 'job'" in capsys.readouterr().err


def test_create_from_flags_prints_the_id(consumer, core, capsys):
    core.on("POST", "/v1/jobs", (201, job()))
    assert consumer("job", "create", "--array", "0-19", "--retries", "2", "alpine", "echo", "-n") == 0
    assert capsys.readouterr().out == f"{ID}\n"
    assert core.requests[0].body == {
        "image": "alpine",
        "command": ["echo", "-n"],
        "retry": {"attempts": 3},
        "array": {"range": "0-19"},
    }


def test_create_from_stdin_with_flags_on_top(consumer, core, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"image: a\nlabels: {x: '1'}\n")))
    core.on("POST", "/v1/jobs", (201, job()))
    assert consumer("submit", "-f", "-", "--priority", "80", "-o", "json") == 0
    assert json.loads(capsys.readouterr().out) == job()
    assert core.requests[0].body == {"image": "a", "labels": {"x": "1"}, "priority": 80}


def test_create_many_is_one_batch(consumer, core, capsys, tmp_path):
    file = tmp_path / "jobs.yaml"
    file.write_text("image: a\n---\nimage: b\n")
    core.on("POST", "/v1/jobs", (201, {"ids": [ID, OTHER]}))
    assert consumer("job", "create", "-f", str(file)) == 0
    assert capsys.readouterr().out == f"{ID}\n{OTHER}\n"
    assert core.requests[0].body == {"jobs": [{"image": "a"}, {"image": "b"}]}


@pytest.mark.parametrize("arguments", [[], ["-f", "x.yaml", "alpine"], ["-f", "/no/such/file"]])
def test_create_needs_one_source(consumer, core, arguments):
    assert consumer("job", "create", *arguments) == 2
    assert core.requests == []


def test_an_invalid_spec_is_2_and_names_each_field(consumer, core, capsys):
    wrong = [{"path": "$.imge", "message": "is not known"}, {"path": "$.image", "message": "is missing"}]
    core.on("POST", "/v1/jobs/validate", Problem(422, "invalid", wrong))
    assert consumer("job", "validate", "alpine") == 2
    assert capsys.readouterr().err == "swarmsync: $.imge: is not known\nswarmsync: $.image: is missing\n"


@pytest.mark.parametrize(("status", "code"), [(404, 3), (401, 4), (403, 4), (409, 5), (503, 6), (429, 8), (400, 2)])
def test_management_exit_codes(consumer, core, capsys, status, code):
    core.on("GET", PATH, Problem(status, "said so"))
    assert consumer("job", "show", ID) == code
    assert "said so" in capsys.readouterr().err


def test_an_absent_core_is_6_with_a_remedy(consumer, core, capsys):
    core.close()
    assert consumer("ps") == 6
    out, err = capsys.readouterr()
    assert out == ""
    assert "is swarmsyncd running?" in err


def lists(core, *jobs):
    core.on("GET", "/v1/jobs", {"items": list(jobs), "next_cursor": None})


def test_the_plain_list_is_what_is_active_then_what_ended(consumer, core, capsys):
    answers = {"active": [job(id="a1", state="running")], "finished": [job(id="a2", state="failed", exit_code=3)]}
    core.on("GET", "/v1/jobs", lambda r: {"items": answers[r.query["state"][0]], "next_cursor": None})
    assert consumer("job", "list", "--no-headers", "--columns", "id,state,exit,labels.team,spec.image") == 0
    assert capsys.readouterr().out == "a2  failed   3  -  alpine:3.20\na1  running  -  -  alpine:3.20\n"


def test_list_filters_go_to_core(consumer, core):
    lists(core)
    arguments = [
        "--state",
        "failed",
        "--state",
        "expired",
        "--user",
        "ann",
        "--queue",
        "q",
        "--name",
        "n",
        "-l",
        "a=1",
        "-l",
        "b=2",
        "--worker",
        "w",
        "--limit",
        "7",
    ]
    assert consumer("ps", *arguments, "--since", "2026-11-23T10:00:00Z") == 0
    assert core.requests[0].query == {
        "state": ["failed,expired"],
        "user": ["ann"],
        "queue": ["q"],
        "name": ["n"],
        "label": ["a=1", "b=2"],
        "worker": ["w"],
        "since": ["2026-11-23T10:00:00.000000Z"],
        "limit": ["7"],
    }


def test_list_outputs(consumer, core, capsys):
    page = {"items": [job(name="bad\x1b[2J"), job(id=OTHER)], "next_cursor": None}
    core.on("GET", "/v1/jobs", page)

    def printed(*arguments):
        assert consumer("job", "list", "--all", *arguments) == 0
        return capsys.readouterr().out

    assert json.loads(printed("-o", "json")) == page
    assert [json.loads(line) for line in printed("-o", "jsonl").splitlines()] == page["items"]
    assert printed("-q") == f"{ID}\n{OTHER}\n"
    assert printed("-o", "name") == f"{ID}\n{OTHER}\n"  # a job's name need not be unique, and is written @name
    assert f"- id: {ID}" in printed("-o", "yaml")
    table = printed()
    assert table.splitlines()[0].split() == ["ID", "NAME", "IMAGE", "STATE", "REASON", "EXIT", "AGE", "TIME", "WORKER"]
    assert "\x1b" not in table
    assert "COMMAND" in printed("-o", "wide")
    assert consumer("ps", "--columns", "id,nonsense") == 2


def test_show_result_and_why(consumer, core, capsys):
    attempt = {
        "attempt": 1,
        "state": "ended",
        "outcome": "failed",
        "worker": "w1",
        "reason": "ExitCode",
        "exit_code": 3,
    }
    core.on("GET", PATH, job(state="failed", reason="ExitCode", message="exit code 3", assignments=[attempt]))
    core.on("GET", f"{PATH}/result", {"exit_code": 3, "stdout": {"bytes": 4, "sha256": "ab"}})
    blockers = [{"reason": "Resources", "message": "3 workers lack 2 cpus"}]
    why = {"state": "queued", "blockers": blockers, "position": 4, "would_start_if": ["1 cpu is free"]}
    core.on("GET", f"{PATH}/why", why)
    assert consumer("job", "show", ID) == 0
    assert "ExitCode: exit code 3" in capsys.readouterr().out
    assert consumer("job", "result", ID, "-o", "json") == 0
    assert json.loads(capsys.readouterr().out)["stdout"]["sha256"] == "ab"
    assert consumer("job", "why", ID) == 0
    assert "Resources: 3 workers lack 2 cpus" in capsys.readouterr().out


def test_selectors(consumer, core, capsys):
    core.on("GET", "/v1/auth/session", {"username": "ann"})
    core.on("GET", "/v1/jobs", lambda r: {"items": [job()] if r.query.keys() & {"user", "name"} else []})
    core.on("GET", PATH, job())
    core.on("GET", f"{PATH}%5B7%5D", job(id=OTHER, array_index=7))
    for selector, found in (("last", ID), ("@nightly", ID), (f"{ID}[7]", OTHER), ("last[7]", OTHER)):
        assert consumer("job", "show", selector, "-o", "json") == 0, selector
        assert json.loads(capsys.readouterr().out)["id"] == found
    assert consumer("job", "show", f"{ID}[99]") == 3
    assert consumer("job", "show", f"{ID}[1-2]") == 2
    assert consumer("job", "show", f"{ID}[7-3]") == 2
    assert consumer("job", "show", "Not-an-id") == 3
    assert "written @Not-an-id" in capsys.readouterr().err
    assert consumer("job", "show", "01h") == 2


def test_verbs_on_several_jobs_go_on_after_a_refusal(consumer, core, capsys):
    core.on("POST", f"{PATH}/cancel", Problem(409, "it has finished"))
    core.on("POST", f"/v1/jobs/{OTHER}/cancel", (202, job(id=OTHER)))
    assert consumer("job", "cancel", ID, OTHER, "--reason", "wrong data") == 5
    assert capsys.readouterr().out == f"{OTHER}\n"
    assert core.requests[-1].body == {"reason": "wrong data"}


@pytest.mark.parametrize("verb", ["kill", "hold", "release", "rerun"])
def test_simple_verbs(consumer, core, capsys, verb):
    core.on("POST", f"{PATH}/{verb}", (202, job(id=OTHER)))
    assert consumer("job", verb, ID) == 0
    assert capsys.readouterr().out == f"{OTHER}\n"


def test_update_and_delete(consumer, core, capsys):
    core.on("PATCH", PATH, job(priority=90))
    core.on("DELETE", PATH, (204, None))
    assert consumer("job", "update", ID, "--priority", "90", "-l", "a=b", "-l", "old-") == 0
    assert core.requests[0].body == {"priority": 90, "labels": {"a": "b", "old": None}}
    assert consumer("job", "update", ID) == 2
    assert consumer("job", "delete", ID) == 0
    assert capsys.readouterr().out == f"{ID}\n{ID}\n"


def test_wait(consumer, core, capsys):
    core.on("GET", PATH, job(), job(state="succeeded", exit_code=0))
    core.on("GET", f"/v1/jobs/{OTHER}", job(id=OTHER, state="failed", reason="ExitCode", exit_code=3))
    assert consumer("job", "wait", ID) == 0
    assert consumer("job", "wait", ID, OTHER) == 1
    assert consumer("job", "wait", ID, OTHER, "--exit-code") == 3
    assert consumer("job", "wait", "--any", ID, OTHER) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"{ID}  succeeded  0"


def test_wait_gives_up(consumer, core, capsys):
    core.on("GET", PATH, job(reason="Unsatisfiable", message="too big"))
    assert consumer("job", "wait", "--timeout", "0s", ID) == 7
    assert "still queued" in capsys.readouterr().err
    assert consumer("job", "wait", "--timeout", "soon", ID) == 2
    assert consumer("job", "wait", "--exit-code", OTHER) == 125
    assert job_wait.LOOK_S <= 60


def test_wait_on_an_array_takes_the_highest_code(consumer, core):
    core.on("GET", PATH, job(state="failed", reason="ExitCode", exit_code=1, array_size=3))
    members = [job(state="failed", reason="ExitCode", exit_code=code) for code in (1, 9, 2)]
    core.on("GET", "/v1/jobs", {"items": members, "next_cursor": None})
    assert consumer("job", "wait", "--exit-code", ID) == 9


def test_an_array_is_listed_with_its_size_that_is_no_index(consumer, core, capsys):
    members = [job(array_size=3), job(id=OTHER, array_size=3, array_index=1)]
    core.on("GET", "/v1/jobs", {"items": members, "next_cursor": None})
    assert consumer("job", "list", "--no-headers", "--all") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.startswith(f"{ID} (x3)") for line in lines] == [True, False]
    assert lines[1].startswith(f"{OTHER} ")


def test_logs(consumer, core, capfdbinary):
    lines = [chunk(b"one\ntw"), chunk(b"o\n", offset=6), chunk(b"\xff\n", stream="stderr"), chunk(b"end", offset=8)]
    core.on("GET", f"{PATH}/logs", Stream([*lines, end()]))
    assert consumer("job", "logs", ID) == 0
    assert capfdbinary.readouterr() == (b"one\ntwo\nend", b"\xff\n")
    assert consumer("job", "logs", "-f", ID, "--tail", "5", "--stderr", "--attempt", "2") == 0
    query = core.requests[-1].query
    assert {name: query[name] for name in ("stream", "tail", "attempt", "follow")} == {
        "stream": ["stderr"],
        "tail": ["5"],
        "attempt": ["2"],
        "follow": ["1"],
    }
    capfdbinary.readouterr()
    assert consumer("job", "logs", ID, "--grep", "t.o|e", "-t") == 0
    assert capfdbinary.readouterr().out == b"".join(
        b"2026-11-23T10:00:01.000000Z %s" % line for line in (b"one\n", b"two\n", b"end")
    )
    assert consumer("job", "logs", ID, "--grep", "(") == 2


def test_a_search_without_a_match_says_so(consumer, core, capfdbinary):
    core.on("GET", f"{PATH}/logs", Stream([chunk(b"one\n"), end()]))
    assert consumer("job", "logs", ID, "--grep", "three") == 0
    assert capfdbinary.readouterr() == (b"", b"swarmsync: no line matches 'three'\n")
    for words in (("--grep", "on"), ()):
        assert consumer("job", "logs", ID, *words) == 0
        assert capfdbinary.readouterr() == (b"one\n", b"")


def test_workers(consumer, core, capsys):
    worker = {"id": ID, "name": "w1", "liveness": "ready", "eligibility": "cordoned", "labels": {}, "cpus": 4}
    core.on("GET", "/v1/workers", {"items": [worker], "next_cursor": None})
    core.on("GET", "/v1/workers/w1", worker)
    assert consumer("worker", "list", "-o", "name") == 0
    assert consumer("worker", "show", "w1", "-o", "json") == 0
    for verb in ("cordon", "uncordon", "drain"):
        core.on("POST", f"/v1/workers/w1/{verb}", (202, worker))
        assert consumer("worker", verb, "w1") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "w1  cordoned"


def test_log_records(consumer, core, capsys):
    record = {"id": ID, "at": "2026-11-23T10:00:00Z", "level": "warning", "source": "Scheduler", "message": "a\nb"}
    core.on("GET", "/v1/logs", {"items": [record], "next_cursor": None})
    core.on("POST", "/v1/logs", (201, record))
    core.on("PATCH", f"/v1/logs/{ID}", record)
    core.on("DELETE", f"/v1/logs/{ID}", (204, None))
    assert consumer("log", "list", "--level", "warning", "--no-headers") == 0
    assert capsys.readouterr().out == "2026-11-23T10:00:00.000Z  warning  Scheduler  -  a\\nb\n"
    assert consumer("log", "search", "lease", "-q") == 0
    assert core.requests[-1].query["q"] == ["lease"]
    assert consumer("log", "record", "hello", "--level", "error") == 0
    assert core.requests[-1].body == {"message": "hello", "level": "error", "source": "consumer"}
    assert consumer("log", "update", ID, "--message", "x") == 0
    assert consumer("log", "delete", ID) == 0


def test_stats_queues_events_and_version(consumer, core, capsys):
    start = {"p50": 12.3, "p99": 45.6, "jobs": 7}
    core.on("GET", "/v1/stats", {"jobs": {"queued": 3, "held": 0}, "waiting": {}, "submit_to_start_ms": start})
    core.on("GET", "/v1/queues", {"items": [{"name": "default", "paused": False}]})
    core.on("GET", "/v1/events", Stream([b"id: 1", b'data: {"job":"x","state":"queued"}', b""]))
    assert consumer("stats") == 0
    shown = dict(line.split(":", 1) for line in capsys.readouterr().out.splitlines())
    assert shown["Jobs"].strip() == "3 queued"
    assert shown["Start after"].strip() == "p50 12 ms, p99 46 ms, of the last 7"
    assert "Waiting for" not in shown
    assert consumer("queue", "list", "-o", "name") == 0
    assert consumer("events", "-o", "jsonl") == 0
    assert capsys.readouterr().out == 'default\n{"job":"x","state":"queued"}\n'
    assert consumer("--version") == 0
    assert capsys.readouterr().out.startswith("consumer 0.")


def two_jobs(core):
    core.on("GET", "/v1/jobs", {"items": [job(id=OTHER), job()], "next_cursor": None})
    core.on("GET", f"{PATH}/logs", Stream([chunk(b"fine\nbad thing\n"), chunk(b"bad end", stream="stderr"), end()]))
    core.on("GET", f"/v1/jobs/{OTHER}/logs", Stream([chunk(b"also bad\n"), end()]))


def test_logs_are_searched_across_jobs(consumer, core, capsysbinary):
    two_jobs(core)
    assert consumer("job", "logs", "--grep", "bad", "--label", "team=ml", "--state", "failed", "--limit", "7") == 0
    out, err = capsysbinary.readouterr()
    assert out.decode() == f"{ID}: bad thing\n{OTHER}: also bad\n"
    assert err.decode() == f"{ID}: bad end\n"
    (asked,) = core.asked("GET", "/v1/jobs")
    assert (asked.query["label"], asked.query["state"], asked.query["limit"]) == (["team=ml"], ["failed"], ["7"])


def test_logs_of_several_jobs_name_their_job(consumer, core, capsysbinary):
    two_jobs(core)
    assert consumer("job", "logs", "--stdout", ID, OTHER) == 0
    out, _ = capsysbinary.readouterr()
    assert out.decode().splitlines()[0] == f"{ID}: fine"
    assert f"{OTHER}: also bad" in out.decode()


@pytest.mark.parametrize("words", [[], ["-f", ID, OTHER], [ID, "--label", "a=b"]])
def test_logs_need_jobs_or_a_choice_and_follow_one(consumer, core, words):
    two_jobs(core)
    assert consumer("job", "logs", *words) == 2
