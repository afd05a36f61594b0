"""The lock of a data directory, and who is asked to end by what is written in it."""

import fcntl
import os
import signal
import threading

import pytest

from conf.settings import load
from engine import data_lock
from engine.check import run_checks
from swarmsync.errors import ConfigError, Conflict


@pytest.fixture
def kills(monkeypatch):
    """Keep what would have been sent; nobody gets it."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(data_lock.os, "kill", lambda *what: sent.append(what))
    return sent


def held(path, written):
    """Take the lock as another process would, with this in it."""
    file = (path / data_lock.LOCK).open("w")
    fcntl.flock(file, fcntl.LOCK_EX)
    file.write(written)
    file.flush()
    return file


def test_nobody_is_asked_where_nobody_is(tmp_path, kills):
    assert data_lock.stop_holder(tmp_path / "none") is False
    data_lock.take(tmp_path).close()
    assert data_lock.stop_holder(tmp_path) is False
    assert kills == []


def test_the_holder_is_asked_and_waited_for(tmp_path, monkeypatch):
    file, sent = held(tmp_path, "4242"), []

    def end(*what):
        sent.append(what)
        threading.Thread(target=file.close).start()

    monkeypatch.setattr(data_lock.os, "kill", end)
    assert data_lock.stop_holder(tmp_path) is True
    assert sent == [(4242, signal.SIGTERM)]


@pytest.mark.parametrize("written", ["", "0", "-1", "soon", "9" * 5000, "²"])
def test_a_lock_that_names_no_process_is_told_and_nobody_is_asked(tmp_path, kills, written):
    with held(tmp_path, written), pytest.raises(Conflict, match=r"names no process that runs .* try again"):
        data_lock.stop_holder(tmp_path)
    assert kills == []


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [(ProcessLookupError, Conflict, "4242"), (PermissionError, ConfigError, "another user's")],
)
def test_a_process_that_cannot_be_asked_is_told(tmp_path, monkeypatch, error, kind, said):
    def refuse(*_):
        raise error

    monkeypatch.setattr(data_lock.os, "kill", refuse)
    with held(tmp_path, "4242"), pytest.raises(kind, match=said):
        data_lock.stop_holder(tmp_path)


def test_who_asks_does_not_look_like_a_core_to_who_asks_too(tmp_path):
    (tmp_path / data_lock.LOCK).touch()
    with (tmp_path / data_lock.LOCK).open() as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        assert data_lock.in_use(tmp_path) is False
    with data_lock.take(tmp_path) as lock:
        assert data_lock.in_use(tmp_path) is True
        assert (tmp_path / data_lock.LOCK).read_text() == str(os.getpid())
        assert lock.name == str(tmp_path / data_lock.LOCK)


@pytest.mark.parametrize("below", ["file", "file/below"])
@pytest.mark.parametrize("ask", [data_lock.in_use, data_lock.take, data_lock.stop_holder])
def test_a_file_is_no_data_directory(tmp_path, ask, below):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="it is a file, or lies below one; choose another --data-dir"):
        ask(tmp_path / below)


def test_the_checks_go_on_where_the_data_directory_is_a_file(tmp_path, capsys):
    (tmp_path / "file").touch()
    settings = load(None, {"HOME": str(tmp_path)}, data_dir=str(tmp_path / "file"), worker__enabled=False)
    assert run_checks(settings) == 3
    lines = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert [name for mark, name in lines if mark == "FAILED"] == ["data", "PostgreSQL", "NATS", "Redis"]
    assert lines[-1] == ["note", "Docker"]
