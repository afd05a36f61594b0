"""Orders that come once more although what they order is over."""

import pytest

from swarmsync.model.job import JobRef
from swarmsync.model.lifecycle import EndReason
from swarmsync.model.resources import Need
from swarmsync.protocol.messages import Ended, Orders, Receipt, RunJob
from worker import reactor as module
from worker.reactor import Reactor
from worker.terms import Terms

TERMS = {(1, 1): Terms(Need(1, 1))}


def run(job_id, fence=1):
    return RunJob(JobRef(job_id, fence), 1, "job", 1)


@pytest.fixture
def reactor():
    return Reactor(Need(1_000, 1_000), now_ms=0)


def live_and_end(reactor, seq, order, now_ms=0):
    assert begun(reactor, seq, order, now_ms=now_ms) == [order]
    reactor.report(Ended(order.ref, EndReason.COMPLETED, "", 0), now_ms)
    reactor.acknowledged(10**6, now_ms)


def begun(reactor, seq, *orders, now_ms=0):
    reactor.heard(now_ms)
    return reactor.take(Orders(1, seq, orders), TERMS, now_ms)[1]


def test_an_order_that_was_sent_again_before_core_heard_of_the_end_begins_nothing(reactor):
    """Its job has succeeded: run again under the same fence, nobody would wait for it, and it would still do its work."""
    live_and_end(reactor, 1, run(7, fence=2))
    assert reactor.take(Orders(1, 2, (run(7, fence=2),)), TERMS, 0) == (Receipt(1, 2), [], [])
    assert reactor.take(Orders(1, 3, (run(7, fence=1),)), TERMS, 0) == (Receipt(1, 3), [], [])
    assert reactor.held == {}


def test_the_next_attempt_of_the_job_is_begun(reactor):
    live_and_end(reactor, 1, run(7, fence=2))
    assert reactor.take(Orders(1, 2, (run(7, fence=3),)), TERMS, 0)[1] == [run(7, fence=3)]


@pytest.mark.interpreted
def test_only_so_many_ends_are_remembered(reactor, monkeypatch):
    monkeypatch.setattr(module, "OVER_KEPT", 2)
    for job_id in (1, 2, 3, 4, 5):
        live_and_end(reactor, job_id, run(job_id))
    assert reactor.take(Orders(1, 9, tuple(map(run, (1, 2, 3, 4, 5)))), TERMS, 0)[1] == [run(1), run(2)]


def test_ends_are_remembered_for_minutes_and_not_for_ever(reactor):
    kept_ms = module.OVER_KEPT_MS
    live_and_end(reactor, 1, run(1), now_ms=1)
    live_and_end(reactor, 2, run(2), now_ms=kept_ms)
    assert begun(reactor, 3, run(1), now_ms=2 * kept_ms - 1) == []
    live_and_end(reactor, 4, run(3), now_ms=2 * kept_ms)
    assert begun(reactor, 5, run(1), run(2), run(3), now_ms=2 * kept_ms) == [run(1)]
