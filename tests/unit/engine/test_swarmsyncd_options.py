"""Options that stand before a command of `swarmsyncd` count for it, or are refused."""

import pytest
from typer.testing import CliRunner

from engine import check, data_lock, swarmsyncd
from engine.backup import taking


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("SWARMSYNC_DATA_DIR", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    return lambda *words: CliRunner().invoke(swarmsyncd.app, words)


@pytest.fixture
def checked(monkeypatch):
    """The settings that `check` would look at."""
    seen = []
    monkeypatch.setattr(check, "run_checks", lambda settings: seen.append(settings) or 0)
    return seen


@pytest.mark.parametrize(
    ("words", "place"),
    [
        (["--data-dir", "/a", "check"], "/a"),
        (["check", "--data-dir", "/b"], "/b"),
        (["--data-dir", "/a", "check", "--data-dir", "/b"], "/b"),
    ],
)
def test_a_data_directory_before_a_command_counts_and_one_after_it_wins(run, checked, words, place):
    assert run(*words).exit_code == 0
    assert [str(settings.data_path) for settings in checked] == [place]


def test_a_configuration_before_a_command_counts(run, checked, tmp_path):
    (tmp_path / "c.toml").write_text("[api]\nport = 77\n")
    assert run("--config", str(tmp_path / "c.toml"), "check").exit_code == 0
    assert checked[0].api.port == 77


def test_every_command_with_a_data_directory_is_told_of_it(run, monkeypatch, tmp_path):
    stopped, taken = [], []
    monkeypatch.setattr(data_lock, "stop_holder", lambda path: stopped.append(str(path)))
    monkeypatch.setattr(taking, "take", lambda settings, *_, **__: taken.append(str(settings.data_path)))
    assert run("--data-dir", "/a", "stop").output == "no Core runs here\n"
    run("--data-dir", "/a", "backup", str(tmp_path / "file"))
    assert (stopped, taken) == (["/a"], ["/a"])


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["--port", "1", "check"], "--port"),
        (["--no-worker", "stop"], "--worker"),
        (["--runtime", "process", "check"], "--runtime"),
        (["--config", "/c", "worker"], "--config"),
        (["--data-dir", "/a", "certs", "--out", "/nowhere"], "--data-dir"),
    ],
)
def test_what_a_command_does_not_know_is_a_usage_error(run, checked, words, option):
    ended = run(*words)
    assert ended.exit_code == 2
    assert f"{option}: swarmsyncd {words[-1] if words[-1] != '/nowhere' else 'certs'} does not take it" in ended.output
    assert checked == []
