"""The judge of `bench chaos`: each kind of loss is found, faults are the seed's alone, and slopes are true."""

import json
from itertools import islice

import pytest

from bench import faults, watch
from bench.judge import Ledger, Promise, Row, judge, marks
from bench.scenarios import chaos

PROMISES = [Promise("k1", (0, 3), ("j1", "j2"))]
GOOD = [Row("j1", "succeeded", "Completed", 0, 1, 1), Row("j2", "failed", "ExitCode", 3, 2, 1)]
BEGUN = ["j1 1", "j2 1", "j2 2"]


def test_a_good_run_has_no_failures():
    found = judge(PROMISES, GOOD, BEGUN, [])
    assert (found.failures, found.jobs, found.attempts, found.examples) == (0, 2, 3, ())


@pytest.mark.parametrize(
    ("kind", "rows", "begun", "beside"),
    [
        ("lost", GOOD[:1], BEGUN, []),
        ("unasked", [*GOOD, Row("j3", "succeeded", "Completed", 0, 1, 1)], BEGUN, []),
        ("unfinished", [GOOD[0], Row("j2", "running", "", None, 2, 0)], BEGUN, []),
        ("wrong_verdict", [GOOD[0], Row("j2", "succeeded", "Completed", 0, 2, 1)], BEGUN, []),
        ("ended_twice", [GOOD[0], Row("j2", "failed", "ExitCode", 3, 2, 2)], BEGUN, []),
        ("began_twice", GOOD, [*BEGUN, "j2 2"], []),
        ("beside", GOOD, BEGUN, ["j2 2"]),
    ],
)
def test_each_kind_of_failure_is_found(kind, rows, begun, beside):
    found = judge(PROMISES, rows, begun, beside)
    assert (getattr(found, kind), found.failures) == (1, 1)
    assert found.examples[0].startswith(kind.replace("_", " "))


def test_a_job_that_the_infrastructure_failed_too_often_was_told_so_and_is_no_loss():
    rows = [GOOD[0], Row("j2", "failed", "CrashLimit", None, 50, 1)]
    assert (judge(PROMISES, rows, BEGUN, []).failures, judge(PROMISES, rows, BEGUN, []).crash_limit) == (0, 1)


def test_the_ledger_is_on_disk_before_it_is_relied_on(tmp_path):
    ledger = Ledger(tmp_path / "ledger")
    ledger.ask("k1", (0, 3))
    assert [json.loads(line) for line in marks(tmp_path, "ledger")] == [{"ask": "k1", "codes": [0, 3]}]
    ledger.told(PROMISES[0])
    assert json.loads(marks(tmp_path, "ledger")[1]) == {"told": "k1", "ids": ["j1", "j2"]}
    ledger.close()
    assert marks(tmp_path, "absent") == []


@pytest.mark.parametrize("scenario", ["all", *faults.SCENARIOS])
def test_faults_are_the_seeds_alone(scenario):
    drawn = list(islice(faults.faults_of(7, scenario, 1.0), 300))
    assert drawn == list(islice(faults.faults_of(7, scenario, 1.0), 300))
    assert drawn != list(islice(faults.faults_of(8, scenario, 1.0), 300))
    chosen = faults.SCENARIOS.values() if scenario == "all" else [faults.SCENARIOS[scenario]]
    assert {fault.name for fault in drawn} == {name for each in chosen for name in each}


def test_in_turns_each_process_is_ended_in_one_quarter_of_the_time():
    for name in {fault.name for fault in islice(faults.faults_of(7, "all", 1.0), 300)}:
        turns = [faults.has_its_turn(name, part) for part in (0.0, 0.24, 0.26, 0.49, 0.51, 0.74, 0.76, 1.0)]
        ends = name.startswith(("kill", "wipe", "restart")) or name.removeprefix("pause ") in faults.MODULES
        assert turns.count(True) == (2 if ends else 8), name


def test_a_slope_is_that_of_all_lives_together_and_warm_up_does_not_count():
    lives = [[(float(t), 100.0 + (t if t >= 20 else -900)) for t in range(0, 60, 2)] for _ in range(3)]
    found = watch.slope(lives)
    assert found is not None
    assert found["per_hour"] == pytest.approx(3600)
    assert found["within"] == pytest.approx(0, abs=1e-3)
    assert found["lives"] == 3
    assert watch.slope([[(0.0, 1.0), (50.0, 2.0)]]) is None


def test_runs_add_up(tmp_path):
    figures = {
        "plan": {"seed": 1}, "lasted_s": 9.0, "faults": 2, "faults_by_kind": {"kill nats": 2}, "failures": 0,
        "judge": {"jobs": 50}, "invariants": {"looks": 8},
    }  # fmt: skip
    for _ in range(2):
        chaos.keep(tmp_path / "runs", figures)
    assert chaos.totals(tmp_path / "runs") == {
        "runs": 2,
        "faults": 4,
        "jobs": 100,
        "looks": 16,
        "failures": 0,
        "kill nats": 4,
    }


def test_the_plot_has_the_rate_and_the_recovery():
    figures = {
        "timeline": {"ended": [(1.0, 5.0), (2.0, 6.0)], "faults": [(1.5, "kill nats")]},
        "recovery_s": {"kill nats": {"p50": 0.4, "p99": 0.5}},
    }
    assert [chart.unit for chart in chaos.charts(figures)] == ["jobs/s", "s"]
