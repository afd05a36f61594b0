import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.supervision import EXIT_CONFIG, Budget, GiveUp, Start, on_exit

BUDGET = Budget(restarts_max=3, window_ms=60_000, backoff_max_ms=5_000)


def ends_at(*times_ms, exit_code=1, budget=BUDGET):
    """Return the decision after each of these ends."""
    restarts_ms, decisions = (), []
    for now_ms in times_ms:
        restarts_ms, decision = on_exit("harvester", exit_code, now_ms, restarts_ms, budget)
        decisions.append(decision)
    return decisions


@pytest.mark.parametrize("exit_code", [0, 1, 2, 4, 70, -9, -6, -11])
def test_a_child_that_ends_once_is_back_at_once(exit_code):
    assert ends_at(1_000, exit_code=exit_code) == [Start(1_000, failing=False)]


def test_wrong_settings_end_the_daemon_by_name():
    (decision,) = ends_at(1_000, exit_code=EXIT_CONFIG)
    assert decision == GiveUp("harvester cannot work with this configuration; see its log")
    assert EXIT_CONFIG == 3


def test_one_that_keeps_ending_waits_longer_each_time_and_then_as_long_as_allowed():
    decisions = ends_at(0, 1_000, 2_000, 3_000, 8_000, 13_000, budget=Budget(5, 60_000, 700))
    assert [decision.at_ms - at_ms for decision, at_ms in zip(decisions, (0, 1_000, 2_000, 3_000, 8_000), strict=False)] == [
        0, 100, 200, 400, 700,
    ]  # fmt: skip
    assert decisions[-1] == Start(13_700, failing=True)


def test_over_its_budget_it_is_failing_and_started_rarely_but_for_ever():
    decisions = ends_at(*range(0, 500_000, 5_000))
    assert not any(decision.failing for decision in decisions[:3])
    assert all(decision.failing for decision in decisions[3:])
    assert decisions[-1] == Start(495_000 + BUDGET.backoff_max_ms, failing=True)


def test_old_ends_are_forgiven():
    decisions = ends_at(0, 100, 200, 60_201)
    assert decisions[-1] == Start(60_201, failing=False)


def test_an_end_counts_for_exactly_the_window():
    assert ends_at(0, 60_000)[-1] == Start(60_000, failing=False)
    assert ends_at(1, 60_000)[-1] == Start(60_100, failing=False)


@given(st.lists(st.integers(0, 20_000), max_size=60), st.integers(1, 8))
def test_it_always_starts_again_in_bounded_time_and_remembers_little(gaps_ms, restarts_max):
    budget = Budget(restarts_max, 30_000, 5_000)
    now_ms, restarts_ms = 0, ()
    for gap_ms in gaps_ms:
        now_ms += gap_ms
        restarts_ms, decision = on_exit("x", 1, now_ms, restarts_ms, budget)
        assert 0 <= decision.at_ms - now_ms <= budget.backoff_max_ms
        assert len(restarts_ms) <= restarts_max + 1
        now_ms = decision.at_ms


def test_servers_start_before_what_the_modules_are_made_of_is_imported():
    """They need their time whatever we do; the imports take place meanwhile."""
    ask = "import sys, engine.supervisor; print(*sorted({'nats', 'redis', 'uvloop', 'engine.modules'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == []
