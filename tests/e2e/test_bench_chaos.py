"""`bench chaos`, seconds long: it breaks a real Core, a new job begins after each fault, and its judge finds no loss."""

import pytest

from bench.scenarios import chaos

pytestmark = pytest.mark.e2e


@pytest.mark.timeout(300)
def test_modules_are_killed_and_nothing_is_lost(tmp_path):
    said = []
    figures = chaos.measure(
        quick=True, say=said.append, seed=1, scenario="engine", seconds=6, ledger=tmp_path / "ledger.jsonl"
    )
    assert figures["failures"] == 0, said
    assert figures["faults"] >= 1
    assert figures["judge"]["jobs"] >= figures["faults"] + chaos.BATCH
    assert chaos.totals(tmp_path / "ledger.jsonl")["faults"] == figures["faults"]
