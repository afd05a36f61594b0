"""What the watchdog decides from an agent's notes."""

import pytest

from swarmsync.model.resources import Need
from worker.container_runtime import Observed, Seen
from worker.leases import LATE_MS, Doomed, Leases, abandoned, anything_due, doomed, is_late
from worker.terms import Terms, write_terms

BOOT = "boot-1"
NOTE = write_terms(Terms(Need(), grace_ms=3_000, stop_signal="SIGINT"))
LEASES = Leases(BOOT, heard_ms=100_000, lease_ms=30_000, kill_at={"a-1": 120_000, "b-2": 125_000})


def seen(job, fence, state=Seen.RUNNING):
    return Observed(f"id-{job}", job, fence, fence, "s", state, note=NOTE)


ALL = [seen("a", 1), seen("b", 2), seen("c", 3)]


@pytest.mark.parametrize(
    ("now_ms", "gone"),
    [(119_999, []), (120_000, ["a-1"]), (125_000, ["a-1", "b-2"]), (129_001, ["a-1", "b-2", "c-3"])],
)
def test_each_goes_at_its_time_and_what_nobody_noted_after_the_shortest_lease(now_ms, gone):
    assert [entry.key for entry in doomed(LEASES, ALL, now_ms, BOOT)] == gone
    assert abandoned(LEASES, now_ms, BOOT) is ("c-3" in gone)


def test_it_goes_by_its_own_signal_and_grace():
    assert doomed(LEASES, ALL[:1], 120_000, BOOT) == [Doomed("id-a", "a-1", True, "SIGINT", 3_000)]


def test_what_ended_by_itself_stays_and_what_never_ran_goes():
    found = doomed(LEASES, [seen("a", 1, Seen.EXITED), seen("b", 2, Seen.CREATED)], 200_000, BOOT)
    assert found == [Doomed("id-b", "b-2", False, "SIGINT", 3_000)]


def test_another_fence_of_the_job_is_not_the_one_that_was_noted():
    assert doomed(LEASES, [seen("a", 2)], 120_000, BOOT) == []


def test_notes_from_before_the_machines_restart_are_worth_nothing():
    assert is_late(LEASES, 100_000, "boot-2")
    assert anything_due(LEASES, 100_000, "boot-2", ())
    assert [entry.key for entry in doomed(LEASES, ALL, 100_000, "boot-2")] == ["a-1", "b-2", "c-3"]


def test_an_agent_that_renews_is_not_late_and_nothing_is_looked_at_twice():
    assert not is_late(LEASES, 100_000 + LATE_MS, BOOT)
    assert is_late(LEASES, 100_001 + LATE_MS, BOOT)
    assert not anything_due(LEASES, 119_999, BOOT, ())
    assert anything_due(LEASES, 120_000, BOOT, ())
    assert not anything_due(LEASES, 120_000, BOOT, {"a-1"})
    assert anything_due(LEASES, 125_000, BOOT, {"a-1"})
