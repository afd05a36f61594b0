import io
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer
from fake_core import Problem

from cli.times import seconds, since_filter
from swarmsync import profiles
from swarmsync.errors import RequestError
from swarmsync.profiles import Profile


@pytest.fixture
def path(tmp_path):
    return tmp_path / "config" / "swarmsync" / "profiles.json"


def test_the_file_is_private_and_other_profiles_stay(path):
    profiles.save(Profile("far", "https://far", "t1"), path)
    profiles.save(Profile("local", "http://near", "t2"), path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text()) == {
        "current": "local",
        "profiles": {"far": {"url": "https://far", "token": "t1"}, "local": {"url": "http://near", "token": "t2"}},
    }
    assert profiles.select({}, path) == Profile("local", "http://near", "t2")
    assert profiles.select({"SWARMSYNC_PROFILE": "far"}, path) == Profile("far", "https://far", "t1")
    profiles.forget("far", path)
    assert profiles.select({"SWARMSYNC_PROFILE": "far"}, path) == Profile("far", "https://far", "")


def test_variables_go_first_and_a_token_goes_only_where_it_came_from(path):
    profiles.save(Profile("local", "http://near", "t"), path)
    assert profiles.select({"SWARMSYNC_URL": "http://near/"}, path).token == "t"
    assert profiles.select({"SWARMSYNC_URL": "http://evil"}, path) == Profile("local", "http://evil", "")
    assert profiles.select({"SWARMSYNC_URL": "http://x", "SWARMSYNC_TOKEN": "y"}, path).token == "y"


def test_the_file_is_where_the_desktops_rules_say():
    home = {"HOME": "/home/someone"}
    assert profiles.profile_path(home) == Path("/home/someone/.config/swarmsync/profiles.json")
    assert profiles.profile_path({**home, "XDG_CONFIG_HOME": "/conf"}) == Path("/conf/swarmsync/profiles.json")


def test_without_a_file_the_local_core_is_meant(path):
    assert profiles.select({}, path) == Profile("local", "http://127.0.0.1:8420", "")


@pytest.mark.parametrize(("mode", "remedy"), [(0o644, "chmod 600"), (0o640, "chmod 600"), (0o622, "log in again")])
def test_a_file_that_others_can_read_or_write_is_refused(path, mode, remedy):
    profiles.save(Profile("local", "http://near", "t"), path)
    path.chmod(mode)
    with pytest.raises(RequestError, match=remedy):
        profiles.select({}, path)
    path.chmod(0o600)
    assert profiles.select({}, path).token == "t"


@pytest.mark.parametrize("text", ["{", "[]", '{"profiles": {"local": 3}}'])
def test_a_damaged_file_says_so(path, text):
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(RequestError, match="log in again"):
        profiles.select({}, path)


def test_an_unknown_profile_says_how_to_make_it(path):
    with pytest.raises(RequestError, match="consumer login"):
        profiles.select({"SWARMSYNC_PROFILE": "none"}, path)


def test_login_whoami_logout(consumer, core, path, monkeypatch, capsys):
    monkeypatch.delenv("SWARMSYNC_TOKEN")
    monkeypatch.setattr(sys, "stdin", io.StringIO("pass word\n"))
    core.on("POST", "/v1/auth/login", {"token": "fresh", "expires_at": "2026-11-24T00:00:00Z"})
    core.on("GET", "/v1/auth/session", {"username": "ann", "role": "user"})
    core.on("DELETE", "/v1/auth/session", (204, None))
    assert consumer("login", "--username", "ann", "--password-stdin", "--url", core.url) == 0
    assert core.requests[0].body == {"username": "ann", "password": "pass word"}
    assert json.loads(path.read_text())["profiles"]["local"] == {"url": core.url, "token": "fresh"}
    assert "fresh" not in "".join(capsys.readouterr())
    assert consumer("whoami", "-o", "json") == 0
    assert core.requests[-1].headers["Authorization"] == "Bearer fresh"
    assert json.loads(capsys.readouterr().out) == {"username": "ann", "role": "user"}
    assert consumer("logout") == 0
    assert "token" not in json.loads(path.read_text())["profiles"]["local"]


def test_an_api_token_is_forgotten_here(consumer, core, path, capsys):
    profiles.save(Profile("local", core.url, "t"), path)
    core.on("DELETE", "/v1/auth/session", Problem(409, "this is the API token 'local', not a session"))
    assert consumer("logout") == 0
    assert "this machine forgets it" in capsys.readouterr().err
    assert "token" not in json.loads(path.read_text())["profiles"]["local"]


def test_a_wrong_password_is_4(consumer, core, path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("x\n"))
    core.on("POST", "/v1/auth/login", Problem(401, "wrong name or password"))
    assert consumer("login", "--username", "ann", "--password-stdin") == 4
    assert not path.exists()


def test_times():
    now = datetime(2026, 11, 23, 12, tzinfo=UTC)
    assert since_filter("2h", now) == "2026-11-23T10:00:00.000000Z"
    assert since_filter("2026-11-23T10:00:00+02:00") == "2026-11-23T08:00:00.000000Z"
    assert since_filter("2026-11-23") == "2026-11-23T00:00:00.000000Z"
    assert since_filter("") is None
    assert (seconds("1m30s", "--timeout"), seconds("", "--timeout")) == (90.0, None)
    with pytest.raises(typer.BadParameter):
        since_filter("yesterday")
