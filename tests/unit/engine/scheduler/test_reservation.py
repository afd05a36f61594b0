"""Which worker is kept for a job that waits for room, where so many jobs are placed that not all are looked at always."""

import pytest

from engine.scheduler.keeping import MANY_JOBS, MANY_WORKERS
from engine.scheduler.placement import Scheduler
from swarmsync.model import explanation
from swarmsync.model.job import Waiting
from swarmsync.model.limits import QueueLimits
from swarmsync.model.resources import Need
from swarmsync.model.rules import Rules
from swarmsync.model.worker import WorkerView
from swarmsync.protocol.messages import (
    Answer,
    Ask,
    AssignmentEnded,
    JobsSubmitted,
    LimitsChanged,
    Place,
    WorkerJoined,
)

DAY_MS, SECOND_MS = 86_400_000, 1_000
GIB = 1 << 30
FULL, FREE_SOON = 1, 2
URGENT = 5_000


def job(job_id, cpus_milli, timeout_ms, priority=50, queue="default"):
    line = (cpus_milli << 40) + (timeout_ms << 8) + 2 * priority + (queue == "default")
    rules = Rules(timeout_ms=timeout_ms)
    return Waiting(job_id, cpus_milli, Need(cpus_milli, 1 << 20), priority, 1, queue, line, rules)


class Cluster:
    """One worker full of small jobs for a day, which lacks least; another that is free within two seconds.

    And so many more that are too small for what comes.
    """

    def __init__(self, too_small):
        self.core, self.now_ms, self.placed = Scheduler(), 0, {}
        self.turn(WorkerJoined(WorkerView(FULL, "full", Need(64_000, 640 * GIB))))
        self.turn(JobsSubmitted(tuple(job(number, 75, DAY_MS) for number in range(1, MANY_JOBS + 100))))
        left = self.core.cluster.machines[FULL].cpus_milli
        self.turn(JobsSubmitted((job(4_000, left, DAY_MS),)))
        self.turn(WorkerJoined(WorkerView(FREE_SOON, "free soon", Need(32_000, 640 * GIB))))
        self.turn(JobsSubmitted((job(4_001, 16_000, SECOND_MS), job(4_002, 16_000, 2 * SECOND_MS))))
        small = Need(500, GIB)
        self.turn(*[WorkerJoined(WorkerView(number, f"w{number}", small)) for number in range(10, 10 + too_small)])
        assert {self.placed[4_000], self.placed[4_001], self.placed[4_002]} == {FULL, FREE_SOON}

    def turn(self, *events):
        effects = self.core.handle(events, now_ms=self.now_ms, places_max=5_000)
        self.placed |= {effect.job_id: effect.worker_id for effect in effects if isinstance(effect, Place)}
        return effects

    def ends(self, job_id, at_ms):
        self.now_ms = at_ms
        self.turn(AssignmentEnded(job_id, FREE_SOON, at_ms))


WANTED = job(URGENT, 32_000, DAY_MS, priority=90)
OTHERS = tuple(job(number, 1_000, DAY_MS, priority=10) for number in range(6_000, 6_100))


@pytest.fixture(params=[0, MANY_WORKERS])
def cluster(request):
    return Cluster(request.param)


@pytest.mark.parametrize("turns", [[(WANTED,), OTHERS], [(WANTED, *OTHERS)], [OTHERS, (WANTED,)]])
def test_others_do_not_pass_an_urgent_job_on_the_worker_that_has_room_first(cluster, turns):
    for jobs in turns:
        cluster.now_ms += 200
        cluster.turn(JobsSubmitted(jobs))
    assert (cluster.core.reserved.job_id, cluster.core.reserved.worker_id) == (URGENT, FREE_SOON)
    cluster.ends(4_001, SECOND_MS)
    assert not any(other.job_id in cluster.placed for other in OTHERS)
    cluster.ends(4_002, 2 * SECOND_MS)
    assert cluster.placed[URGENT] == FREE_SOON


def test_while_nobody_could_pass_any_worker_is_kept_and_whoever_comes_a_moment_later_passes_nobody(cluster):
    cluster.turn(JobsSubmitted((WANTED,)))
    assert cluster.core.reserved.rough
    cluster.now_ms += 1
    cluster.turn(JobsSubmitted(OTHERS))
    assert (cluster.core.reserved.worker_id, cluster.core.reserved.rough) == (FREE_SOON, False)


def test_while_nobody_could_pass_whoever_asks_hears_of_the_right_worker(cluster):
    cluster.turn(JobsSubmitted((WANTED,)))
    assert cluster.core.reserved.rough
    cluster.turn(Ask("r", "plan", OTHERS[0]))
    assert (cluster.core.reserved.worker_id, cluster.core.reserved.rough) == (FREE_SOON, False)
    (answer,) = [effect for effect in cluster.turn(Ask("r", "why", WANTED)) if isinstance(effect, Answer)]
    assert explanation.read(answer.text).start_in_ms == 2 * SECOND_MS


def test_a_worker_is_kept_for_whoever_stands_behind_a_line_that_met_its_limit():
    core, placed = Scheduler(), {}

    def turn(now_ms, *events):
        effects = core.handle(events, now_ms=now_ms, places_max=100)
        placed.update({effect.job_id: effect.worker_id for effect in effects if isinstance(effect, Place)})

    workers = [WorkerJoined(WorkerView(number, f"w{number}", Need(8_000, GIB))) for number in (1, 2)]
    turn(0, LimitsChanged((QueueLimits("one at a time", max_running=1),), ()), *workers)
    turn(1, JobsSubmitted(tuple(job(number, 1_000, SECOND_MS, 10) for number in range(1, 17))))
    turn(2, JobsSubmitted((job(20, 8_000, SECOND_MS, 90, "one at a time"),)))  # sleeps until a worker is empty
    behind = job(22, 8_000, SECOND_MS, 80)
    turn(3, JobsSubmitted((job(21, 1_000, DAY_MS, 95, "one at a time"), behind)))
    turn(4, AssignmentEnded(1, placed[1], 3))
    assert 21 in placed  # and so the gate is closed to the one that sleeps before the other
    turn(5, JobsSubmitted(tuple(job(number, 1_000, SECOND_MS, 10) for number in range(30, 60))))
    assert core.reserved.job_id == behind.job_id


@pytest.mark.parametrize("others", [0, MANY_WORKERS])
def test_lines_that_fit_no_worker_let_one_be_kept_for_who_could_run(others):
    """Also while workers come again with news of them, and where so many are there that not all are looked at always."""
    core, now_ms = Scheduler(), 0
    workers = [WorkerView(number, f"w{number}", Need(4_000, GIB)) for number in range(1, 3 + others)]

    def turn(*events):
        core.handle(events, now_ms=now_ms, places_max=5_000)

    turn(*[WorkerJoined(view) for view in workers], JobsSubmitted(tuple(job(n, 3_000, DAY_MS) for n in range(1, 700))))
    turn(JobsSubmitted(tuple(job(1_000 + n, 8_000 + n, DAY_MS, priority=90) for n in range(20))))
    wide = job(2_000, 4_000, DAY_MS, priority=80)
    turn(JobsSubmitted((wide,)))
    for number in range(1, 100):
        now_ms += 100
        view = workers[number % len(workers)]
        again = WorkerView(view.worker_id, view.name, view.capacity, images=(str(number),))
        holds = tuple(core.cluster.machines[view.worker_id].holds.items())
        turn(WorkerJoined(again, holds), JobsSubmitted((job(3_000 + number, 1_000, SECOND_MS, priority=10),)))
        assert core.reserved is not None
        assert core.reserved.job_id == wide.job_id
