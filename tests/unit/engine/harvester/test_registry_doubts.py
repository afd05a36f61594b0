"""Orders that are still on their way, and stops that come before what they stop: each case is a seed's lesson."""

import pytest

from engine.harvester.registry import Limits, Registry, live_of
from swarmsync.model.job import JobRef
from swarmsync.model.lifecycle import EndReason
from swarmsync.model.resources import Need
from swarmsync.model.worker import WorkerView
from swarmsync.protocol.messages import Offered, Pulse, PulseAnswer, Refusal, StopJob

LIMITS = Limits(suspect_ms=15_000, lost_ms=35_000, lease_ms=30_000, lease_slack_ms=5_000)
NEED = Need(1_000, 1 << 30)
A, B = JobRef(11, 1), JobRef(12, 1)


def view():
    return WorkerView(1, "w1", Need(8_000, 8 << 30))


def offered(ref, seq, grace_ms=10_000):
    return Offered(ref, 1, NEED, grace_ms, 1, seq)


def pulse(session="s", holds=()):
    return Pulse(session, 1, 0, 0, holds)


@pytest.fixture
def registry():
    made = Registry(LIMITS)
    made.joined(view(), "s", (), now_ms=0)
    return made


def silent(registry, until_ms):
    for now_ms in range(0, until_ms + 1, 1_000):
        effects = registry.tick(now_ms)
    return effects


def test_a_worker_that_lost_a_lease_must_join_anew_and_learns_what_is_void(registry):
    """An order that left late may reach it after its pulses came back: begun then, it would be a second container."""
    registry.offered(offered(A, seq=7))
    silent(registry, 36_000)
    registry.over(A.job_id, A.fence)
    answer, _ = registry.pulse("w1", pulse(), 37_000)
    assert isinstance(answer, Refusal)
    assert answer.rejoin
    void, stops, effects = registry.joined(view(), "s", (), 38_000)
    assert (void, stops, effects) == ((1, 7), [], [])
    assert registry.pulse("w1", pulse(), 39_000) == (PulseAnswer(), [])


def test_what_was_void_for_one_session_is_void_for_the_next(registry):
    """The agent died twice in short order, and what was ordered of the first is still under way to the third."""
    registry.offered(offered(A, seq=7))
    assert registry.joined(view(), "s2", (), 1_000)[0] == (1, 7)
    registry.over(A.job_id, A.fence)
    assert registry.joined(view(), "s3", (), 2_000)[0] == (1, 7)


def test_what_was_sent_for_something_that_has_ended_is_void_too(registry):
    """It ended before its order, sent again, arrived; the agent that remembered the end died meanwhile."""
    registry.offered(offered(A, seq=7))
    registry.offered(offered(A, seq=9))
    registry.over(A.job_id, A.fence)
    assert registry.joined(view(), "s2", (), 1_000)[0] == (1, 9)


def test_what_was_sent_proves_nothing_within_a_session(registry):
    registry.offered(offered(A, seq=7))
    registry.offered(offered(B, seq=9))
    registry.over(B.job_id, B.fence)
    assert registry.pulse("w1", pulse(), 1_000) == (PulseAnswer(), [])


def test_a_stop_of_what_is_never_offered_is_dropped_when_that_has_ended(registry):
    """An array's own row: its members are stopped one by one."""
    registry.stop_wanted(A.job_id, kill=False, reason=EndReason.CANCELLED_BY_USER)
    registry.stop_over(A.job_id)
    registry.offered(offered(A, seq=7))
    assert registry.live[A.job_id].stop is None


def test_a_silence_that_cost_no_lease_needs_no_new_join(registry):
    registry.offered(offered(A, seq=7, grace_ms=60_000))
    silent(registry, 40_000)
    assert isinstance(registry.pulse("w1", pulse(), 41_000)[0], PulseAnswer)


def test_a_stop_that_comes_before_its_assignment_is_kept_for_it(registry):
    """The row was stopped between the Dispatcher's commit and its word to the Harvester; the order may be lost."""
    registry.stop_wanted(A.job_id, kill=True, reason=EndReason.CANCELLED_BY_USER)
    registry.offered(offered(A, seq=7))
    registry.offered(offered(B, seq=7))
    assert registry.live[A.job_id].stop == StopJob(A, kill=True, reason=EndReason.CANCELLED_BY_USER)
    assert registry.live[B.job_id].stop is None


def test_a_kept_stop_is_for_one_assignment_only(registry):
    registry.stop_wanted(A.job_id, kill=False, reason=EndReason.CANCELLED_BY_USER)
    registry.offered(offered(A, seq=7))
    registry.over(A.job_id, A.fence)
    registry.offered(offered(JobRef(A.job_id, 2), seq=8))
    assert registry.live[A.job_id].stop is None


@pytest.mark.parametrize(
    ("state", "step", "held", "stop"),
    [
        ("starting", "offered", False, None),
        ("running", "running", True, None),
        ("stopping", "stopping", True, StopJob(A, kill=True, reason=EndReason.CANCELLED_BY_USER)),
    ],
)
def test_an_assignment_is_read_from_its_row(state, step, held, stop):
    need = {"cpus_milli": 1_000, "memory_bytes": 1 << 30, "gpus": 0, "disk_bytes": 0}
    orders = {"orders_epoch": 2, "orders_seq": 9, "grace_ms": 20_000, "worker_id": 1}
    stopped = {"stop_kill": True, "stop_reason": "CancelledByUser"}
    live = live_of(
        {"id": 11, "fence": 1, "state": state, "assignment_state": step, **need, **orders, **stopped}, LIMITS
    )
    assert (live.ref, live.worker_id, live.need, live.lease_ms, live.orders) == (A, 1, NEED, 50_000, (2, 9))
    assert (live.held, live.stop) == (held, stop)
