"""A backlog that is full leaves jobs in PostgreSQL: they must come in later, and not be read for again all the time."""

from engine.scheduler.placement import Scheduler
from swarmsync.model.job import Waiting
from swarmsync.model.resources import Need
from swarmsync.model.worker import WorkerView
from swarmsync.protocol.messages import JobsSubmitted, StopWanted, WorkerJoined

ONE = Need(1_000, 1 << 30)


def submitted(*job_ids):
    return JobsSubmitted(tuple(Waiting(job_id, 1, ONE, 50, 1) for job_id in job_ids))


def turn(core, *events, places_max=100):
    return core.handle(events, now_ms=0, places_max=places_max)


def test_while_it_is_full_nothing_is_read_again():
    core = Scheduler(backlog_jobs_max=4)
    turn(core, submitted(1, 2, 3, 4, 5))
    assert not core.wants_resync


def test_it_is_read_again_once_half_of_it_has_gone():
    core = Scheduler(backlog_jobs_max=4)
    turn(core, submitted(1, 2, 3, 4, 5))
    turn(core, StopWanted((1,)))
    assert not core.wants_resync
    turn(core, WorkerJoined(WorkerView(1, "w1", ONE)))
    assert core.wants_resync


def test_a_backlog_read_to_its_brim_may_have_left_some_out():
    """A load asks for as many rows as the backlog takes: then nothing says that there are more."""
    core = Scheduler(backlog_jobs_max=4)
    turn(core, submitted(1, 2, 3, 4), places_max=0)
    turn(core, StopWanted((1, 2)))
    assert core.wants_resync


def test_a_load_to_the_brim_of_which_some_are_placed_already_may_have_left_some_out():
    """Placed and waiting jobs are read one after the other, so a job may be in both: simulation seed 6113."""
    core = Scheduler(backlog_jobs_max=4)
    turn(core, WorkerJoined(WorkerView(1, "w1", ONE), ((1, ONE),)), submitted(1, 2, 3, 4), places_max=0)
    turn(core, StopWanted((2,)))
    assert core.wants_resync


def test_a_backlog_that_was_never_full_is_not_read_again():
    core = Scheduler(backlog_jobs_max=4)
    turn(core, submitted(1, 2, 3))
    turn(core, StopWanted((1, 2, 3)))
    assert not core.wants_resync
