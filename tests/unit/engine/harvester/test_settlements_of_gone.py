"""What becomes of assignments that came to nothing, and which of many reports count."""

import pytest

from engine.harvester.registry import Gone
from engine.harvester.settlements import judge_gone, last_words, not_before, of_gone
from swarmsync.model.job import JobRef
from swarmsync.model.lifecycle import AssignmentState, EndReason, WaitReason
from swarmsync.protocol.messages import Ended, Progress, Reports, Started

A, B = JobRef(1, 1), JobRef(2, 1)
ROW = {"tries": 0, "crashes": 0, "stop_reason": None, "document": '{"image": "i"}'}


def gone(*, began=False):
    return Gone(A, 1, (1, 3), began, EndReason.WORKER_DRAINED, "the worker refused it: it has no room: cpus")


def test_a_refused_order_waits_before_it_is_placed_again():
    """At once, it would go to the same worker and be refused, as fast as the two can speak."""
    entry = judge_gone(of_gone(gone(), delay_ms=1_000), ROW, 5, 0.5)
    assert (entry.state, entry.reason, entry.delay_ms) == ("scheduled", WaitReason.RETRY_BACKOFF, 1_000)
    assert (entry.tries, entry.crashes) == (0, 0)


def test_without_a_delay_it_is_queued_at_once():
    entry = judge_gone(of_gone(gone()), ROW, 5, 0.5)
    assert (entry.state, entry.reason, entry.delay_ms) == ("queued", "", 0)


@pytest.mark.parametrize("delay_ms", [0, 1_000])
def test_a_job_that_was_to_stop_is_cancelled_all_the_same(delay_ms):
    entry = judge_gone(of_gone(gone(), delay_ms=delay_ms), {**ROW, "stop_reason": "CancelledByUser"}, 5, 0.5)
    assert entry.state == "cancelled"


@pytest.mark.parametrize(("own_ms", "quiet_ms", "then_ms"), [(0, 5_000, 5_000), (9_000, 5_000, 9_000), (0, -1, 0)])
def test_after_a_restore_nothing_is_tried_again_too_soon(own_ms, quiet_ms, then_ms):
    entry = not_before(judge_gone(of_gone(gone(), delay_ms=own_ms), ROW, 5, 0.5), quiet_ms)
    assert (entry.state, entry.delay_ms) == ("scheduled" if then_ms else "queued", then_ms)


def test_what_is_over_is_over_at_once_after_a_restore_too():
    over = judge_gone(of_gone(gone()), {**ROW, "stop_reason": "CancelledByUser"}, 5, 0.5)
    assert not_before(over, 60_000) == over


def test_of_each_kind_the_last_report_counts_and_an_end_counts_alone():
    first, again, ended = Started(A, 1), Started(A, 2), Ended(B, EndReason.COMPLETED, "", 3)
    step = Progress(A, AssignmentState.PULLING)
    messages = [Reports("s", 1, (first, step, Started(B, 1))), Reports("s", 4, (again, ended))]
    assert last_words(messages) == ([again], [step], [ended])


@pytest.mark.parametrize(
    ("image", "reason", "told"), [("", "ExitCode", 0), ("a@sha256:1", "ExitCode", 1), ("a@sha256:1", "Completed", 0)]
)
def test_the_image_of_an_attempt_that_failed_is_kept_for_the_next_however_quick_it_was(image, reason, told):
    start, end = Started(A, 1, image), Ended(A, EndReason(reason), "", 3)
    assert last_words([Reports("s", 1, (start, end))]) == ([start] * told, [], [end])
