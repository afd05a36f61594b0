"""When the patience of a blocked job is over, and when a worker empties for it: the rule alone."""

import pytest

from engine.scheduler.backlog import Backlog
from engine.scheduler.patience import FELL, JOBS_MAX, PATIENCE, PATIENCE_MIN_MS, Patience
from swarmsync.model.job import Waiting
from swarmsync.model.resources import Need

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
JOB = 7


def backlog_of(*job_ids):
    backlog = Backlog(1_000)
    for job_id in job_ids:
        backlog.add(Waiting(job_id, 1, Need(), 50, 1), 0)
    return backlog


@pytest.fixture
def patience():
    return Patience()


def told(patience, room_ms, now_ms=0):
    patience.kept(JOB, now_ms, room_ms, backlog_of(JOB))
    patience.passing(JOB, now_ms, room_ms)


@pytest.mark.parametrize(("told_ms", "over_ms"), [(1, PATIENCE_MIN_MS), (HOUR_MS, PATIENCE * HOUR_MS)])
def test_it_is_over_after_a_multiple_of_what_was_told_first_and_not_within_a_minute(patience, told_ms, over_ms):
    told(patience, told_ms)
    assert not patience.is_over(JOB, over_ms - 1)
    assert patience.is_over(JOB, over_ms)
    assert not patience.empties(JOB, over_ms - 1, over_ms)
    assert patience.empties(JOB, over_ms, over_ms + 1)


def test_what_is_told_later_counts_only_when_it_is_a_small_part_of_what_was_told_first(patience):
    told(patience, DAY_MS)
    told(patience, DAY_MS // 2, now_ms=HOUR_MS)
    assert not patience.is_over(JOB, PATIENCE * DAY_MS - 1)
    told(patience, DAY_MS // FELL - 1, now_ms=HOUR_MS)
    assert patience.is_over(JOB, PATIENCE * (DAY_MS // FELL - 1))
    assert patience.empties(JOB, PATIENCE * DAY_MS // FELL + HOUR_MS, PATIENCE * DAY_MS // FELL + HOUR_MS + 1)


def test_a_worker_empties_when_that_takes_a_quarter_of_the_wait_at_the_worst(patience):
    told(patience, 1)
    assert not patience.empties(JOB, HOUR_MS, HOUR_MS + HOUR_MS // PATIENCE + 1)
    assert patience.empties(JOB, HOUR_MS, HOUR_MS + HOUR_MS // PATIENCE)


def test_the_time_in_which_it_waited_for_a_service_does_not_count(patience):
    told(patience, 1)
    assert patience.in_vain(JOB, 28 * DAY_MS, 57 * DAY_MS)
    assert not patience.empties(JOB, 28 * DAY_MS, 57 * DAY_MS)
    ended_ms = 28 * DAY_MS
    assert not patience.in_vain(JOB, ended_ms + HOUR_MS, ended_ms + 2 * HOUR_MS)
    assert not patience.empties(JOB, ended_ms + HOUR_MS, ended_ms + 2 * HOUR_MS)
    assert patience.empties(JOB, ended_ms + PATIENCE * HOUR_MS, ended_ms + (PATIENCE + 1) * HOUR_MS)


def test_no_worker_empties_for_a_job_that_nobody_wanted_to_pass(patience):
    patience.kept(JOB, 0, 1, backlog_of(JOB))
    assert patience.is_over(JOB, HOUR_MS)
    assert not patience.empties(JOB, HOUR_MS, HOUR_MS + 1)


def test_jobs_that_are_gone_make_room_for_others_and_who_waits_longest_stays(patience):
    told(patience, 1)
    for job_id in range(100, 100 + 2 * JOBS_MAX):
        patience.kept(job_id, 0, 1, backlog_of(JOB, job_id))
        assert patience.is_over(job_id, HOUR_MS)
    assert patience.is_over(JOB, HOUR_MS)
    patience.started(JOB)
    assert not patience.is_over(JOB, HOUR_MS)
