import importlib
import json
import pkgutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from bench import results, scenarios
from bench.bench import SCENARIOS, app, main, run_scenario
from bench.results import Result

runner = CliRunner()


def _write(path, turns, **figures):
    circumstances = {"loop_turns_per_s": turns, "processor": "x"}
    results.write([Result("rings", True, "2026-01-01T00:00:00+00:00", 1.5, {}, circumstances, figures)], path)
    return str(path)


@pytest.fixture
def two(tmp_path):
    return _write(tmp_path / "a.json", 100, rate=100), _write(tmp_path / "b.json", 100, rate=150)


def test_compare_prints_the_ratio(two):
    done = runner.invoke(app, ["compare", *two])
    assert done.exit_code == 0
    assert "rings: rate" in done.stdout
    assert "1.500" in done.stdout
    (line,) = runner.invoke(app, ["compare", *two, "--json"]).stdout.splitlines()
    assert json.loads(line) == {"figure": "rings: rate", "before": 100.0, "after": 150.0, "ratio": 1.5}


def test_compare_says_when_the_machine_itself_changed(tmp_path, two):
    done = runner.invoke(app, ["compare", two[0], _write(tmp_path / "c.json", 50, rate=100)])
    assert "0.50 times as fast" in done.output


def test_compare_refuses_what_has_nothing_in_common(tmp_path, two):
    assert runner.invoke(app, ["compare", two[0], _write(tmp_path / "c.json", 100, other=1)]).exit_code == 2
    done = runner.invoke(app, ["compare", two[0], str(tmp_path / "missing.json")])
    assert done.exit_code == 2
    assert "missing.json" in done.output


def test_every_scenario_has_a_command():
    for name in SCENARIOS:
        done = runner.invoke(app, [name, "--help"])
        assert done.exit_code == 0, name
        assert "--quick" in done.stdout


@pytest.mark.parametrize("name", [module.name for module in pkgutil.iter_modules(scenarios.__path__)])
def test_every_scenario_has_a_plot(name):
    assert callable(importlib.import_module(f"bench.scenarios.{name}").charts)


def test_schedules_are_drawn_by_how_late_they_fire():
    late = {"p50": 3.0, "p90": 4.0, "p99": 40.0, "max": 40.0}
    figures = {"unit": "ms", "idle": late, "burst_of_1000": late, "sleeping": 1, "hibernator_mb": {"before": 1.0}}
    (chart,) = importlib.import_module("bench.scenarios.schedules").charts(figures)
    assert chart.series == {
        "p50": [("idle", 3.0), ("burst of 1000", 3.0)],
        "p99": [("idle", 40.0), ("burst of 1000", 40.0)],
    }


def test_hard_chaos_has_all_kinds_and_no_scenario():
    done = runner.invoke(app, ["chaos", "--hard", "--scenario", "engine"])
    assert (done.exit_code, "--hard has faults of all kinds" in done.output) == (2, True)


def test_a_result_says_which_file_it_is_of_and_not_where_that_lies(tmp_path, monkeypatch):
    """Results are published, and a path tells of somebody's machine."""
    monkeypatch.setitem(sys.modules, "bench.scenarios.some", SimpleNamespace(measure=lambda **_settings: {}))
    run_scenario("some", quick=True, as_json=True, out=tmp_path, file=tmp_path / "log.csv.gz", seed=1)
    (result,) = results.read(tmp_path / "some.json").values()
    assert result.settings == {"file": "log.csv.gz", "seed": 1}
    published = Path(results.__file__).parent / "baselines"
    assert [path.name for path in published.glob("*.json") if '": "/' in path.read_text()] == []


@pytest.mark.parametrize("command", [["containers", "--quick"], ["logs", "--quick"]])
def test_a_scenario_with_containers_says_that_no_docker_answers(monkeypatch, capsys, tmp_path, command):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nowhere.sock")
    monkeypatch.setattr(sys, "argv", ["bench", *command])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "bench: this needs a Docker engine, and none answers: " in capsys.readouterr().err
