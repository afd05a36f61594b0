"""Single conversations with the Scheduler's core: news in, decisions out."""

import pytest

from engine.scheduler.placement import REPORT_MS, Scheduler
from swarmsync.model.job import Waiting
from swarmsync.model.lifecycle import Eligibility, Liveness, WaitReason
from swarmsync.model.resources import Need
from swarmsync.model.worker import WorkerView
from swarmsync.protocol.messages import (
    AssignmentEnded,
    JobsSubmitted,
    LineWaits,
    Place,
    PlacementVoid,
    Revoke,
    StopWanted,
    WorkerChanged,
    WorkerJoined,
    WorkerLost,
)

ONE, TWO = Need(1_000, 1 << 30), Need(2_000, 1 << 30)


def joined(worker_id, cpus, holds=(), **more):
    return WorkerJoined(WorkerView(worker_id, f"w{worker_id}", Need(cpus * 1_000, cpus << 34, **more)), tuple(holds))


def submitted(*job_ids, need=ONE, shape=1, priority=50):
    return JobsSubmitted(tuple(Waiting(job_id, shape, need, priority, 1) for job_id in job_ids))


def turn(core, *events, now_ms=0, places_max=100):
    return core.handle(events, now_ms=now_ms, places_max=places_max)


@pytest.fixture
def core():
    return Scheduler()


def test_a_job_goes_to_the_worker_that_it_fits(core):
    assert turn(core, joined(1, cpus=4), submitted(7)) == [Place(7, 1)]


def test_among_workers_of_the_same_proportions_the_tightest_fit_is_taken_also_after_room_came_back(core):
    turn(core, joined(1, cpus=8), joined(2, cpus=4), joined(3, cpus=2))
    assert turn(core, submitted(1)) == [Place(1, 3)]
    assert turn(core, submitted(2, 3)) == [Place(2, 3), Place(3, 2)]
    assert turn(core, AssignmentEnded(1, 3), AssignmentEnded(2, 3), AssignmentEnded(3, 2)) == []
    assert turn(core, submitted(4)) == [Place(4, 3)]


def test_room_that_grows_while_a_line_waits_makes_a_looser_fit(core):
    turn(core, joined(1, cpus=5), joined(2, cpus=4), submitted(1, 2, 3, 4, need=TWO, shape=2))
    assert turn(core, submitted(9, 10, 11, shape=1), places_max=1) == [Place(9, 1)]
    assert turn(core, submitted(12), AssignmentEnded(1, 2), AssignmentEnded(2, 2), places_max=0) == []
    assert turn(core, AssignmentEnded(9, 1), places_max=1) == [Place(10, 1)]


def test_work_without_gpus_keeps_off_the_gpus(core):
    assert turn(core, joined(1, cpus=2, gpus=1), joined(2, cpus=64), submitted(1)) == [Place(1, 2)]
    assert turn(core, submitted(2, need=Need(1_000, 1, gpus=1), shape=2)) == [Place(2, 1)]


def test_the_most_urgent_goes_first_then_of_those_that_came_together_the_widest_then_the_oldest(core):
    news = [submitted(4, 2), submitted(9, priority=80), submitted(1, priority=20), submitted(3, need=TWO, shape=2)]
    assert [place.job_id for place in turn(core, joined(1, cpus=64), *news)] == [9, 3, 2, 4, 1]


def test_a_small_job_passes_a_larger_one_that_fits_nowhere(core):
    effects = turn(core, joined(1, cpus=1), submitted(1, need=TWO, shape=2), submitted(2, shape=1))
    assert Place(2, 1) in effects


def test_what_has_no_room_in_the_ring_stays_undecided(core):
    assert turn(core, joined(1, cpus=4), submitted(1, 2, 3), places_max=0) == []
    assert turn(core, places_max=2) == [Place(1, 1), Place(2, 1)]
    assert turn(core) == [Place(3, 1)]


def test_a_repeat_of_placed_or_waiting_jobs_changes_nothing(core):
    turn(core, joined(1, cpus=1), submitted(1, 2))
    assert turn(core, submitted(1, 2), submitted(2)) == []
    assert turn(core, AssignmentEnded(1, 1)) == [Place(2, 1), LineWaits(1, None, "")]


def test_a_job_that_ended_may_be_queued_again(core):
    turn(core, joined(1, cpus=1), submitted(1))
    assert turn(core, AssignmentEnded(1, 1), submitted(1)) == [Place(1, 1)]


def test_a_changed_priority_counts_from_the_next_turn(core):
    turn(core, joined(1, cpus=1), submitted(1, 2, 3))
    turn(core, submitted(3, priority=90))
    effects = turn(core, AssignmentEnded(1, 1), now_ms=REPORT_MS)
    assert effects[0] == Place(3, 1)
    assert len(core.backlog) == 1


def test_news_of_unknown_jobs_and_workers_is_harmless(core):
    news = [
        AssignmentEnded(1, 1), PlacementVoid(1, 1), StopWanted((1, 2)), WorkerLost(1),
        WorkerChanged(1, Liveness.READY, Eligibility.OPEN),
    ]  # fmt: skip
    assert turn(core, *news) == []
    assert turn(core, joined(1, cpus=1), submitted(1)) == [Place(1, 1)]


def test_a_stop_takes_a_waiting_job_away_and_revokes_a_placed_one(core):
    turn(core, joined(1, cpus=1), submitted(1, 2))
    assert turn(core, StopWanted((1, 2)))[0] == Revoke(1)
    assert turn(core, AssignmentEnded(1, 1)) == []


def test_a_void_placement_frees_the_room_and_forgets_the_job(core):
    turn(core, joined(1, cpus=1), submitted(1, 2))
    assert turn(core, PlacementVoid(1, 1))[0] == Place(2, 1)
    assert turn(core, AssignmentEnded(2, 1)) == []


@pytest.mark.parametrize("holds_now", [(), ((1, ONE),)])
def test_a_worker_that_comes_back_keeps_what_was_placed_on_it_until_each_end_is_told(core, holds_now):
    turn(core, joined(1, cpus=2), submitted(1, 2))
    assert turn(core, joined(1, cpus=2, holds=holds_now), submitted(3))[-1].reason is WaitReason.RESOURCES
    assert turn(core, AssignmentEnded(1, 1))[0] == Place(3, 1)


def test_what_a_worker_brings_along_takes_room_until_it_ends(core):
    turn(core, joined(1, cpus=1, holds=[(5, ONE)]), submitted(6))
    assert core.cluster.placed == {5: 1}
    assert turn(core, AssignmentEnded(5, 1))[0] == Place(6, 1)


def test_contradicting_news_of_one_job_never_loses_room(core):
    """A worker says that it holds a job which is queued here: the row decides, and the room comes back either way."""
    turn(core, joined(1, cpus=1), submitted(1, 2))
    turn(core, joined(1, cpus=4, holds=[(2, ONE)]))
    turn(core, PlacementVoid(2, 1), AssignmentEnded(2, 1), AssignmentEnded(1, 1))
    assert core.cluster.machines[1].free == core.cluster.machines[1].view.capacity


def test_a_suspect_or_lost_worker_gets_nothing_until_it_is_ready_again(core):
    turn(core, joined(1, cpus=2), submitted(1))
    turn(core, WorkerChanged(1, Liveness.SUSPECT, Eligibility.OPEN))
    assert [type(effect) for effect in turn(core, submitted(2))] == [LineWaits]
    turn(core, WorkerLost(1), now_ms=REPORT_MS)
    effects = turn(core, WorkerChanged(1, Liveness.READY, Eligibility.OPEN), now_ms=REPORT_MS)
    assert effects == [Place(2, 1), LineWaits(1, None, "")]


def test_a_shape_is_told_once_and_again_only_when_its_sentence_changes(core):
    assert turn(core, submitted(1, 2)) == [LineWaits(1, WaitReason.NO_WORKERS, "no worker has joined yet", 2)]
    assert turn(core, submitted(3), now_ms=5 * REPORT_MS) == []
    (said,) = turn(core, joined(1, cpus=0), now_ms=6 * REPORT_MS)
    assert (said.reason, said.jobs) == (WaitReason.UNSATISFIABLE, 3)


def test_a_changed_sentence_waits_until_the_last_one_is_a_second_old(core):
    turn(core, submitted(1), now_ms=0)
    assert turn(core, joined(1, cpus=0), now_ms=REPORT_MS - 1) == []
    (said,) = turn(core, now_ms=REPORT_MS)
    assert said.reason is WaitReason.UNSATISFIABLE


def test_a_shape_that_waits_no_more_is_taken_back(core):
    turn(core, submitted(1))
    assert turn(core, StopWanted((1,))) == [LineWaits(1, None, "")]
    assert turn(core, joined(1, cpus=1), submitted(2), now_ms=REPORT_MS) == [Place(2, 1)]


def test_nothing_is_kept_of_shapes_without_jobs(core):
    turn(core, joined(1, cpus=64))
    for shape in range(50):
        turn(core, submitted(shape, shape=shape))
        turn(core, AssignmentEnded(shape, 1))
    books = core.books
    assert (core.backlog.lines, core.cluster.shapes, core.cluster.placed, books.assigned, books.awake) == (
        {},
        {},
        {},
        {},
        {},
    )
    assert core.cluster.machines[1].absent == {}


def test_a_full_backlog_asks_for_another_look_at_the_rows_once_there_is_room():
    core = Scheduler(backlog_jobs_max=4)
    turn(core, submitted(1, 2, 3, 4, 5))
    assert len(core.backlog) == 4
    assert not core.wants_resync  # a look now would bring nothing
    turn(core, joined(1, cpus=1), now_ms=REPORT_MS)
    assert not core.wants_resync
    turn(core, AssignmentEnded(1, 1), now_ms=REPORT_MS)
    assert core.wants_resync


def test_a_known_job_fits_into_a_full_backlog():
    core = Scheduler(backlog_jobs_max=1)
    turn(core, submitted(1), submitted(1, priority=90), submitted(1))
    assert len(core.backlog) == 1
    assert turn(core, joined(1, cpus=4), now_ms=REPORT_MS)[0] == Place(1, 1)
