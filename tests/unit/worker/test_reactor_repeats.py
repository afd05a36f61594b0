"""Orders that come once more although what they order is over."""

import pytest

from swarmsync.model.job import JobRef
from swarmsync.model.lifecycle import EndReason
from swarmsync.model.resources import Need
from swarmsync.protocol.messages import Ended, Orders, Receipt, RunJob
from worker import reactor as module
from worker.plans import Terms
from worker.reactor import Reactor

TERMS = {1: Terms(Need(1, 1))}


def run(job_id, fence=1):
    return RunJob(JobRef(job_id, fence), 1, "job", 1)


@pytest.fixture
def reactor():
    return Reactor(Need(1_000, 1_000), now_ms=0)


def live_and_end(reactor, seq, order):
    reactor.take(Orders(1, seq, (order,)), TERMS, 0)
    reactor.report(Ended(order.ref, EndReason.COMPLETED, "", 0), 0)
    reactor.acknowledged(10**6)


def test_an_order_that_was_sent_again_before_core_heard_of_the_end_begins_nothing(reactor):
    """Its job has succeeded: run again under the same fence, nobody would wait for it, and it would still do its work."""
    live_and_end(reactor, 1, run(7, fence=2))
    assert reactor.take(Orders(1, 2, (run(7, fence=2),)), TERMS, 0) == (Receipt(1, 2), [], [])
    assert reactor.take(Orders(1, 3, (run(7, fence=1),)), TERMS, 0) == (Receipt(1, 3), [], [])
    assert reactor.held == {}


def test_the_next_attempt_of_the_job_is_begun(reactor):
    live_and_end(reactor, 1, run(7, fence=2))
    assert reactor.take(Orders(1, 2, (run(7, fence=3),)), TERMS, 0)[1] == [run(7, fence=3)]


def test_only_so_many_ends_are_remembered(reactor, monkeypatch):
    monkeypatch.setattr(module, "OVER_KEPT", 2)
    for seq, job_id in enumerate((1, 2, 3), 1):
        live_and_end(reactor, seq, run(job_id))
    assert reactor.take(Orders(1, 9, (run(1), run(2), run(3))), TERMS, 0)[1] == [run(1)]
