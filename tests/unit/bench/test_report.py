import pytest

from bench import report, results
from bench.results import BadResult, Result

AROUND = {"commit": "abc", "loop_turns_per_s": 20_000_000, "cores": 2, "processor": "x", "packages": {"uvloop": "1"}}


def _result(name, **figures):
    return Result(name, False, "2026-01-02T03:04:05+00:00", 1.0, {}, AROUND, figures)


def test_a_table_puts_numbers_right_and_words_left():
    text = report.table([["name", "rate"], ["a", "1,200"], ["long name", "5"]])
    assert text == "| name      |  rate |\n| --------- | ----: |\n| a         | 1,200 |\n| long name |     5 |\n"


def test_numbers_are_written_for_people():
    assert [report.number(value) for value in (12_345.6, 3.14159, None, "text", 0)] == [
        "12,346",
        "3.14",
        "-",
        "text",
        "0",
    ]


def test_only_marked_parts_change(tmp_path):
    document = tmp_path / "performance.md"
    document.write_text(
        "Before\n<!-- bench: cli -->\nold\n<!-- end -->\nkept <!-- bench: rings -->\nrings\n<!-- end -->\n"
    )
    found = tmp_path / "found"
    found.mkdir()
    spread = {"p50": 1.5, "p90": 2, "max": 3}
    results.write([_result("cli", commands={"help": spread})], found / "cli.json")
    (found / "cli.svg").write_text("<svg/>")
    assert report.write(found, document) == ["cli"]
    text = document.read_text()
    assert text.startswith("Before\n")
    assert "old" not in text
    assert "rings\n<!-- end -->" in text
    assert "| help | 1.5 |" in text
    assert "commit abc" in text
    assert (tmp_path / "performance" / "cli.svg").exists()
    report.write(found, document)
    assert document.read_text() == text


def test_an_empty_directory_is_refused(tmp_path):
    with pytest.raises(BadResult, match="no results"):
        report.write(tmp_path, tmp_path / "performance.md")


def test_peers_that_did_not_run_are_told_with_the_reason():
    ran = {"what": "ours", "jobs_per_s": 9_000, "alone_ms": {"p50": 5.0, "p99": 9.0}}
    text = report.section(_result("peers", systems={"SwarmSync": ran, "Ray": {"what": "r", "failed": "no room"}}))
    assert "did not run: no room" in text
    assert "9,000" in text


def test_of_tenants_the_worst_and_the_index_stand_below():
    entry = {"users": {"a": 1.0, "b": 300.0}, "worst_user_bsld": 300.0, "jain_users": 0.5, "bsld_mean": 7.0}
    text = report.section(_result("fairness", policies={"default": entry}))
    assert "| a                      |       1 |" in text
    assert "| **worst tenant**       |     300 |" in text
    assert "| **Jain's index**       |     0.5 |" in text


def test_no_picture_is_linked_that_does_not_exist(tmp_path):
    document = tmp_path / "performance.md"
    document.write_text("<!-- bench: cli -->\n<!-- end -->\n")
    found = tmp_path / "found"
    found.mkdir()
    results.write([_result("cli", commands={"help": {"p50": 1.5, "p90": 2, "max": 3}})], found / "cli.json")
    report.write(found, document)
    assert "![" not in document.read_text()
    assert not (tmp_path / "performance").exists()
    (found / "cli.svg").write_text("<svg/>")
    report.write(found, document)
    assert "![cli](performance/cli.svg)" in document.read_text()


def test_a_policy_that_placed_nothing_has_a_row_without_figures():
    assert "| easy   |             - |" in report.section(_result("replay", policies={"easy": {"placed": 0}}))
