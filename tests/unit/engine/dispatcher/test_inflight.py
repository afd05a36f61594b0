import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.dispatcher.inflight import UNHEARD_GROWTH, UNHEARD_MS, InFlight
from swarmsync.model.job import JobRef

A, B, C = JobRef(1, 1), JobRef(2, 1), JobRef(3, 7)


@pytest.fixture
def inflight():
    return InFlight(epoch=5, receipt_ms=3_000, resends_max=2)


def test_what_nobody_heard_is_sent_again_sooner_but_ever_later(inflight):
    now_ms = 0
    for resends in range(2):
        inflight.sent(1, resends + 1, [A], now_ms)
        inflight.unheard(1, resends + 1, now_ms)
        wait_ms = UNHEARD_MS * UNHEARD_GROWTH**resends
        assert inflight.overdue(now_ms + wait_ms - 1) == {}
        now_ms += wait_ms
        assert inflight.overdue(now_ms) == {1: [A]}
    inflight.sent(1, 3, [A], now_ms)
    inflight.unheard(1, 3, now_ms)
    assert inflight.overdue(now_ms + 2_999) == {}
    assert inflight.overdue(now_ms + 3_000) == {}  # often enough: the worker's pulses decide
    assert len(inflight) == 0


def test_an_older_message_that_nobody_heard_hurries_nothing(inflight):
    inflight.sent(1, 1, [A], 0)
    inflight.sent(1, 2, [A], 0)
    inflight.sent(1, 2, [B], 0)
    inflight.unheard(1, 1, 0)
    inflight.unheard(7, 1, 0)
    assert inflight.overdue(2_999) == {}


def test_messages_are_numbered_from_one_per_worker(inflight):
    assert [inflight.next_seq(worker) for worker in (1, 1, 2, 1)] == [1, 2, 1, 3]


def test_a_receipt_closes_the_orders_of_its_message_only(inflight):
    inflight.sent(1, 1, [A, B], 0)
    inflight.sent(1, 2, [C], 0)
    assert inflight.receipt(1, 1, stale=False) == [A, B]
    assert inflight.overdue(3_000) == {1: [C]}
    assert len(inflight) == 1


def test_a_receipt_closes_what_it_also_tells_of(inflight):
    for seq, ref in enumerate((A, B, C), start=1):
        inflight.sent(1, seq, [ref], 0)
    inflight.sent(2, 1, [JobRef(4, 1)], 0)
    assert inflight.receipt(1, 3, stale=False, also={1, 9}) == [C]
    assert inflight.overdue(3_000) == {1: [B], 2: [JobRef(4, 1)]}


def test_it_tells_when_there_may_be_something_to_send_again(inflight):
    assert not inflight.is_due(10**9)
    inflight.sent(1, 1, [A], 0)
    inflight.sent(1, 2, [B], 1_000)
    assert (inflight.is_due(2_999), inflight.is_due(3_000)) == (False, True)
    assert inflight.overdue(3_000) == {1: [A]}
    assert inflight.overdue(3_000) == {1: [A]}  # it could not be sent
    inflight.sent(1, 3, [A], 3_000)
    assert inflight.overdue(3_500) == {}
    assert (inflight.is_due(3_999), inflight.is_due(4_000)) == (False, True)
    inflight.receipt(1, 2, stale=True)
    assert inflight.overdue(3_500) == {1: [B]}
    inflight.receipt(1, 2, stale=False, also={3})
    inflight.overdue(4_000)
    assert not inflight.is_due(10**9)


def test_a_repeated_or_unknown_receipt_closes_nothing(inflight):
    inflight.sent(1, 1, [A], 0)
    inflight.receipt(1, 1, stale=False)
    assert inflight.receipt(1, 1, stale=False) == []
    assert inflight.receipt(9, 1, stale=False) == []


def test_the_clock_runs_out_after_the_receipt_time_and_not_before(inflight):
    inflight.sent(1, 1, [A], now_ms=100)
    assert inflight.overdue(3_099) == {}
    assert inflight.overdue(3_100) == {1: [A]}


def test_an_order_sent_again_is_closed_by_the_receipt_of_its_last_message_only(inflight):
    inflight.sent(1, 1, [A], 0)
    inflight.sent(1, 2, [A], 3_000)
    assert inflight.receipt(1, 1, stale=False) == []
    assert inflight.overdue(3_000) == {}
    assert inflight.receipt(1, 2, stale=False) == [A]


def test_after_so_many_repeats_the_clock_lets_go(inflight):
    inflight.sent(1, 1, [A], 0)
    for repeat in (1, 2):
        assert inflight.overdue(3_000 * repeat) == {1: [A]}
        inflight.sent(1, 1 + repeat, [A], 3_000 * repeat)
    assert inflight.overdue(9_000) == {}
    assert not inflight.knows(1, A)


def test_a_newer_attempt_begins_with_a_clock_of_its_own(inflight):
    inflight.sent(1, 1, [A], 0)
    inflight.sent(1, 2, [A], 3_000)
    inflight.sent(1, 3, [A], 6_000)
    newer = JobRef(A.job_id, A.fence + 1)
    inflight.sent(1, 4, [newer], 9_000)
    assert (inflight.knows(1, A), inflight.knows(1, newer)) == (False, True)
    assert inflight.overdue(12_000) == {1: [newer]}


def test_a_stale_receipt_sends_the_orders_again_at_once(inflight):
    inflight.sent(1, 1, [A], 1_000)
    assert inflight.receipt(1, 1, stale=True) == []
    assert inflight.overdue(1_000) == {1: [A]}


def test_an_order_without_room_in_its_message_goes_again_at_once_and_spends_no_repeat(inflight):
    inflight.sent(1, 1, [A], 1_000)
    for seq in range(2, 20):
        inflight.defer(1, A)
        assert inflight.overdue(1_000) == {1: [A]}
        inflight.sent(1, seq, [A], 1_000)
    assert inflight.knows(1, A)


def test_an_end_by_other_news_stops_the_clock(inflight):
    inflight.sent(1, 1, [A, B], 0)
    inflight.ended(A.job_id, 1)
    inflight.ended(A.job_id, 1)
    inflight.ended(B.job_id, worker_id=2)
    assert inflight.overdue(3_000) == {1: [B]}


def test_knows_tells_attempts_and_workers_apart(inflight):
    inflight.sent(1, 1, [A], 0)
    assert inflight.knows(1, A)
    assert not inflight.knows(2, A)
    assert not inflight.knows(1, JobRef(A.job_id, A.fence + 1))


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(1, 2), st.lists(st.integers(1, 4), min_size=1, max_size=3)),
        st.tuples(st.just("receipt"), st.integers(1, 2), st.integers(1, 6), st.booleans()),
        st.tuples(st.just("end"), st.integers(1, 2), st.integers(1, 4)),
    ),
    max_size=30,
)


@given(EVENTS)
def test_every_order_is_open_until_a_fresh_receipt_or_an_end(events):
    inflight = InFlight(epoch=1, receipt_ms=1_000, resends_max=1_000)
    open_orders = {}  # (worker, job) -> message number
    for kind, worker, *rest in events:
        if kind == "send":
            seq = inflight.next_seq(worker)
            inflight.sent(worker, seq, [JobRef(job, 1) for job in rest[0]], 0)
            open_orders |= {(worker, job): seq for job in rest[0]}
        elif kind == "receipt":
            seq, stale = rest
            closed = inflight.receipt(worker, seq, stale=stale)
            mine = {key for key, number in open_orders.items() if key[0] == worker and number == seq}
            assert {(worker, ref.job_id) for ref in closed} == (set() if stale else mine)
            if not stale:
                for key in mine:
                    del open_orders[key]
        else:
            inflight.ended(rest[0], worker)
            open_orders.pop((worker, rest[0]), None)
    overdue = {(worker, ref.job_id) for worker, refs in inflight.overdue(10**9).items() for ref in refs}
    assert overdue == set(open_orders)
    assert len(inflight) == len(open_orders)
