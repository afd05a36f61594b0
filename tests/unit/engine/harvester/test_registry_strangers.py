"""What a worker may say of itself and of others: its name on the wire is its identity, and its youngest process counts."""

import pytest

from engine.harvester.registry import Limits, Registry
from swarmsync.model.job import JobRef
from swarmsync.model.lifecycle import EndReason
from swarmsync.model.resources import Need
from swarmsync.model.worker import WorkerOffer, WorkerView
from swarmsync.protocol.messages import Ended, Offered, Reports, Started

LIMITS = Limits(suspect_ms=15_000, lost_ms=35_000, lease_ms=30_000, lease_slack_ms=5_000)
NEED = Need(1_000, 1 << 30)
OWN, OTHERS, OVER = JobRef(11, 1), JobRef(12, 1), JobRef(12, 0)


@pytest.fixture
def registry():
    made = Registry(LIMITS)
    for number, ref in ((1, OWN), (2, OTHERS)):
        made.joined(WorkerView(number, f"w{number}", Need(8_000, 8 << 30)), "s", (), now_ms=0)
        made.offered(Offered(ref, number, NEED, 10_000, 1, 1))
    return made


def ended(ref):
    return Ended(ref, EndReason.COMPLETED, "exit code 0", 5, 0)


def test_a_report_of_another_workers_assignment_is_not_believed(registry):
    said = Reports("s", 1, (Started(OWN, 1), Started(OTHERS, 1), ended(OTHERS), ended(OWN)))
    assert registry.own("w1", said) == Reports("s", 1, (Started(OWN, 1), ended(OWN)))
    assert registry.own("w2", said) == Reports("s", 1, (Started(OTHERS, 1), ended(OTHERS)))
    assert registry.own("nobody", said).reports == ()


def test_late_news_of_what_is_over_still_counts_as_superseded(registry):
    said = Reports("s", 1, (ended(OVER), ended(JobRef(99, 4))))
    assert registry.own("w1", said) is said


def offer(machine="m"):
    return WorkerOffer("w1", NEED, machine=machine)


def test_the_join_of_an_older_process_that_comes_late_does_not_win(registry):
    assert registry.refuses("w1", offer(), 0, boot="b", began_ms=500) is None
    assert "a younger process" in registry.refuses("w1", offer(), 10_000, boot="b", began_ms=400)
    assert registry.refuses("w1", offer(), 20_000, boot="b", began_ms=500) is None  # it joins again
    assert registry.refuses("w1", offer(), 30_000, boot="b", began_ms=600) is None
    assert registry.refuses("w1", offer(), 40_000, boot="restarted", began_ms=5) is None
    assert registry.refuses("w1", offer(), 50_000) is None  # a worker of an older version does not say
