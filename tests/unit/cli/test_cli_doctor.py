import json
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pytest
from fake_core import Problem
from tui_samples import module, worker

from cli.commands import doctor


def well(core):
    now = datetime.now(UTC).isoformat()
    core.on("GET", "/healthz", {"status": "ok"})
    core.on("GET", "/readyz", {"status": "ready", "postgresql": "ok", "redis": "ok", "nats": "ok"})
    core.on("GET", "/v1/auth/session", {"username": "ann", "role": "operator"})
    core.on("GET", "/v1/openapi.json", {"info": {"version": version("swarmsync")}})
    core.on("GET", "/v1/events/snapshot", {"at": now, "items": [], "place": "1-0", "next_cursor": None})
    core.on("GET", "/v1/durability", {"durability": "machine", "sentence": "fsync on", "remedy": "add a standby"})
    core.on("GET", "/v1/modules", {"items": [module("harvester")]})
    items = [worker("w1", runtime="docker", version="1")]
    core.on("GET", "/v1/workers", {"items": items, "next_cursor": None})


def marks(text: str) -> dict[str, str]:
    """The mark of each line by what was checked."""
    return {line[7:18].strip(): line[:7].strip() for line in text.splitlines()}


def test_everything_is_well(consumer, core, capsys):
    well(core)
    assert consumer("doctor") == 0
    names = {
        "profile",
        "disk",
        "Core",
        "PostgreSQL",
        "NATS",
        "Redis",
        "login",
        "versions",
        "clock",
        "durability",
        "engine",
        "workers",
    }
    assert marks(capsys.readouterr().out) == dict.fromkeys([*names, "Docker"], "ok")


def test_json_has_every_check(consumer, core, capsys):
    well(core)
    assert consumer("doctor", "-o", "json") == 0
    items = json.loads(capsys.readouterr().out)["items"]
    assert [item["name"] for item in items][:3] == ["profile", "disk", "Core"]
    assert all(item["fine"] and item["sentence"] for item in items)


@pytest.mark.parametrize(
    ("path", "answer", "name", "mark", "words", "code"),
    [
        ("/readyz", Problem(503, "NATS is away"), "servers", "FAILED", "NATS is away", 1),
        ("/v1/auth/session", Problem(401, "no"), "login", "FAILED", "consumer login", 1),
        ("/v1/openapi.json", {"info": {"version": "99"}}, "versions", "note", "Core is 99", 0),
        ("/v1/events/snapshot", {"at": "2020-01-01T00:00:00Z", "items": []}, "clock", "FAILED", "NTP", 1),
        ("/v1/modules", {"items": [module("logger", fill=0.9)]}, "engine", "FAILED", "Logger is the bottleneck", 1),
        ("/v1/modules", {"items": []}, "engine", "FAILED", "Nothing is known", 1),
        (
            "/v1/durability",
            {"durability": "nothing", "sentence": "fsync off", "remedy": "turn it on"},
            "durability",
            "FAILED",
            "turn it on",
            1,
        ),
        ("/v1/workers", {"items": [], "next_cursor": None}, "workers", "FAILED", "swarmsyncd worker", 1),
    ],
)
def test_each_trouble_is_named_with_what_to_do(consumer, core, capsys, path, answer, name, mark, words, code):
    well(core)
    core.on("GET", path, answer)
    assert consumer("doctor") == code
    out = capsys.readouterr().out
    assert marks(out)[name] == mark
    assert words in out


def test_who_is_no_operator_is_not_told_how_durable_jobs_are(consumer, core, capsys):
    well(core)
    core.on("GET", "/v1/durability", Problem(403, "this is for operators"))
    assert consumer("doctor") == 0
    assert "durability" not in marks(capsys.readouterr().out)


def test_a_core_that_is_away_ends_the_checks(consumer, monkeypatch, capsys):
    monkeypatch.setenv("SWARMSYNC_URL", "http://127.0.0.1:1")
    assert consumer("doctor") == 6
    out = capsys.readouterr().out
    assert (marks(out)["Core"], "swarmsyncd" in out, "PostgreSQL" in out) == ("FAILED", True, False)


def test_a_profile_that_others_can_read(tmp_path):
    path = tmp_path / "profiles.json"
    path.write_text("{}")
    path.chmod(0o644)
    assert doctor.profile_check(path, "local", "u") == (
        "profile", False, f"{path} can be read by others, and it holds a token; chmod 600 {path}",
    )  # fmt: skip
    path.chmod(0o600)
    assert doctor.profile_check(path, "local", "u").fine


def test_disk_and_core():
    assert doctor.disk_check(Path("/x"), 1 << 30) == ("disk", False, "only 1024 MiB free where /x is; make room")
    assert doctor.core_check("u", 0.7).fine is None


@pytest.mark.parametrize(
    ("workers", "found"),
    [
        ([worker("a", eligibility="cordoned", runtime="docker")], [("workers", False), ("Docker", True)]),
        ([worker("a", liveness="lost", runtime="docker")], [("workers", False), ("workers", None)]),
        ([worker("a", runtime="process")], [("workers", True), ("Docker", None)]),
        ([worker("a", runtime="docker"), worker("b", liveness="suspect", runtime="docker")], [("workers", True), ("workers", None), ("Docker", True)]),
    ],
)  # fmt: skip
def test_workers(workers, found):
    assert [(check.name, check.fine) for check in doctor.worker_checks(workers)] == found
