"""Who goes first by default, what is learned of run times, and what time alone changes."""

import pytest

from engine.scheduler.backlog import MARKS_KEPT, Backlog, Terms
from engine.scheduler.placement import DATED_MS, Scheduler
from engine.scheduler.ranking import HANDICAP_MS, SLOWED, WIDE_MS, Standing, aged
from engine.scheduler.run_times import GUESS_MS, REMEMBERED, RunTimes
from swarmsync.ids import EPOCH_MS, IdSource, made_ms
from swarmsync.model.job import Waiting
from swarmsync.model.resources import Need
from swarmsync.model.rules import Rules
from swarmsync.model.worker import WorkerView
from swarmsync.protocol.messages import AssignmentEnded, JobsSubmitted, Place, WorkerJoined

HOUR_MS = 3_600_000
NEED = Need(1_000, 1 << 30)


def standing(*, since_ms=0, timeout_ms=None, estimate_ms=HOUR_MS, job_id=1, priority=50, size=0.1, now_ms=0):
    bound_ms = HOUR_MS if timeout_ms is None else timeout_ms
    return Standing(priority, job_id, since_ms, estimate_ms, bound_ms, timeout_ms is not None, size, 0.0, now_ms)


def test_who_is_slowed_down_for_certain_goes_before_all_others_and_who_is_more_so_first():
    minute, now_ms = 60_000, SLOWED * 60_000
    slowed = standing(timeout_ms=minute, now_ms=now_ms)
    more = standing(timeout_ms=minute, now_ms=2 * now_ms, job_id=2)
    older = standing(since_ms=-5 * now_ms, estimate_ms=0, timeout_ms=2 * HOUR_MS, now_ms=now_ms)
    almost = standing(since_ms=1, timeout_ms=minute, now_ms=now_ms)
    assert aged(more) < aged(slowed) < aged(older) < aged(almost)


def test_a_priority_is_above_any_slowdown():
    assert aged(standing(priority=51)) < aged(standing(timeout_ms=1, now_ms=1_000 * HOUR_MS))


def test_a_timeout_of_less_than_a_minute_counts_as_one():
    assert aged(standing(timeout_ms=1, now_ms=HOUR_MS)) == aged(standing(timeout_ms=60_000, now_ms=HOUR_MS))


def test_without_a_timeout_no_slowdown_is_certain():
    assert aged(standing(now_ms=10_000 * HOUR_MS)) == aged(standing())


def test_who_may_be_let_pass_is_let_pass_for_a_bounded_time():
    long = standing(estimate_ms=99 * HANDICAP_MS)
    assert aged(standing(since_ms=HANDICAP_MS - 1, estimate_ms=0, job_id=2)) < aged(long)
    assert aged(standing(since_ms=HANDICAP_MS + 1, estimate_ms=0, job_id=2)) > aged(long)


def test_a_job_as_wide_as_the_cluster_goes_so_much_earlier():
    narrow = standing(since_ms=0, size=0.0)
    assert (
        aged(standing(since_ms=WIDE_MS - 1, size=1.0)) < aged(narrow) < aged(standing(since_ms=WIDE_MS + 1, size=1.0))
    )


def terms(timeout_ms=None):
    return Terms(NEED, 7, rules=None if timeout_ms is None else Rules(timeout_ms=timeout_ms))


@pytest.mark.parametrize(
    ("ran_ms", "timeout_ms", "both"),
    [
        ((), None, (GUESS_MS, GUESS_MS)),
        ((), 50, (50, 50)),
        ((30,), None, (30, 30)),
        ((30, 10, 50), None, (10, 30)),
        ((30, 10, 50), 40, (10, 40)),
        ((300, 100), 40, (40, 40)),
        ((0,), None, (1, 1)),
        ((5, *[100] * (REMEMBERED - 1)), None, (5, 100)),
        ((5, *[100] * REMEMBERED), None, (100, 100)),
    ],
)
def test_the_shortest_of_the_last_is_hoped_for_and_the_timeout_or_the_mean_of_two_is_relied_on(
    ran_ms, timeout_ms, both
):
    times = RunTimes()
    for each_ms in ran_ms:
        times.learn(terms(), each_ms)
    assert times.both_ms(terms(timeout_ms)) == both


def test_time_alone_can_make_another_job_the_one_that_a_worker_is_kept_for():
    core, room = Scheduler(), Need(3_000, 3 << 30)
    day, minute = Rules(timeout_ms=24 * HOUR_MS), Rules(timeout_ms=60_000)
    running = Waiting(1, 1, Need(2_000, 1 << 30), 50, 1, line=1)
    older = Waiting(2, 2, Need(2_000, 1 << 30), 50, 2, line=2, rules=day)
    brief = Waiting(3, 3, room, 50, 3, line=3, rules=minute)
    core.handle([WorkerJoined(WorkerView(1, "w1", room)), JobsSubmitted((running,))], now_ms=0, places_max=9)
    core.handle([JobsSubmitted((older,))], now_ms=1, places_max=9)
    core.handle([JobsSubmitted((brief,))], now_ms=25 * HOUR_MS, places_max=9)
    assert core.reserved.job_id == 2
    now_ms = 25 * HOUR_MS + SLOWED * 60_000
    small = Waiting(4, 4, NEED, 50, 4, line=4, rules=Rules(timeout_ms=99 * HOUR_MS))
    core.handle([JobsSubmitted((small,))], now_ms=now_ms, places_max=9)
    assert core.reserved.job_id == 3
    assert core.handle([AssignmentEnded(1, 1, now_ms)], now_ms=now_ms + 1, places_max=9)[0] == Place(3, 1)


def test_a_core_that_begins_anew_knows_from_the_ids_how_long_jobs_have_waited():
    made, wall_ms = [0, 100, 5_000, 5_000, 5_001, 9_000], EPOCH_MS + 10_000
    clock = iter([EPOCH_MS + at_ms for at_ms in made])
    source = IdSource(3, lambda: next(clock))
    ids = [source.next() for _ in made]
    assert [made_ms(job_id) - EPOCH_MS for job_id in ids] == made
    core = Scheduler()
    core.date(ids, wall_ms, 1_000_000)
    jobs = tuple(Waiting(job_id, 1, NEED, 50, 1) for job_id in ids)
    core.handle([JobsSubmitted(jobs)], now_ms=1_000_000, places_max=0)
    waited = [1_000_000 - core.backlog.since(job_id) for job_id in ids]
    assert all(abs(seen - (10_000 - at_ms)) <= DATED_MS for seen, at_ms in zip(waited, made, strict=True))
    assert waited == sorted(waited, reverse=True)


def test_what_waits_keeps_its_age_and_what_does_not_costs_no_memory():
    backlog, count = Backlog(1_000_000), 20 * MARKS_KEPT
    waits = {count // 2, count - 7}
    for number in range(1, count + 1):  # most are placed at once
        backlog.add(Waiting(number, 1, NEED, 50, 1), now_ms=number)
        if number not in waits:
            backlog.remove(number)
    assert [backlog.since(number) for number in range(count // 2, count + 1)] == [*range(count // 2, count + 1)]
    backlog.remove(count // 2)
    for number in range(count + 1, 2 * count + 1):
        backlog.add(Waiting(number, 1, NEED, 50, 1), now_ms=number)
        backlog.remove(number)
    assert backlog.since(count - 7) == count - 7
    for number in (1, 77, count // 3, count // 2):  # were a worker lost, these could come back
        assert 0 <= number - backlog.since(number) <= (2 * count - number) / 100


@pytest.mark.parametrize("jobs", [MARKS_KEPT * 4, MARKS_KEPT * 40])
def test_marks_of_what_was_placed_at_once_stay_few(jobs):
    backlog = Backlog(10)
    for number in range(1, jobs + 1):
        backlog.add(Waiting(number, 1, NEED, 50, 1), now_ms=250 * number)
        backlog.remove(number)
    assert len(backlog._marks) <= 2 * MARKS_KEPT


@pytest.mark.parametrize("ids", [[], [1 << 62], [1, 2, 3]])
def test_ids_from_the_future_and_ids_that_are_none_of_ours_do_no_harm(ids):
    core = Scheduler()
    core.date(ids, EPOCH_MS, 5)
    core.handle([JobsSubmitted(tuple(Waiting(job_id, 1, NEED, 50, 1) for job_id in ids))], now_ms=6, places_max=0)
    assert all(5 <= core.backlog.since(job_id) <= 6 for job_id in ids)
