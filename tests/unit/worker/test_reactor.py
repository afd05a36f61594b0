"""The worker's decisions: orders, room, leases and reports. Times are what the test says they are."""

import pytest

from swarmsync.model.job import JobRef
from swarmsync.model.lifecycle import AssignmentState, EndReason
from swarmsync.model.resources import NOTHING, Need
from swarmsync.protocol.messages import Ended, Holding, Orders, Progress, Receipt, RunJob, Started, StopJob
from worker.reactor import LEASE_MARGIN_MS, REPORTS_PER_MESSAGE, STARTS_WAIT_MS, Reactor
from worker.terms import Terms

GIB = 1 << 30
A, B, C = JobRef(1, 1), JobRef(2, 1), JobRef(3, 1)
ONE = Terms(Need(1_000, GIB), grace_ms=10_000)
TERMS = {(1, GIB): ONE, (2, GIB): Terms(Need(2_000, GIB)), (3, GIB): Terms(Need(500, GIB), grace_ms=60_000)}


def run(ref, spec_id=1):
    return RunJob(ref, spec_id, "job", GIB)


def orders(seq, *words, epoch=1):
    return Orders(epoch, seq, words)


def ended(ref, reason=EndReason.COMPLETED):
    return Ended(ref, reason, "", 0)


def take(reactor, seq, *words, now_ms=0, epoch=1):
    return reactor.take(orders(seq, *words, epoch=epoch), TERMS, now_ms)


def finish(reactor, *refs):
    """Report these as ended and let Core acknowledge everything."""
    for ref in refs:
        reactor.report(ended(ref), 0)
    return reactor.acknowledged(10**6, 0)


@pytest.fixture
def reactor():
    made = Reactor(Need(2_000, 4 * GIB), now_ms=0)
    made.welcome((1, 10), lease_ms=30_000, sent_ms=0)
    return made


# ------------------------------------------------ orders


def test_an_order_is_begun_and_held(reactor):
    assert take(reactor, 11, run(A)) == (Receipt(1, 11), [run(A)], [])
    assert reactor.holds() == (Holding(A, AssignmentState.ACCEPTED, ONE.need),)
    assert reactor.high == (1, 11)


@pytest.mark.parametrize(
    ("epoch", "seq", "stale"), [(1, 10, True), (1, 9, True), (0, 99, True), (1, 11, False), (2, 1, False)]
)
def test_only_a_newer_message_than_any_before_is_obeyed(reactor, epoch, seq, stale):
    receipt, begin, _ = take(reactor, seq, run(A), epoch=epoch)
    assert receipt == Receipt(epoch, seq, stale=stale)
    assert (begin == []) == stale
    assert (A.job_id in reactor.held) != stale


def test_a_repeated_message_is_stale_and_a_repeated_order_begins_nothing(reactor):
    take(reactor, 11, run(A))
    assert take(reactor, 11, run(A)) == (Receipt(1, 11, stale=True), [], [])
    assert take(reactor, 12, run(A)) == (Receipt(1, 12), [], [])
    assert reactor._used == ONE.need


def test_an_order_that_comes_after_its_end_was_acknowledged_begins_nothing(reactor):
    take(reactor, 11, run(A))
    finish(reactor, A)
    assert take(reactor, 12, run(A)) == (Receipt(1, 12), [], [])
    assert take(reactor, 13, run(JobRef(A.job_id, 2)))[1] == [run(JobRef(A.job_id, 2))]


def test_nothing_is_taken_before_core_has_answered_a_join(reactor):
    """Between the question and the answer Core does not know what is taken here, and counts it as gone."""
    assert reactor.joining() == ()
    assert take(reactor, 11, run(A)) == (Receipt(1, 11, stale=True), [], [])
    assert reactor.high == (1, 10)
    reactor.welcome((1, 11), 30_000, 5)
    assert take(reactor, 12, run(A), now_ms=5)[1] == [run(A)]


def test_a_join_says_everything_that_is_held(reactor):
    take(reactor, 11, run(A))
    assert reactor.joining() == (Holding(A, AssignmentState.ACCEPTED, ONE.need),)


def test_a_welcome_never_lowers_what_was_seen(reactor):
    take(reactor, 15, run(A))
    reactor.welcome((1, 12), 30_000, 5)
    assert take(reactor, 15, run(B), now_ms=5)[0].stale


# ------------------------------------------------ room


def test_what_does_not_fit_is_refused_with_what_is_short(reactor):
    receipt, begin, _ = take(reactor, 11, run(A), run(B, 2))
    assert begin == [run(A)]
    assert receipt.refused == ((B, "it has no room: cpus"),)


def test_room_is_free_again_from_the_report_of_the_end_on(reactor):
    take(reactor, 11, run(A, 2))
    reactor.report(ended(A), 0)
    assert take(reactor, 12, run(B, 2))[1] == [run(B, 2)]
    finish(reactor, B)
    assert reactor._used == NOTHING


def test_an_end_reported_twice_frees_its_room_once(reactor):
    take(reactor, 11, run(A), run(B))
    finish(reactor, A, A)
    assert reactor._used == ONE.need


def test_an_earlier_attempt_must_be_over_before_the_next_one_begins(reactor):
    take(reactor, 11, run(A))
    newer = JobRef(A.job_id, 2)
    assert take(reactor, 12, run(newer))[0].refused == ((newer, "it still holds an earlier attempt of this job"),)
    reactor.report(ended(A), 0)
    assert take(reactor, 13, run(newer))[1] == [run(newer)]


def test_the_next_attempt_may_overtake_cores_word_on_the_last_ones_end(reactor):
    """Orders and acknowledgements come by different ways; an order of a higher fence says that Core knows the end."""
    newer = JobRef(A.job_id, 2)
    take(reactor, 11, run(A))
    reactor.report(ended(A), 0)
    receipt, begin, _ = take(reactor, 12, run(newer))
    assert (receipt.refused, begin) == ((), [run(newer)])
    assert reactor.acknowledged(1, 0) == [A], "the container of the one that has ended may go"
    assert [holding.ref for holding in reactor.holds()] == [newer]
    assert reactor._used == ONE.need
    assert finish(reactor, newer) == [newer]
    assert take(reactor, 13, run(newer), run(A)) == (Receipt(1, 13), [], [])


def test_an_order_without_its_spec_is_refused(reactor):
    assert take(reactor, 11, run(A, 9))[0].refused == ((A, "the order came without its spec"),)


def test_who_adopts_two_attempts_of_one_job_keeps_the_last_and_its_room_only(reactor):
    reactor.hold(A, ONE, AssignmentState.COLLECTING)
    reactor.hold(JobRef(A.job_id, 2), TERMS[2, GIB], AssignmentState.RUNNING)
    assert [holding.ref.fence for holding in reactor.holds()] == [2]
    finish(reactor, JobRef(A.job_id, 2))
    assert reactor._used == NOTHING


def test_what_never_came_to_life_is_forgotten_with_its_room(reactor):
    take(reactor, 11, run(A))
    reactor.forget([B, JobRef(A.job_id, 9)])
    assert reactor.holds()
    reactor.forget([A, A])
    assert (reactor.holds(), reactor._used) == ((), NOTHING)


# ------------------------------------------------ stops


def test_a_stop_is_passed_on_once(reactor):
    take(reactor, 11, run(A))
    assert take(reactor, 12, StopJob(A))[2] == [StopJob(A)]
    assert take(reactor, 13, StopJob(A))[2] == []


def test_a_kill_hurries_a_stop_and_keeps_its_cause(reactor):
    take(reactor, 11, run(A))
    reactor.stop(StopJob(A, reason=EndReason.CANCELLED_BY_POLICY))
    assert reactor.stop(StopJob(A, kill=True)) == [StopJob(A, kill=True, reason=EndReason.CANCELLED_BY_POLICY)]
    assert reactor.stop(StopJob(A, kill=True)) == []


@pytest.mark.parametrize("ref", [B, JobRef(A.job_id, 2), JobRef(A.job_id, 0)])
def test_a_stop_of_what_is_not_held_changes_nothing(reactor, ref):
    take(reactor, 11, run(A))
    assert reactor.stop(StopJob(ref)) == []


def test_what_has_ended_is_stopped_no_more(reactor):
    take(reactor, 11, run(A))
    reactor.report(ended(A), 0)
    assert reactor.stop(StopJob(A, kill=True)) == []
    assert reactor.drain() == []


def test_orders_and_their_stops_may_share_a_message(reactor):
    assert take(reactor, 11, run(A), StopJob(A)) == (Receipt(1, 11), [run(A)], [StopJob(A)])


def test_a_draining_worker_stops_everything_and_takes_nothing(reactor):
    take(reactor, 11, run(A), run(B))
    reactor.stop(StopJob(B))
    assert reactor.drain() == [StopJob(A, reason=EndReason.WORKER_DRAINED)]
    assert take(reactor, 12, run(C))[0].refused == ((C, "it is stopping"),)


# ------------------------------------------------ leases


def test_orders_are_taken_only_while_the_shortest_lease_lives(reactor):
    assert take(reactor, 11, run(A), now_ms=18_000)[1]
    assert take(reactor, 12, run(B), now_ms=30_000) == (Receipt(1, 12, stale=True), [], [])
    assert reactor.high == (1, 11)
    reactor.heard(sent_ms=25_000)
    assert take(reactor, 12, run(B), now_ms=43_000)[1]


def test_an_order_is_refused_when_its_container_could_not_be_gone_before_the_lease_ends(reactor):
    """Begun now and stopped at once, it would outlive its lease by as much as its grace, beside its successor."""
    last_ms = 30_000 - 10_000 - LEASE_MARGIN_MS
    receipt, begin, _ = take(reactor, 11, run(A), run(B, 3), now_ms=last_ms + 1)
    assert begin == [run(B, 3)]
    assert receipt.refused == ((A, "it has had no contact with Core for too long"),)
    assert take(reactor, 12, run(A), now_ms=last_ms)[1] == [run(A)]


def test_a_lease_ends_early_enough_for_the_grace_and_a_margin(reactor):
    take(reactor, 11, run(A), run(B, 3))
    leases = {ref: held.lease_ms for ref, held in ((A, reactor.held[1]), (B, reactor.held[2]))}
    assert leases == {A: 30_000, B: 130_000}
    last_ms = 30_000 - 10_000 - LEASE_MARGIN_MS
    assert reactor.lease_ends(last_ms) == []
    assert reactor.lease_ends(last_ms + 1) == [StopJob(A, reason=EndReason.WORKER_LOST)]
    assert reactor.lease_ends(last_ms + 2) == []
    last_ms = 130_000 - 60_000 - LEASE_MARGIN_MS
    assert reactor.lease_ends(last_ms) == []
    assert reactor.lease_ends(last_ms + 1) == [StopJob(B, reason=EndReason.WORKER_LOST)]


def test_leases_count_from_when_the_answered_pulse_was_sent_and_never_go_back(reactor):
    take(reactor, 11, run(A))
    reactor.heard(sent_ms=20_000)
    reactor.heard(sent_ms=5_000)  # a late answer to an older pulse
    assert reactor.lease_ends(38_000) == []
    assert reactor.lease_ends(38_001) != []


def test_what_ended_or_is_being_stopped_has_no_lease_to_end(reactor):
    take(reactor, 11, run(A), run(B))
    reactor.report(ended(A), 0)
    reactor.stop(StopJob(B))
    assert reactor.lease_ends(10**9) == []


@pytest.mark.parametrize("lease_ms", [5_000, 60_000])
def test_what_was_adopted_before_the_join_gets_the_lease_that_core_grants(lease_ms):
    """Core counts with its own settings, so a shorter lease must shorten ours."""
    reactor = Reactor(Need(2_000, 4 * GIB), now_ms=0)
    reactor.hold(A, Terms(Need(), grace_ms=0), AssignmentState.RUNNING)
    reactor.welcome((1, 1), lease_ms, sent_ms=0)
    assert reactor.held[A.job_id].lease_ms == max(lease_ms, 10_000)


# ------------------------------------------------ what pulses say


def test_a_pulse_says_what_is_held_until_core_knows_it(reactor):
    take(reactor, 11, run(A))
    now = reactor.holds_if_changed()
    assert now == reactor.holds()
    reactor.told(now)
    assert reactor.holds_if_changed() is None
    reactor.report(ended(A), 0)
    assert reactor.holds_if_changed() == (Holding(A, AssignmentState.COLLECTING, ONE.need),)


def test_everything_is_said_again_after_a_lost_answer_or_a_new_join(reactor):
    reactor.told(reactor.holds())
    reactor.told(None)
    assert reactor.holds_if_changed() == ()
    reactor.told(())
    reactor.welcome((1, 10), 30_000, 5)
    assert reactor.holds_if_changed() == ()


# ------------------------------------------------ reports


def test_reports_are_numbered_and_repeated_until_acknowledged(reactor):
    take(reactor, 11, run(A))
    first, second = Started(A, 1), Progress(A, AssignmentState.STOPPING)
    assert reactor.unacknowledged(0) == (1, ())
    reactor.report(first, 0)
    reactor.report(second, 0)
    assert reactor.unacknowledged(0) == (1, (first, second))
    assert reactor.acknowledged(1, 0) == []
    assert reactor.unacknowledged(0) == (2, (second,))
    assert reactor.acknowledged(2, 0) == []
    assert reactor.unacknowledged(0) == (3, ())


def test_an_acknowledged_end_lets_the_container_go_exactly_once(reactor):
    take(reactor, 11, run(A), run(B))
    reactor.report(ended(A), 0)
    reactor.report(Started(B, 1), 0)
    assert reactor.acknowledged(0, 0) == []
    assert reactor.holds()[0].ref == A
    assert reactor.acknowledged(1, 0) == [A]
    assert reactor.acknowledged(1, 0) == []
    assert [holding.ref for holding in reactor.holds()] == [B]


def test_the_end_of_an_earlier_attempt_does_not_let_a_newer_one_go(reactor):
    newer = JobRef(A.job_id, 2)
    reactor.report(ended(A), 0)
    reactor.hold(newer, ONE, AssignmentState.RUNNING)
    assert reactor.acknowledged(1, 0) == [A]
    assert [holding.ref for holding in reactor.holds()] == [newer]


def test_an_old_acknowledgement_changes_nothing(reactor):
    for _ in range(3):
        reactor.report(Started(A, 1), 0)
    reactor.acknowledged(3, 0)
    reactor.report(Started(A, 2), 0)
    assert reactor.acknowledged(2, 0) == []
    assert reactor.unacknowledged(0) == (4, (Started(A, 2),))


def test_a_message_has_a_bounded_number_of_reports(reactor):
    for number in range(REPORTS_PER_MESSAGE + 1):
        reactor.report(Started(A, number), 0)
    first_seq, reports = reactor.unacknowledged(0)
    assert (first_seq, len(reports)) == (1, REPORTS_PER_MESSAGE)
    reactor.acknowledged(REPORTS_PER_MESSAGE, 0)
    assert reactor.unacknowledged(0) == (REPORTS_PER_MESSAGE + 1, (Started(A, REPORTS_PER_MESSAGE),))


@pytest.fixture
def spoken(reactor):
    """One that made a message at 1,000 ms."""
    reactor.report(Started(C, 1), 1_000)
    assert reactor.unacknowledged(1_000) == (1, (Started(C, 1),))
    reactor.acknowledged(1, 0)
    return reactor


def test_a_beginning_after_a_quiet_time_is_told_at_once(spoken):
    quiet_ms = 1_000 + STARTS_WAIT_MS
    assert spoken.report(Started(A, 1), quiet_ms) == 0
    assert spoken.unacknowledged(quiet_ms) == (2, (Started(A, 1),))


def test_a_beginning_among_others_is_told_with_its_end(spoken):
    assert spoken.report(Started(A, 1), 1_100) == STARTS_WAIT_MS
    assert spoken.unacknowledged(1_100 + STARTS_WAIT_MS - 1) == (2, ())
    assert spoken.report(ended(A), 1_200) == 0
    assert spoken.unacknowledged(5_000) == (2, (ended(A),))


def test_what_others_end_does_not_tell_of_a_beginning_that_still_waits(spoken):
    spoken.report(Started(A, 1), 1_100)
    spoken.report(ended(B), 1_110)
    assert spoken.unacknowledged(1_110) == (2, (ended(B),))
    assert spoken.unacknowledged(1_100 + STARTS_WAIT_MS) == (2, (ended(B), Started(A, 1)))


@pytest.mark.parametrize(
    "then", [Progress(A, AssignmentState.COLLECTING), Ended(A, EndReason.EXIT_CODE, "exit code 1", 3, 1)]
)
def test_a_beginning_goes_before_all_but_a_good_end(spoken, then):
    """It says which image the tag meant: another attempt must get the same."""
    spoken.report(Started(A, 1), 1_100)
    spoken.report(then, 1_200)
    assert spoken.unacknowledged(1_200) == (2, (Started(A, 1), then))


def test_an_end_is_known_by_its_own_number_and_not_by_that_of_its_beginning(spoken):
    take(spoken, 11, run(A), now_ms=1_000)
    spoken.report(Started(A, 1), 1_100)
    spoken.report(ended(A, EndReason.EXIT_CODE), 1_200)
    assert spoken.held[1].ended_seq == 3
    assert spoken.acknowledged(2, 0) == []
    assert spoken.acknowledged(3, 0) == [A]


def test_a_report_of_something_unknown_is_sent_all_the_same(reactor):
    reactor.report(ended(C), 0)
    assert reactor.unacknowledged(0) == (1, (ended(C),))
    assert reactor.acknowledged(1, 0) == []
