"""What `bench` says of files and places that it cannot use: a line, never a traceback, and the exit code that fits."""

import gzip
import json
import sys
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from bench import bench, results
from bench.bench import app, run_scenario
from bench.results import Result
from swarmsync.errors import SwarmError

runner = CliRunner()


def write(path, *, quick=False, settings=None, **figures):
    around = {"loop_turns_per_s": 100, "processor": "x"}
    results.write([Result("rings", quick, "2026-01-01T00:00:00+00:00", 1.5, settings or {}, around, figures)], path)
    return str(path)


@pytest.fixture
def good(tmp_path):
    return write(tmp_path / "good.json", rate=100)


@pytest.fixture
def packed(tmp_path):
    path = tmp_path / "packed.gz"
    path.write_bytes(gzip.compress(b"text"))
    return str(path)


@pytest.fixture
def only(monkeypatch):
    """Make `bench all` consist of what the test gives it."""

    def having(**figures):
        monkeypatch.setattr(bench, "SCENARIOS", dict.fromkeys(figures, ""))
        for name, seen in figures.items():
            scenario = SimpleNamespace(measure=lambda seen=seen, **_settings: seen)
            monkeypatch.setitem(sys.modules, f"bench.scenarios.{name}", scenario)

    return having


def one_line(done, exit_code):
    assert (done.exit_code, done.output.count("\n")) == (exit_code, 1), done.output
    return done.stderr


def test_all_fails_if_a_scenario_counts_failures_of_its_own(only):
    only(some={"rate": 1}, chaos={"failures": 3}, other={"rate": 2})
    done = runner.invoke(app, ["all", "--json"])
    assert (done.exit_code, len(done.stdout.splitlines())) == (1, 3)
    assert "chaos: 3 failures" in done.stderr
    only(some={"rate": 1}, chaos={"failures": 0})
    assert runner.invoke(app, ["all", "--json"]).exit_code == 0


def test_all_says_what_is_not_in_it():
    done = runner.invoke(app, ["all", "--help"])
    for name in ("replay", "pack", "recovery", "failover", "soak"):
        assert name in done.stdout


def test_compare_warns_of_what_was_not_measured_alike(tmp_path):
    one = write(tmp_path / "a.json", settings={"cpus": 2.0, "gpus": None, "file": "a.csv"}, rate=1)
    other = write(tmp_path / "b.json", settings={"cpus": 4.0, "gpus": None, "file": "a.csv"}, quick=True, rate=2)
    done = runner.invoke(app, ["compare", one, other])
    assert done.exit_code == 0
    assert done.stderr == "rings: not measured alike: cpus 2.0 against 4.0, quick False against True\n"
    assert runner.invoke(app, ["compare", one, one]).stderr == ""


def test_compare_holds_no_option_against_a_result_that_is_older_than_it(tmp_path):
    one = write(tmp_path / "a.json", settings={}, rate=1)
    off = write(tmp_path / "b.json", settings={"hard": False, "ledger": "there.jsonl"}, rate=1)
    hard = write(tmp_path / "c.json", settings={"hard": True}, rate=1)
    assert runner.invoke(app, ["compare", one, off]).stderr == ""
    assert "hard None against True" in runner.invoke(app, ["compare", one, hard]).stderr


def test_two_results_of_a_scenario_in_a_file_are_refused(tmp_path, good):
    write(tmp_path / "other.json", rate=200)
    both = tmp_path / "both.jsonl"
    rows = [json.dumps(json.loads((tmp_path / name).read_text())) for name in ("good.json", "other.json")]
    both.write_text("\n".join(rows) + "\n")
    said = one_line(runner.invoke(app, ["compare", good, str(both)]), 2)
    assert "both.jsonl holds 2 different results of rings; keep one" in said
    document = tmp_path / "doc.md"
    document.write_text("<!-- bench: rings -->\n<!-- end -->\n")
    both.unlink()
    said = one_line(runner.invoke(app, ["report", str(tmp_path), str(document)]), 2)
    assert "good.json and other.json" in said


def test_what_is_no_text_is_refused_in_a_line(tmp_path, good, packed):
    assert "packed.gz" in one_line(runner.invoke(app, ["compare", good, packed]), 2)
    assert "packed.gz" in one_line(runner.invoke(app, ["report", str(tmp_path), packed]), 2)


def test_a_directory_is_no_document(tmp_path, good):
    done = runner.invoke(app, ["report", str(tmp_path), str(tmp_path)])
    assert (done.exit_code, "is a directory" in done.output) == (2, True), done.output


def test_a_result_that_makes_no_table_is_told_in_a_line(tmp_path, good):
    document = tmp_path / "doc.md"
    document.write_text("<!-- bench: rings -->\n<!-- end -->\n")
    said = one_line(runner.invoke(app, ["report", str(tmp_path), str(document)]), 2)
    assert "the result of rings, 2026-01-01T00:00:00+00:00, makes no table" in said


def test_a_document_that_cannot_have_its_plots_is_told_in_a_line(tmp_path):
    results.write(
        [Result("some", False, "2026-01-01T00:00:00+00:00", 1.5, {}, {}, {"rate": 1})], tmp_path / "some.json"
    )
    (tmp_path / "some.svg").write_text("<svg/>")
    document = tmp_path / "doc.md"
    document.write_text("<!-- bench: some -->\n<!-- end -->\n")
    (tmp_path / "doc").write_text("in the way")
    said = one_line(runner.invoke(app, ["report", str(tmp_path), str(document)]), 1)
    assert "doc.md cannot be written" in said


@pytest.mark.parametrize("command", [["cli"], ["all"], ["replay", "pyproject.toml", "--cpus", "2"]])
def test_a_place_for_results_that_cannot_be_is_found_out_before_anything_is_measured(monkeypatch, command):
    monkeypatch.setattr(bench, "run_scenario", lambda *_args, **_settings: pytest.fail("was measured"))
    done = runner.invoke(app, [*command, "--out", "/proc/x"])
    assert (done.exit_code, "Invalid value for '--out'" in done.output) == (2, True), done.output


def test_figures_that_cannot_be_kept_are_printed_all_the_same(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "bench.scenarios.some", SimpleNamespace(measure=lambda **_settings: {"rate": 7}))
    (tmp_path / "some.json").mkdir()
    with pytest.raises(SwarmError, match=r"some\.json"):
        run_scenario("some", quick=True, as_json=True, out=tmp_path)
    assert json.loads(capsys.readouterr().out)["rate"] == 7
