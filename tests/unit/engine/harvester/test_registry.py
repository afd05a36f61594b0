"""What the Harvester believes of workers: which news lets an assignment go back to the queue, and which never does."""

import pytest

from engine.harvester.registry import Gone, Known, Limits, Live, LivenessChanged, Registry
from swarmsync.model.job import JobRef
from swarmsync.model.lifecycle import AssignmentState, Eligibility, EndReason, Liveness
from swarmsync.model.resources import Need
from swarmsync.model.worker import WorkerOffer, WorkerView
from swarmsync.protocol.messages import Holding, Offered, Pulse, PulseAnswer, Refusal, Refused, StopJob

LIMITS = Limits(suspect_ms=15_000, lost_ms=35_000, lease_ms=30_000, lease_slack_ms=5_000)
NEED = Need(1_000, 1 << 30)
A, B = JobRef(11, 1), JobRef(12, 4)


def view(worker_id=1, name="w1"):
    return WorkerView(worker_id, name, Need(8_000, 8 << 30))


def holding(*refs):
    return tuple(Holding(ref, AssignmentState.RUNNING, NEED) for ref in refs)


def offered(ref, seq, worker_id=1, epoch=1, grace_ms=10_000):
    return Offered(ref, worker_id, NEED, grace_ms, epoch, seq)


def pulse(session="s", orders=(0, 0), holds=None, leaving=False):
    return Pulse(session, 1, *orders, holds, leaving)


def gone_in(effects):
    return [effect.ref for effect in effects if isinstance(effect, Gone)]


@pytest.fixture
def registry():
    made = Registry(LIMITS)
    made.joined(view(), "s", (), now_ms=0)
    made.pulse("w1", pulse(holds=()), 0)
    return made


# ------------------------------------------------ the three proofs


def test_an_order_the_worker_has_not_seen_yet_is_not_gone(registry):
    registry.offered(offered(A, seq=3))
    assert registry.pulse("w1", pulse(orders=(1, 2), holds=()), 10) == (PulseAnswer(), [])


@pytest.mark.parametrize("seen", [(1, 3), (1, 4), (2, 1)])
def test_an_order_the_worker_has_seen_and_does_not_hold_is_gone(registry, seen):
    registry.offered(offered(A, seq=3))
    _, (gone,) = registry.pulse("w1", pulse(orders=seen, holds=()), 10)
    assert gone == Gone(A, 1, (1, 3), False, EndReason.WORKER_LOST, "worker w1 does not have it (any more)")


def test_what_is_held_is_not_gone(registry):
    registry.offered(offered(A, seq=3))
    assert registry.pulse("w1", pulse(orders=(1, 3), holds=holding(A)), 10) == (PulseAnswer(), [])


def test_what_was_held_and_is_no_more_has_begun_and_costs_crash_budget(registry):
    registry.offered(offered(A, seq=3))
    registry.pulse("w1", pulse(orders=(1, 3), holds=holding(A)), 10)
    _, (gone,) = registry.pulse("w1", pulse(orders=(1, 3), holds=()), 20)
    assert (gone.ref, gone.began) == (A, True)


def test_an_order_sent_again_rests_on_its_newer_message(registry):
    registry.offered(offered(A, seq=3))
    registry.offered(offered(A, seq=5))
    registry.offered(offered(A, seq=4))  # late news of an older message
    assert registry.pulse("w1", pulse(orders=(1, 4), holds=()), 10)[1] == []
    _, (gone,) = registry.pulse("w1", pulse(orders=(1, 5), holds=()), 20)
    assert gone.orders == (1, 5)


def test_the_highest_message_ever_seen_counts_whatever_a_later_pulse_says(registry):
    registry.pulse("w1", pulse(orders=(1, 9), holds=()), 10)
    registry.offered(offered(A, seq=3))
    assert gone_in(registry.pulse("w1", pulse(orders=(1, 2), holds=()), 20)[1]) == [A]


def test_a_refusal_is_the_end_of_an_order_that_never_began(registry):
    registry.offered(offered(A, seq=3))
    (gone,) = registry.refused(Refused(A, 1, 1, 3, "it has no room: cpus"))
    assert gone == Gone(A, 1, (1, 3), False, EndReason.WORKER_DRAINED, "the worker refused it: it has no room: cpus")


def test_a_refusal_of_an_older_message_rests_on_that_message(registry):
    """The order went out again since: PostgreSQL must not let this pass."""
    registry.offered(offered(A, seq=3))
    registry.offered(offered(A, seq=5))
    (gone,) = registry.refused(Refused(A, 1, 1, 3, "it is stopping"))
    assert gone.orders == (1, 3)


@pytest.mark.parametrize("ref", [JobRef(A.job_id, A.fence - 1), JobRef(A.job_id, A.fence + 1), B])
def test_a_refusal_of_another_attempt_changes_nothing(registry, ref):
    registry.offered(offered(A, seq=3))
    assert registry.refused(Refused(ref, 1, 1, 3, "no")) == []


# ------------------------------------------------ stops, and what should not be there


def test_a_held_assignment_that_is_unknown_here_is_to_be_killed(registry):
    answer, effects = registry.pulse("w1", pulse(holds=holding(A)), 10)
    assert answer.stop == (StopJob(A, kill=True, reason=EndReason.WORKER_LOST),)
    assert effects == []


def test_an_attempt_that_was_retired_is_to_be_killed_and_the_new_one_stays(registry):
    newer = JobRef(A.job_id, A.fence + 1)
    registry.offered(offered(newer, seq=7))
    answer, effects = registry.pulse("w1", pulse(orders=(1, 3), holds=holding(A)), 10)
    assert [stop.ref for stop in answer.stop] == [A]
    assert effects == []


def test_an_assignment_of_another_worker_is_to_be_killed_here(registry):
    registry.joined(view(2, "w2"), "t", (), 0)
    registry.offered(offered(A, seq=3, worker_id=2))
    answer, _ = registry.pulse("w1", pulse(holds=holding(A)), 10)
    assert [stop.ref for stop in answer.stop] == [A]


def test_a_wanted_stop_is_repeated_in_every_answer_until_it_is_over(registry):
    registry.offered(offered(A, seq=1))
    registry.stop_wanted(A.job_id, kill=False, reason=EndReason.CANCELLED_BY_USER)
    wanted = StopJob(A, kill=False, reason=EndReason.CANCELLED_BY_USER)
    for now_ms, holds in ((10, holding(A)), (20, None), (30, None)):
        assert registry.pulse("w1", pulse(orders=(1, 1), holds=holds), now_ms)[0].stop == (wanted,)
    registry.stop_wanted(A.job_id, kill=True, reason=EndReason.CANCELLED_BY_USER)
    assert registry.pulse("w1", pulse(orders=(1, 1)), 40)[0].stop == (StopJob(A, kill=True),)
    registry.over(A.job_id, A.fence)
    assert registry.pulse("w1", pulse(orders=(1, 1), holds=()), 50)[0].stop == ()


def test_a_stop_of_an_unknown_job_is_harmless(registry):
    registry.stop_wanted(99, kill=True, reason=EndReason.CANCELLED_BY_USER)


def test_an_end_is_taken_once_and_only_for_its_own_attempt(registry):
    registry.offered(offered(A, seq=1))
    assert registry.over(A.job_id, A.fence + 1) is None
    assert registry.over(A.job_id, A.fence).ref == A
    assert registry.over(A.job_id, A.fence) is None
    assert registry.taken(1) == ()


def test_a_newer_attempt_replaces_the_old_one_and_never_the_other_way_round(registry):
    registry.joined(view(2, "w2"), "t", (), 0)
    newer = JobRef(A.job_id, A.fence + 1)
    registry.offered(offered(A, seq=1))
    registry.offered(offered(newer, seq=1, worker_id=2))
    registry.offered(offered(A, seq=9))
    assert registry.live[A.job_id].ref == newer
    assert (registry.taken(1), registry.taken(2)) == ((), ((A.job_id, NEED),))


# ------------------------------------------------ joining


def test_who_joins_learns_which_order_messages_are_void(registry):
    registry.offered(offered(A, seq=7))
    registry.offered(offered(B, seq=5))
    high, stops, effects = registry.joined(view(), "s2", holding(B), 100)
    assert (high, stops) == ((1, 7), [])
    assert gone_in(effects) == [A]
    assert not effects[0].began


def test_an_order_offered_after_the_join_is_not_void(registry):
    registry.joined(view(), "s2", (), 100)
    registry.offered(offered(A, seq=8))
    assert registry.pulse("w1", pulse("s2", orders=(1, 7), holds=()), 200)[1] == []


def test_a_join_says_what_to_stop_of_what_the_worker_brings(registry):
    registry.offered(offered(A, seq=7))
    registry.stop_wanted(A.job_id, kill=False, reason=EndReason.CANCELLED_BY_POLICY)
    _, stops, effects = registry.joined(view(), "s2", holding(A, B), 100)
    assert stops == [
        StopJob(A, kill=False, reason=EndReason.CANCELLED_BY_POLICY),
        StopJob(B, kill=True, reason=EndReason.WORKER_LOST),
    ]
    assert effects == []


def test_the_room_of_a_worker_goes_only_to_what_core_knows(registry):
    registry.offered(offered(A, seq=7))
    registry.joined(view(), "s2", holding(A, B), 100)
    assert registry.taken(1) == ((A.job_id, NEED),)


@pytest.mark.parametrize("session", ["old", ""])
def test_a_pulse_of_another_session_must_join_anew_and_proves_nothing(registry, session):
    registry.offered(offered(A, seq=1))
    answer, effects = registry.pulse("w1", pulse(session, orders=(9, 9), holds=()), 10)
    assert (type(answer), answer.rejoin, effects) == (Refusal, True, [])
    assert registry.pulse("stranger", pulse(), 10)[0].rejoin


def test_a_replacement_asks_for_everything_before_it_believes_anything():
    """After a restart Core knows the rows, but not what the worker holds."""
    registry = Registry(LIMITS)
    registry.load([Known(view(), "s", last_ms=0)], [Live(A, 1, NEED, 30_000, (1, 3), held=True)])
    assert registry.pulse("w1", pulse(orders=(1, 3)), 10) == (PulseAnswer(send_holds=True), [])
    _, (gone,) = registry.pulse("w1", pulse(orders=(1, 3), holds=()), 20)
    assert (gone.ref, gone.began) == (A, True)


def test_a_pulse_without_holds_means_the_same_as_before(registry):
    registry.offered(offered(A, seq=3))
    registry.pulse("w1", pulse(orders=(1, 3), holds=holding(A)), 10)
    assert registry.pulse("w1", pulse(orders=(1, 3)), 20) == (PulseAnswer(), [])


def test_a_person_changes_who_may_work(registry):
    registry.changed(1, Eligibility.CORDONED)
    registry.changed(99, Eligibility.CORDONED)
    assert registry.workers["w1"].view.eligibility is Eligibility.CORDONED
    assert registry.workers["w1"].view.liveness is Liveness.READY


def test_a_pulse_brings_a_lost_worker_back(registry):
    registry.workers["w1"].view.liveness = Liveness.LOST
    assert registry.pulse("w1", pulse(), 10)[1] == [LivenessChanged(1, Liveness.READY)]


# ------------------------------------------------ names


def offer(name="w1", machine="one"):
    return WorkerOffer(name, Need(), machine=machine)


@pytest.mark.parametrize(("subject", "name"), [("w1", "w2"), ("w1", ""), ("a b", "a b"), ("-a", "-a")])
def test_a_name_that_is_not_its_subject_is_refused(registry, subject, name):
    assert "letters, digits" in registry.refuses(subject, offer(name), 0)


def test_two_machines_do_not_share_a_name_while_both_live(registry):
    assert registry.refuses("w1", offer(), 0) is None
    assert registry.refuses("w1", offer(), 10) is None  # the same machine started its worker anew
    assert "another machine works under the name w1" in registry.refuses("w1", offer(machine="two"), 2_999)


def test_another_machine_may_take_over_a_name_that_is_silent_or_gone(registry):
    registry.refuses("w1", offer(), 0)
    assert registry.refuses("w1", offer(machine="two"), 3_000) is None
    registry.pulse("w1", pulse(leaving=True), 3_000)
    assert registry.refuses("w1", offer(machine="three"), 3_001) is None
