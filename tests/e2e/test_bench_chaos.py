"""`bench chaos`, `recovery` and `failover`, seconds long: a new job begins after each fault, and no loss is found."""

import pytest

from bench.scenarios import chaos, failover, recovery
from bench.submitter import BATCH, PROBE_S

pytestmark = pytest.mark.e2e


@pytest.mark.timeout(300)
def test_modules_are_killed_and_nothing_is_lost(tmp_path):
    said = []
    figures = chaos.measure(
        quick=True, say=said.append, seed=1, scenario="engine", seconds=6, ledger=tmp_path / "ledger.jsonl"
    )
    assert figures["failures"] == 0, said
    assert figures["faults"] >= 1
    assert figures["judge"]["jobs"] >= figures["faults"] + BATCH
    assert chaos.totals(tmp_path / "ledger.jsonl")["faults"] == figures["faults"]


@pytest.mark.timeout(300)
def test_everything_is_broken_side_by_side_and_nothing_is_lost():
    said = []
    figures = chaos.measure(quick=True, say=said.append, seed=4, seconds=10, hard=True)
    assert figures["failures"] == 0, said
    assert len(figures["faults_by_kind"]) >= 3
    assert figures["recovery_s"]["any"]["n"] >= 1
    assert len(chaos.charts(figures)) == 2


@pytest.mark.timeout(300)
def test_containers_outlive_their_agent_and_nothing_is_lost(image):
    said = []
    figures = chaos.measure(quick=True, say=said.append, seed=5, scenario="workers", seconds=6, docker=True)
    assert figures["failures"] == 0, said
    assert figures["faults_by_kind"].keys() <= {"kill worker", "pause worker"}
    assert figures["judge"]["attempts"] >= figures["judge"]["jobs"] >= figures["faults"] + BATCH


@pytest.mark.timeout(300)
def test_each_fault_is_timed_until_a_new_job_begins(tmp_path):
    said = []
    kills = ("kill scheduler", "kill worker")
    figures = recovery.measure(
        quick=True, say=said.append, seed=2, times=1, faults=kills, ledger=tmp_path / "ledger.jsonl"
    )
    assert figures["failures"] == 0, said
    assert [figures["recovery"][name]["n"] for name in kills] == [1, 1]
    assert all(0 < figures["recovery"][name]["max"] < PROBE_S for name in kills)
    assert figures["judge"]["jobs"] >= recovery.HELD + 1
    assert len(recovery.charts(figures)) == 1
    assert chaos.totals(tmp_path / "ledger.jsonl")["kill worker"] == 1


@pytest.mark.timeout(300)
def test_another_core_leads_and_starts_new_jobs(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(failover, "CORES", 2)
    figures = failover.measure(quick=True, say=said.append, seed=3, times=1, ledger=tmp_path / "ledger.jsonl")
    assert figures["failures"] == 0, said
    taken = figures["take_overs"]["kill"]
    assert 0 < taken["to_leader_s"]["max"] < taken["to_job_s"]["max"] < PROBE_S
    assert chaos.totals(tmp_path / "ledger.jsonl")["kill leader"] == 1
    assert len(failover.charts(figures)) == 1
