import json

import pytest

from bench import results
from bench.results import BadResult, Difference, Result


def _result(**figures):
    return Result("rings", True, "2026-01-01T00:00:00+00:00", 1.5, {}, {"loop_turns_per_s": 10}, figures)


def test_spread_takes_shares_of_the_sorted_values():
    seen = results.spread([float(value) for value in range(1_000, 0, -1)])
    assert seen == {"p50": 500.5, "p90": 900, "p99": 990, "p99.9": 999, "min": 1, "max": 1_000, "n": 1_000}
    assert results.spread([3.14159], 1) == {
        "p50": 3.1,
        "p90": 3.1,
        "p99": 3.1,
        "p99.9": 3.1,
        "min": 3.1,
        "max": 3.1,
        "n": 1,
    }
    assert results.spread([]) == {"n": 0}


@pytest.mark.parametrize(("share", "value"), [(0.0, 10), (0.25, 10), (0.26, 20), (0.5, 20), (0.51, 30), (1.0, 40)])
def test_a_share_is_the_smallest_value_that_so_many_do_not_exceed(share, value):
    assert results.at_share([10, 20, 30, 40], share) == value


def test_numbers_are_named_by_their_path():
    figures = {"unit": "jobs", "rate": 5, "fast": True, "by": {"p50": 1.5, "spread": [1, 2]}}
    assert list(results.numbers(figures)) == [("rate", 5.0), ("by / p50", 1.5)]


def test_results_survive_a_file_whole_or_a_line_each(tmp_path):
    one, path = _result(rate=5), tmp_path / "one.json"
    results.write([one], path)
    assert results.read(path) == {"rings": one}
    path.write_text("\n".join(json.dumps(json.loads(path.read_text())) for _ in range(2)))
    assert results.read(path) == {"rings": one}


@pytest.mark.parametrize(
    ("text", "why"), [("nonsense", "no results"), ('{"scenario": 1}', "no results"), (None, "read")]
)
def test_what_is_no_result_is_refused_with_its_name(tmp_path, text, why):
    path = tmp_path / "bad.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BadResult, match=rf"bad\.json.*{why}"):
        results.read(path)


def test_comparing_takes_what_both_have():
    before = {"rings": _result(rate=100, only=1, deep={"p50": 0.0}), "other": _result(rate=1)}
    after = {"rings": _result(rate=150, deep={"p50": 2.0})}
    differences = results.compare(before, after)
    assert differences == [Difference("rings: rate", 100, 150), Difference("rings: deep / p50", 0, 2)]
    assert [entry.ratio for entry in differences] == [1.5, None]


def test_circumstances_name_machine_versions_and_commit():
    seen = results.circumstances()
    assert seen["cores"] >= 1
    assert seen["loop_turns_per_s"] > 10_000
    assert {"commit", "python", "processor", "packages", "version"} <= seen.keys()
