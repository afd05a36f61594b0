"""`consumer secret`: values come from a file or stdin, and never from the command line."""

import base64
import io
import sys

import pytest
from fake_core import Problem

PATH = "/v1/secrets/db-password"


def sent(core):
    return base64.b64decode(core.requests[-1].body["value_b64"])


def test_set_reads_stdin_without_its_last_newline(consumer, core, capsys, monkeypatch):
    core.on("PUT", PATH, {"name": "db-password"})
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"hush\n\n")))
    assert consumer("secret", "set", "db-password") == 0
    assert sent(core) == b"hush\n"
    assert capsys.readouterr().out == "db-password\n"


@pytest.mark.parametrize("content", [b"hush\n", bytes(range(256))])
def test_set_takes_a_file_as_it_is(consumer, core, tmp_path, content):
    core.on("PUT", PATH, {"name": "db-password"})
    file = tmp_path / "value"
    file.write_bytes(content)
    assert consumer("secret", "set", "db-password", "--from-file", str(file)) == 0
    assert sent(core) == content


def test_set_takes_no_value_as_an_argument(consumer, core, capsys):
    assert consumer("secret", "set", "db-password", "hush") == 2
    assert core.requests == []
    assert "hush" in capsys.readouterr().err


def test_a_file_that_is_not_there_is_named(consumer, core, tmp_path, capsys):
    assert consumer("secret", "set", "db-password", "--from-file", str(tmp_path / "no")) != 0
    assert str(tmp_path / "no") in capsys.readouterr().err
    assert core.requests == []


def test_list_shows_names_and_ages(consumer, core, capsys):
    item = {"name": "a", "created_at": "2026-11-23T10:00:00.000000Z", "updated_at": "2026-11-23T10:00:00.000000Z"}
    core.on("GET", "/v1/secrets", {"items": [item], "next_cursor": None})
    assert consumer("secret", "list") == 0
    assert capsys.readouterr().out.splitlines()[0].split() == ["NAME", "CREATED", "UPDATED"]


def test_delete_names_each_and_ends_at_what_is_not_there(consumer, core, capsys):
    core.on("DELETE", PATH, (204, None))
    core.on("DELETE", "/v1/secrets/b", Problem(404, "there is no secret 'b'"))
    assert consumer("secret", "delete", "db-password", "b") == 3
    assert capsys.readouterr().out == "db-password\n"
