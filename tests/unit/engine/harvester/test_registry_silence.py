"""Silence: when a worker is suspect, lost or offline, when leases end, and pauses that are our own fault."""

import pytest

from engine.harvester.registry import OWN_PAUSE_MS, Gone, Known, Limits, Live, LivenessChanged, Registry
from swarmsync.model.job import JobRef
from swarmsync.model.lifecycle import EndReason, Liveness
from swarmsync.model.resources import Need
from swarmsync.model.worker import WorkerView
from swarmsync.protocol.messages import Offered, Pulse

LIMITS = Limits(suspect_ms=15_000, lost_ms=35_000, lease_ms=30_000, lease_slack_ms=5_000)
A, B = JobRef(11, 1), JobRef(12, 1)
S, L = Liveness.SUSPECT, Liveness.LOST


def pulse(leaving=False):
    return Pulse("s", 1, 0, 0, (), leaving)


def ticked(registry, until_ms, from_ms=0, step_ms=1_000):
    """Look once a second; return (when, effect) of everything that happened."""
    return [(now_ms, effect) for now_ms in range(from_ms, until_ms + 1, step_ms) for effect in registry.tick(now_ms)]


@pytest.fixture
def registry():
    made = Registry(LIMITS)
    made.joined(WorkerView(1, "w1", Need(8_000, 8 << 30)), "s", (), now_ms=0)
    return made


def test_a_silent_worker_is_suspect_and_then_lost_and_each_is_said_once(registry):
    assert ticked(registry, 60_000) == [(16_000, LivenessChanged(1, S)), (36_000, LivenessChanged(1, L))]


def test_every_pulse_starts_the_silence_anew(registry):
    for now_ms in range(0, 100_000, 10_000):
        registry.pulse("w1", pulse(), now_ms)
        assert ticked(registry, now_ms + 9_000, now_ms) == []


@pytest.mark.parametrize(
    ("grace_ms", "lease_ms"), [(0, 30_000), (10_000, 30_000), (10_001, 30_002), (600_000, 1_210_000)]
)
def test_a_lease_leaves_time_to_stop_twice_over(grace_ms, lease_ms):
    assert LIMITS.lease_of(grace_ms) == lease_ms


def test_an_assignment_is_gone_when_its_whole_lease_and_the_slack_are_over(registry):
    registry.offered(Offered(A, 1, Need(), 10_000, 1, 3))
    gone = [(at_ms, effect) for at_ms, effect in ticked(registry, 36_000) if isinstance(effect, Gone)]
    message = "worker w1 was silent for 36 s; the lease has ended"
    assert gone == [(36_000, Gone(A, 1, (1, 3), True, EndReason.WORKER_LOST, message))]


def test_a_longer_grace_is_a_longer_lease_even_when_the_worker_is_lost(registry):
    registry.offered(Offered(A, 1, Need(), 10_000, 1, 3))
    registry.offered(Offered(B, 1, Need(), 60_000, 1, 3))
    ends = {}
    for at_ms, effect in ticked(registry, 200_000):
        if isinstance(effect, Gone):
            ends.setdefault(effect.ref, at_ms)
    assert ends == {A: 36_000, B: 136_000}


def test_an_end_that_was_not_written_is_said_again_until_it_is(registry):
    registry.offered(Offered(A, 1, Need(), 0, 1, 3))
    assert [at_ms for at_ms, effect in ticked(registry, 38_000) if isinstance(effect, Gone)] == [36_000, 37_000, 38_000]
    registry.over(A.job_id, A.fence)
    assert ticked(registry, 60_000, from_ms=39_000) == []


def test_a_worker_that_says_goodbye_is_offline_not_lost_and_its_leases_still_count(registry):
    registry.offered(Offered(A, 1, Need(), 0, 1, 3))
    assert registry.pulse("w1", pulse(leaving=True), 0)[1] == [LivenessChanged(1, Liveness.OFFLINE)]
    effects = [effect for _, effect in ticked(registry, 36_000)]
    assert [type(effect) for effect in effects] == [Gone]


def test_an_offline_worker_that_pulses_again_is_ready(registry):
    registry.pulse("w1", pulse(leaving=True), 0)
    assert registry.pulse("w1", pulse(leaving=True), 5)[1] == []
    assert registry.pulse("w1", pulse(), 10)[1] == [LivenessChanged(1, Liveness.READY)]


def test_our_own_pause_is_not_held_against_the_workers(registry):
    ticked(registry, 10_000)
    assert registry.tick(3_600_000) == []
    registry.pulse("w1", pulse(), 3_600_500)
    assert ticked(registry, 3_610_000, from_ms=3_601_000) == []


def test_after_our_own_pause_a_dead_worker_is_noticed_after_a_short_respite(registry):
    ticked(registry, 10_000)
    registry.offered(Offered(A, 1, Need(), 0, 1, 3))
    effects = ticked(registry, 3_640_000, from_ms=3_600_000)
    when = {type(effect): at_ms for at_ms, effect in reversed(effects)}
    assert effects[0] == (3_600_000 + OWN_PAUSE_MS + 1_000, LivenessChanged(1, S))
    assert 3_600_000 < when[Gone] <= 3_600_000 + 36_000


@pytest.mark.parametrize(("late_ms", "excused"), [(OWN_PAUSE_MS, False), (OWN_PAUSE_MS + 1, True)])
def test_what_counts_as_a_pause(registry, late_ms, excused):
    registry.tick(15_000)
    assert (registry.tick(15_000 + late_ms) == []) == excused


def test_a_pause_never_makes_a_fresh_worker_older(registry):
    registry.tick(0)
    registry.pulse("w1", pulse(), 50_000)
    registry.tick(50_000)
    assert registry.workers["w1"].last_ms == 50_000


def test_a_replacement_gives_every_worker_a_whole_lease():
    registry = Registry(LIMITS)
    known = Known(WorkerView(1, "w1", Need()), "s", last_ms=1_000_000)
    registry.load([known], [Live(A, 1, Need(), 30_000, (1, 3))])
    effects = ticked(registry, 1_036_000, from_ms=1_000_000)
    assert [at_ms for at_ms, effect in effects if isinstance(effect, Gone)] == [1_036_000]


def test_a_worker_that_joins_late_starts_fresh(registry):
    ticked(registry, 100_000)
    registry.joined(WorkerView(2, "w2", Need()), "t", (), now_ms=100_000)
    assert [at_ms for at_ms, effect in ticked(registry, 120_000, 101_000) if effect.worker_id == 2] == [116_000]


def test_the_age_of_a_worker_that_was_not_heard_since_the_start_is_told_only_when_it_is_asked_for():
    registry = Registry(LIMITS)
    registry.load([Known(WorkerView(number, f"w{number}", Need()), "s", last_ms=1_000) for number in (1, 2)], [])
    registry.joined(WorkerView(2, "w2", Need()), "t", (), now_ms=3_000)
    assert registry.ages(5_000) == [(2, 2_000)]
    assert registry.ages(5_000, {1}) == [(1, 4_000)]
