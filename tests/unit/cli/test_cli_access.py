"""Users, tokens, keys, sessions and the audit log on the command line."""

import base64
import io
import json
import os
import sys

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from fake_core import Problem

from cli import key_files
from swarmsync.errors import Conflict, NotFound, RequestError
from swarmsync.protocol import challenge

USER = {"id": "u1", "username": "ann", "role": "user", "disabled": False, "created_at": "2026-11-24T10:00:00.000000Z"}


@pytest.fixture
def typed(monkeypatch):
    def type_in(text):
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))

    return type_in


def test_a_user_is_made_with_a_password_from_stdin(consumer, core, typed, capsys):
    core.on("POST", "/v1/users", (201, USER))
    typed("a long password\n")
    assert consumer("user", "create", "ann", "--password-stdin", "-o", "json") == 0
    assert core.requests[-1].body == {"username": "ann", "password": "a long password", "role": "user"}
    assert json.loads(capsys.readouterr().out) == USER
    assert consumer("user", "create", "ci", "--no-password", "--role", "operator") == 0
    assert core.requests[-1].body == {"username": "ci", "password": None, "role": "operator"}


def test_a_user_is_changed_listed_logged_out_and_deleted(consumer, core, typed, capsys):
    core.on("PATCH", "/v1/users/ann", USER)
    core.on("GET", "/v1/users", {"items": [USER], "next_cursor": None})
    core.on("POST", "/v1/users/ann/logout", (204, None))
    core.on("DELETE", "/v1/users/ann", (204, None))
    assert consumer("user", "update", "ann", "--role", "admin", "--disable") == 0
    assert core.requests[-1].body == {"role": "admin", "disabled": True}
    typed("another password\n")
    assert consumer("user", "update", "ann", "--password-stdin") == 0
    assert core.requests[-1].body == {"password": "another password"}
    assert consumer("user", "list") == consumer("user", "logout", "ann") == consumer("user", "delete", "ann") == 0
    assert "ann" in capsys.readouterr().out
    for wrong in (("update", "ann"), ("update", "ann", "--disable", "--enable"), ("create", "x", "--role", "root")):
        assert consumer("user", *wrong) == 2


def test_a_token_is_printed_once_and_revoked(consumer, core, capsys):
    made = {"id": "t1", "name": "ci", "user": "ann", "scopes": ["jobs:*"], "token": "ss_t_secret"}
    core.on("POST", "/v1/tokens", (201, made))
    core.on("GET", "/v1/tokens", {"items": [made], "next_cursor": None})
    core.on("DELETE", "/v1/tokens/ci", (204, None))
    assert consumer("token", "create", "ci", "--scope", "jobs:*", "--scope", "logs:read", "--days", "7") == 0
    assert core.requests[-1].body == {"name": "ci", "scopes": ["jobs:*", "logs:read"], "days": 7, "user": ""}
    assert capsys.readouterr().out == "ss_t_secret\n"
    assert consumer("token", "list") == 0
    assert "ss_t_secret" not in capsys.readouterr().out
    assert consumer("token", "revoke", "ci") == 0
    assert consumer("token", "create", "ci", "--days", "7") == 2
    assert consumer("token", "create", "ci", "--scope", "*", "--days", "91") == 2


def test_sessions_are_listed_and_ended(consumer, core, capsys):
    core.on("GET", "/v1/auth/sessions", {"items": [{"id": "abc", "current": True, "how": "key"}], "next_cursor": None})
    core.on("DELETE", "/v1/auth/sessions/abc", (204, None))
    assert consumer("session", "list") == 0
    assert "abc" in capsys.readouterr().out
    assert consumer("session", "end", "abc") == 0


def test_a_key_is_made_private_and_never_overwritten(consumer, tmp_path, capsys):
    path = tmp_path / "key"
    assert consumer("key", "create", "--file", str(path)) == 0
    printed = capsys.readouterr().out.split()[0]
    assert path.stat().st_mode & 0o777 == 0o600
    public = key_files.load_private(path).public_key().public_bytes_raw()
    assert public == key_files.load_public(path) == key_files.load_public(tmp_path / "key.pub")
    assert base64.b64decode(printed) == public
    before = path.read_bytes()
    assert consumer("key", "create", "--file", str(path)) == 5
    assert path.read_bytes() == before


def test_a_key_is_added_listed_and_removed(consumer, core, tmp_path, typed):
    path = tmp_path / "key"
    public = key_files.create(path)
    core.on("POST", "/v1/keys", (201, {"id": "k1", "name": "laptop"}))
    core.on("GET", "/v1/keys", {"items": [{"id": "k1", "name": "laptop"}], "next_cursor": None})
    core.on("DELETE", "/v1/keys/laptop", (204, None))
    typed("my password\n")
    assert consumer("key", "add", "laptop", "--file", str(path), "--password-stdin") == 0
    sent = core.requests[-1].body
    assert sent == {
        "name": "laptop",
        "public_key": base64.b64encode(public).decode(),
        "password": "my password",
        "user": "",
    }
    assert consumer("key", "list") == consumer("key", "remove", "laptop") == 0


def test_logging_in_with_a_key_signs_for_the_address_that_is_used(consumer, core, tmp_path, monkeypatch):
    monkeypatch.delenv("SWARMSYNC_TOKEN")
    path = tmp_path / "key"
    public = key_files.create(path)
    asked = {"challenge_id": "c1", "nonce": "n1", "server_id": "s1", "expires_at": "2026-11-24T00:00:00.000000Z"}
    core.on("POST", "/v1/auth/challenge", asked)
    core.on("POST", "/v1/auth/verify", {"token": "fresh", "expires_at": "2026-11-24T00:00:00Z"})
    assert consumer("login", "--username", "ann", "--key", str(path), "--url", core.url) == 0
    first, second = core.requests
    assert first.body == {"username": "ann", "key_id": challenge.key_id(public)}
    content = challenge.message(
        server_id="s1", url=core.url, named_key=challenge.key_id(public), nonce="n1", expires_at=asked["expires_at"]
    )
    Ed25519PublicKey.from_public_bytes(public).verify(base64.b64decode(second.body["signature"]), content)
    stored = (tmp_path / "config" / "swarmsync" / "profiles.json").read_text()
    assert json.loads(stored)["profiles"]["local"]["token"] == "fresh"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o666, 0o602])
def test_a_key_that_others_can_touch_is_refused(consumer, core, tmp_path, mode, capsys):
    path = tmp_path / "key"
    key_files.create(path)
    path.chmod(mode)
    assert consumer("login", "--username", "ann", "--key", str(path)) == 2
    assert "chmod 600" in capsys.readouterr().err
    assert core.requests == []


def test_links_pipes_and_directories_are_no_keys(tmp_path):
    key_files.create(tmp_path / "key")
    (tmp_path / "link").symlink_to(tmp_path / "key")
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("link", "pipe", "."):
        with pytest.raises(RequestError):
            key_files.load_private(tmp_path / name)
    with pytest.raises(NotFound):
        key_files.load_private(tmp_path / "none")


def test_a_key_is_not_written_through_a_link(tmp_path):
    (tmp_path / "key").symlink_to(tmp_path / "victim")
    with pytest.raises(Conflict):
        key_files.create(tmp_path / "key")
    assert not (tmp_path / "victim").exists()


def test_other_kinds_of_keys_are_refused(tmp_path):
    path = tmp_path / "key"
    for content in (b"", b"-----BEGIN OPENSSH PRIVATE KEY-----\n", b"-----BEGIN PRIVATE KEY-----\nAAAA\n", b"\0" * 100):
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(RequestError):
            key_files.load_private(path)


def test_the_audit_log_is_listed_and_verified(consumer, core, capsys):
    entry = {"seq": 7, "at": "x", "user": "ann", "action": "login", "subject": "", "detail": {"how": "key"}}
    core.on("GET", "/v1/audit", {"items": [entry], "next_cursor": None})
    assert consumer("audit", "list", "--user", "ann", "--action", "login") == 0
    assert "how=key" in capsys.readouterr().out
    page = {"ok": True, "entries": 7, "seq": 7, "hash": "ab" * 32, "more": False, "wrong": ""}
    core.on("GET", "/v1/audit/verify", page)
    assert consumer("audit", "verify") == 0
    assert f"7:{'ab' * 32}" in capsys.readouterr().out


def test_verify_goes_page_by_page_and_remembers_the_head(consumer, core, capsys):
    pages = [
        {"ok": True, "entries": 5, "seq": 5, "hash": "aa" * 32, "more": True, "wrong": ""},
        {"ok": True, "entries": 3, "seq": 8, "hash": "bb" * 32, "more": False, "wrong": ""},
    ]
    core.on("GET", "/v1/audit/verify", *pages)
    assert consumer("audit", "verify", "--head", f"5:{'aa' * 32}") == 0
    assert core.requests[0].query["limit"] == ["5"]
    assert core.requests[1].query["after"] == ["5"]
    core.on("GET", "/v1/audit/verify", *pages)
    assert consumer("audit", "verify", "--head", f"5:{'cc' * 32}") == 1
    core.on("GET", "/v1/audit/verify", {**pages[0], "more": False})
    assert consumer("audit", "verify", "--head", f"9:{'cc' * 32}") == 1
    core.on("GET", "/v1/audit/verify", {**pages[0], "ok": False, "wrong": "entry 6 was changed"})
    assert consumer("audit", "verify") == 1
    assert "entry 6 was changed" in capsys.readouterr().out
    assert consumer("audit", "verify", "--head", "nonsense") == 2


def test_what_core_refuses_has_its_exit_code(consumer, core):
    core.on("DELETE", "/v1/users/ann", Problem(409, "this user has 3 jobs"))
    core.on("GET", "/v1/users/bob", Problem(404, "there is no user 'bob'"))
    assert consumer("user", "delete", "ann") == 5
    assert consumer("user", "show", "bob") == 3


def test_points_of_small_order_are_no_keys():
    assert challenge.is_weak(b"")
    assert challenge.is_weak(bytes(31))
    assert challenge.is_weak(bytes(32))
    assert challenge.is_weak(bytes(31) + b"\x80")
    assert challenge.is_weak(b"\x01" + bytes(31))
    assert not challenge.is_weak(Ed25519PrivateKey.generate().public_key().public_bytes_raw())


def test_no_two_lists_of_parts_are_signed_alike():
    one = {"server_id": "ab", "url": "http://c", "named_key": "d", "nonce": "e", "expires_at": "f"}
    assert challenge.message(**one) != challenge.message(**{**one, "server_id": "a", "named_key": "bd"})
    assert challenge.message(**one) == challenge.message(**{**one, "url": "HTTP://C:80/path"})
    for other in ("https://c", "http://c:81", "http://d"):
        assert challenge.message(**one) != challenge.message(**{**one, "url": other})
