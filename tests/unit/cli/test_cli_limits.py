"""The commands about queues and limits against a scripted Core."""

import json

import pytest
from fake_core import ID, Problem

QUEUE = {
    "name": "gpu", "paused": False, "max_running": 4, "max_running_per_user": None, "max_waiting": None, "max_cpus": 2.5,
    "max_memory": 8 << 30, "placement": "pack", "weight": 1, "waiting": 7, "running": 3,
    "created_at": "2026-11-23T10:00:00.000000Z", "updated_at": "2026-11-23T10:00:00.000000Z",
}  # fmt: skip
HOLDER = {
    "job": ID, "name": "nightly", "user": "ann", "queue": "default", "state": "running", "attempt": 2, "fence": 2,
    "worker": "w1", "since": "2026-11-23T10:00:00.000000Z", "age_s": 130.2, "limit": 2, "array_index": None, "cpus": 1.0,
    "memory": 64 << 20, "gpus": 0,
}  # fmt: skip
HOLDERS = {
    "kind": "key", "name": "a/b", "limit": 2, "held": 2, "waiting": 48, "items": [HOLDER], "next_cursor": None,
}  # fmt: skip


def test_create_and_update_send_what_was_given(consumer, core, capsys):
    core.on("POST", "/v1/queues", (201, QUEUE))
    core.on("PATCH", "/v1/queues/gpu", QUEUE)
    words = ["--max-running", "4", "--max-cpus", "2.5", "--max-memory", "8GiB", "--placement", "spread", "--paused"]
    assert consumer("queue", "create", "gpu", *words) == 0
    assert consumer("queue", "update", "gpu", "--max-running", "none", "--weight", "3", "-o", "json") == 0
    assert [request.body for request in core.requests] == [
        {
            "name": "gpu",
            "max_running": 4,
            "max_cpus": 2.5,
            "max_memory": "8GiB",
            "placement": "spread",
            "paused": True,
        },
        {"max_running": None, "weight": 3},
    ]
    assert capsys.readouterr().out.startswith("gpu\n{")


@pytest.mark.parametrize(
    "words",
    [
        ["queue", "update", "gpu"],
        ["queue", "update", "gpu", "--max-running", "many"],
        ["queue", "update", "gpu", "--weight", "none"],
        ["limit", "set-user", "ann"],
        ["limit", "show"],
        ["limit", "show", "k", "--kind", "nonsense"],
    ],
)
def test_wrong_words_are_2_and_ask_nobody(consumer, core, words):
    assert consumer(*words) == 2
    assert core.requests == []


def test_list_shows_counts_beside_their_limits(consumer, core, capsys):
    core.on("GET", "/v1/queues", {"items": [QUEUE], "next_cursor": None})
    assert consumer("queue", "list") == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["NAME", "PAUSED", "WAITING", "RUNNING", "PER_USER", "CPUS", "MEMORY"]
    assert row.split() == ["gpu", "no", "7", "3/4", "-", "2.5", "8GiB"]


def test_pause_resume_show_and_delete(consumer, core, capsys):
    core.on("POST", "/v1/queues/gpu/pause", (202, QUEUE | {"paused": True}))
    core.on("POST", "/v1/queues/gpu/resume", (202, QUEUE))
    core.on("GET", "/v1/queues/gpu", QUEUE)
    core.on("DELETE", "/v1/queues/gpu", (204, None))
    assert [consumer("queue", verb, "gpu") for verb in ("pause", "resume", "show", "delete")] == [0, 0, 0, 0]
    out = capsys.readouterr().out
    assert out.startswith("gpu  paused\ngpu  open\nname: gpu\n")
    core.on("DELETE", "/v1/queues/gpu", Problem(409, "the queue 'gpu' has 7 waiting and 3 running jobs"))
    assert consumer("queue", "delete", "gpu") == 5
    assert "7 waiting" in capsys.readouterr().err


def test_show_tells_holders_with_their_age(consumer, core, capsys):
    core.on("GET", "/v1/limits/holders", HOLDERS)
    assert consumer("limit", "show", "a/b") == 0
    said = capsys.readouterr()
    assert said.err == "key a/b: 2 of 2 slots held, 48 waiting\n"
    header, row = said.out.splitlines()
    assert header.split() == ["JOB", "NAME", "USER", "STATE", "FENCE", "WORKER", "AGE"]
    assert row.split() == [ID, "nightly", "ann", "running", "2", "w1", "2m"]
    assert core.requests[0].query["name"] == ["a/b"]
    for form, expected in (("json", 2), ("yaml", None), ("jsonl", None), ("name", None)):
        assert consumer("limit", "show", "a/b", "-o", form) == 0
        out = capsys.readouterr().out
        assert ID in out or form == "name"
        if expected is not None:
            assert json.loads(out)["held"] == expected
    assert consumer("limit", "show", "a/b", "-q") == 0
    assert capsys.readouterr() == (f"{ID}\n", "")


def test_limits_of_users(consumer, core, capsys):
    limits = {"user": "ann", "max_running": 20, "max_cpus": None, "running": 4}
    core.on("PATCH", "/v1/users/ann/limits", limits)
    core.on("GET", "/v1/users/ann/limits", limits)
    core.on("DELETE", "/v1/users/ann/limits", (204, None))
    core.on("GET", "/v1/limits", {"items": [{"kind": "user", "name": "ann", "limit": 20, "held": 4, "waiting": 9}]})
    assert consumer("limit", "set-user", "ann", "--max-running", "20", "--max-cpus", "none", "--max-gpus", "0") == 0
    assert core.requests[0].body == {"max_running": 20, "max_cpus": None, "max_gpus": 0}
    assert consumer("limit", "show-user", "ann") == 0
    assert "max_running: 20" in capsys.readouterr().out
    assert consumer("limit", "list", "--kind", "user", "--no-headers") == 0
    assert capsys.readouterr().out.split() == ["user", "ann", "4/20", "9"]
    assert consumer("limit", "clear-user", "ann") == 0
