"""For how long guesses of run times may put off the job that a worker is kept for.

One worker of four cpus has a job that is expected to take a second, for so long took its user's last two; one before
them took an hour. A job that wants all four cpus waits for it from the start, and small jobs pass.
"""

import pytest

from engine.scheduler.backlog import Terms
from engine.scheduler.patience import PATIENCE
from engine.scheduler.placement import Recalled, Scheduler
from engine.scheduler.ranking import DEFAULT, POLICIES
from swarmsync.model import explanation
from swarmsync.model.job import Waiting
from swarmsync.model.lifecycle import WaitReason
from swarmsync.model.resources import Need
from swarmsync.model.rules import Rules
from swarmsync.model.worker import WorkerView
from swarmsync.protocol.messages import Answer, Ask, AssignmentEnded, JobsSubmitted, Place, StopWanted, WorkerJoined

SECOND_MS, MINUTE_MS, HOUR_MS = 1_000, 60_000, 3_600_000
#: From then on emptying the worker takes a quarter of the wait, if the long job takes an hour as well.
STRICT_MS = PATIENCE * HOUR_MS // (PATIENCE + 1)
WORKER = WorkerView(1, "w1", Need(4_000, 1 << 30, 2))
LONG, WIDE = 4, 5


def job(job_id, user_id=1, cpus_milli=1_000, timeout_ms=None, gpus=0, priority=50):
    rules = None if timeout_ms is None else Rules(timeout_ms=timeout_ms)
    line = (user_id << 40) + (cpus_milli << 20) + (timeout_ms or 0) + gpus
    return Waiting(job_id, line, Need(cpus_milli, 1 << 20, gpus), priority, user_id, "default", line, rules)


class Cluster:
    def __init__(self, policy=DEFAULT, long=None, wide=None):
        self.core, self.now_ms, self.placed = Scheduler(policy=policy), 0, []
        self.turn(WorkerJoined(WORKER))
        for job_id, ran_ms in enumerate((HOUR_MS, SECOND_MS, SECOND_MS), 1):
            self.runs(job_id, ran_ms)
        self.began_ms = self.now_ms
        self.turn(JobsSubmitted((long or job(LONG),)))
        self.turn(JobsSubmitted((wide or job(WIDE, user_id=2, cpus_milli=4_000),)))
        assert self.placed == [1, 2, 3, LONG]
        self.runs(10, SECOND_MS)  # and so the forecast for the wide one is made

    def turn(self, *events):
        effects = self.core.handle(events, now_ms=self.now_ms, places_max=100)
        self.placed += [effect.job_id for effect in effects if isinstance(effect, Place)]
        return effects

    def at(self, waited_ms):
        """A turn without news, when the wide job has waited for so long."""
        self.now_ms = self.began_ms + waited_ms
        self.turn()

    def submit(self, job_id, **kwargs):
        """Submit one; return whether it was placed at once."""
        self.turn(JobsSubmitted((job(job_id, **kwargs),)))
        return job_id in self.placed

    def runs(self, job_id, ran_ms, **kwargs):
        assert self.submit(job_id, **kwargs)
        self.now_ms += ran_ms
        self.ends(job_id, ran_ms)

    def ends(self, job_id, ran_ms):
        self.turn(AssignmentEnded(job_id, 1, ran_ms))

    def asks(self, waiting):
        (answer,) = [effect for effect in self.turn(Ask("r", "why", waiting)) if isinstance(effect, Answer)]
        return explanation.read(answer.text)


@pytest.fixture
def cluster():
    return Cluster()


def test_guesses_count_while_emptying_the_worker_takes_more_than_a_quarter_of_the_wait(cluster):
    cluster.at(STRICT_MS - MINUTE_MS)
    cluster.runs(11, SECOND_MS)


def test_after_that_only_who_has_a_timeout_passes(cluster):
    cluster.at(STRICT_MS)
    assert not cluster.submit(11)
    assert cluster.submit(12, timeout_ms=10 * SECOND_MS)
    cluster.ends(12, SECOND_MS)
    cluster.ends(LONG, HOUR_MS)
    assert cluster.placed[-1] == WIDE


def test_who_has_a_timeout_passes_only_if_it_is_over_before_the_worker_may_be_empty(cluster):
    cluster.at(STRICT_MS)
    assert not cluster.submit(11)
    assert not cluster.submit(12, timeout_ms=HOUR_MS - STRICT_MS + MINUTE_MS)
    assert cluster.submit(13, timeout_ms=HOUR_MS - STRICT_MS - MINUTE_MS)


def test_who_takes_nothing_that_the_worker_is_kept_for_passes_for_as_long_as_it_likes():
    cluster = Cluster(long=job(LONG, gpus=1), wide=job(WIDE, user_id=2, gpus=2))
    cluster.at(STRICT_MS)
    assert not cluster.submit(11, gpus=1)
    assert cluster.submit(12, cpus_milli=2_000)
    assert not cluster.submit(13)  # the last of the cpus
    cluster.ends(LONG, HOUR_MS)
    assert WIDE in cluster.placed


def test_orders_that_others_published_set_no_bound():
    assert [name for name, policy in POLICIES.items() if policy.bounds] == ["default"]
    cluster = Cluster(DEFAULT._replace(bounds=False))
    cluster.at(STRICT_MS)
    cluster.runs(11, SECOND_MS)


def test_a_core_that_lets_a_worker_empty_may_leave_pulses_out(cluster):
    cluster.at(STRICT_MS)
    assert not cluster.submit(11)
    assert not cluster.submit(12, user_id=3, cpus_milli=4_000)
    cluster.at(STRICT_MS + 2 * SECOND_MS)
    assert not cluster.core.restless(cluster.now_ms)


def test_what_takes_longer_than_was_thought_possible_is_not_waited_for(cluster):
    """It may be a service. Who stood still for it goes on by itself, and others after that."""
    cluster.at(STRICT_MS)
    assert not cluster.submit(11)
    cluster.at(HOUR_MS + SECOND_MS)
    assert 11 in cluster.placed
    cluster.ends(11, SECOND_MS)
    for hours in range(2, 100):
        cluster.at(hours * HOUR_MS)
        cluster.runs(20 + hours, SECOND_MS)


def test_the_worker_that_empties_is_kept_though_another_is_expected_to_be_free_sooner_by_now(cluster):
    whole = job(50, user_id=9, cpus_milli=4_000, timeout_ms=STRICT_MS + 50 * MINUTE_MS)
    terms = Terms(whole.need, 9, "default", whole.rules)
    cluster.core.recall([Recalled(50, 2, terms, cluster.now_ms - cluster.began_ms)], [], cluster.now_ms)
    cluster.turn(WorkerJoined(WorkerView(2, "w2", WORKER.capacity), ((50, whole.need),)))
    cluster.at(STRICT_MS)
    assert not cluster.submit(11)
    for minutes in range(1, 10):
        cluster.at(STRICT_MS + minutes * MINUTE_MS)
    assert 11 not in cluster.placed
    cluster.ends(LONG, HOUR_MS)
    assert WIDE in cluster.placed


def test_the_worker_that_is_empty_first_at_the_worst_is_kept_though_it_is_expected_to_be_later(cluster):
    whole = job(50, user_id=9, cpus_milli=4_000, timeout_ms=STRICT_MS + 20 * MINUTE_MS)
    terms = Terms(whole.need, 9, "default", whole.rules)
    cluster.core.recall([Recalled(50, 2, terms, cluster.now_ms - cluster.began_ms)], [], cluster.now_ms)
    cluster.turn(WorkerJoined(WorkerView(2, "w2", WORKER.capacity), ((50, whole.need),)))
    cluster.at(STRICT_MS - MINUTE_MS)
    assert cluster.core.reserved.worker_id == 2
    cluster.at(STRICT_MS + MINUTE_MS)
    assert (cluster.core.reserved.worker_id, cluster.core.reserved.strict) == (1, True)


def test_another_has_a_worker_kept_while_the_first_waits_for_what_has_run_as_long_as_it_waits(cluster):
    """The first can only run on the first worker, the other only on a second one."""
    cluster.turn(WorkerJoined(WorkerView(2, "w2", Need(3_000, 1 << 30, 8))))
    assert cluster.submit(50, user_id=8, gpus=8)
    second = job(51, user_id=9, cpus_milli=3_000, gpus=8, priority=40)
    cluster.turn(JobsSubmitted((second,)))
    assert cluster.core.reserved.job_id == WIDE
    for minutes in range(2, 30):
        cluster.at(minutes * MINUTE_MS)
    assert cluster.core.reserved.job_id == second.job_id
    cluster.turn(StopWanted((second.job_id,)))
    assert cluster.core.reserved.job_id == WIDE


def test_who_asks_is_told_that_a_timeout_would_help(cluster):
    cluster.at(STRICT_MS)
    assert not cluster.submit(11)
    (blocker,) = [entry for entry in cluster.asks(job(11)).blockers if entry.reason is WaitReason.RESERVED]
    assert "only jobs with a timeout" in blocker.message
    plan = cluster.asks(job(12, timeout_ms=10 * SECOND_MS))
    assert (plan.verdict, plan.worker) == ("now", "w1")
    assert cluster.asks(job(13)).verdict == "waits"


def test_an_answer_is_what_comes_true_also_before_somebody_was_held_up(cluster):
    cluster.at(STRICT_MS)
    assert cluster.asks(job(11)).verdict == "waits"
    assert not cluster.submit(11)


def test_a_core_that_begins_anew_remembers_how_long_others_passed(cluster):
    cluster.at(STRICT_MS)
    core = Scheduler()
    core.succeed(cluster.core, cluster.now_ms)
    long = job(LONG)
    core.recall([Recalled(LONG, 1, cluster.core.books.assigned[LONG].terms, STRICT_MS)], [], cluster.now_ms)
    wide = job(WIDE, user_id=2, cpus_milli=4_000)
    cluster.core = core
    cluster.turn(WorkerJoined(WORKER, ((LONG, long.need),)), JobsSubmitted((wide,)))
    assert not cluster.submit(11)


def test_a_job_that_comes_again_waits_anew(cluster):
    cluster.at(STRICT_MS)
    cluster.ends(LONG, STRICT_MS)
    cluster.ends(WIDE, SECOND_MS)
    for job_id in range(20, 23):
        cluster.runs(job_id, SECOND_MS, user_id=7)
    assert cluster.submit(23, user_id=7)
    cluster.turn(JobsSubmitted((job(WIDE, user_id=2, cpus_milli=4_000),)))  # it is tried again
    cluster.runs(24, SECOND_MS, user_id=7)


def test_the_next_of_a_line_waits_anew_when_the_first_is_cancelled(cluster):
    cluster.at(STRICT_MS)
    cluster.turn(JobsSubmitted((job(11, user_id=2, cpus_milli=4_000),)))
    assert not cluster.submit(12)
    cluster.turn(StopWanted((WIDE,)))
    assert 12 in cluster.placed
