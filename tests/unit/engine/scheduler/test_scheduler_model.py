"""The Scheduler's core against a model that looks at every job and every worker each time, under any sequence of news."""

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from engine.scheduler.placement import REPORT_MS, Scheduler
from swarmsync.model.job import Waiting
from swarmsync.model.lifecycle import Eligibility, Liveness, WaitReason
from swarmsync.model.resources import NOTHING, Need
from swarmsync.model.worker import WorkerView
from swarmsync.protocol.messages import (
    AssignmentEnded,
    JobsDue,
    JobsSubmitted,
    LineWaits,
    Place,
    PlacementVoid,
    Resync,
    Revoke,
    StopWanted,
    WorkerChanged,
    WorkerJoined,
    WorkerLost,
)

#: Shape number -> need. The last one fits nowhere, the last but one only on the largest worker.
NEEDS = [Need(1, 1), Need(3, 1), Need(1, 1, 1), Need(4, 4, 0, 1), Need(99, 1)]
CAPACITIES = [Need(2, 2), Need(4, 4, 2), Need(4, 4, 0, 1), NOTHING]

JOBS = st.integers(1, 12)
WORKERS = st.integers(1, 3)
SHAPES = st.sampled_from([0, 0, 1, 1, 2, 2, 3, 4])
PRIORITIES = st.sampled_from([0, 50, 50, 100])


class SchedulerAndList(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.core = Scheduler()
        self.now_ms = 0
        self.events = []
        self.waiting = {}  # job -> Waiting
        self.placed = {}  # job -> worker
        self.views = {}  # worker -> WorkerView
        self.holds = {}  # worker -> {job: need}
        self.told = {}  # shape -> reason
        self.revokes = []

    # ------------------------------------------------ news, told to the core at the next turn

    @rule(job_ids=st.lists(JOBS, max_size=8), shape=SHAPES, priority=PRIORITIES, due=st.booleans())
    def submit(self, job_ids, shape, priority, due):
        jobs = [Waiting(job_id, shape, NEEDS[shape], priority, user_id=1) for job_id in job_ids]
        self.events.append((JobsDue if due else JobsSubmitted)(tuple(jobs)))
        for job in jobs:
            if job.job_id not in self.placed:
                self.waiting[job.job_id] = job

    @rule(jobs=st.lists(JOBS, max_size=4))
    def stop(self, jobs):
        self.events.append(StopWanted(tuple(jobs)))
        for job in jobs:
            if job in self.placed:
                self.revokes.append(job)
            self.waiting.pop(job, None)

    @rule(worker=WORKERS, capacity=st.sampled_from(CAPACITIES), brought=st.lists(JOBS, max_size=2))
    def join(self, worker, capacity, brought):
        held = {job: NEEDS[0] for job in brought if job not in self.waiting and self.placed.get(job, worker) == worker}
        view = WorkerView(worker, f"w{worker}", capacity)
        self.events.append(WorkerJoined(view, tuple(held.items())))
        self.views[worker] = view
        mine = self.holds.setdefault(worker, {})
        for job, need in held.items():
            self.placed[job] = worker
            mine[job] = need

    @rule(worker=WORKERS, liveness=st.sampled_from(Liveness), eligibility=st.sampled_from(Eligibility))
    def change(self, worker, liveness, eligibility):
        self.events.append(WorkerChanged(worker, liveness, eligibility))
        self._stand(worker, liveness, eligibility)

    @rule(worker=WORKERS)
    def reopen(self, worker):
        self.change(worker, Liveness.READY, Eligibility.OPEN)

    @rule(worker=WORKERS)
    def lose(self, worker):
        self.events.append(WorkerLost(worker))
        if worker in self.views:
            self._stand(worker, Liveness.LOST, self.views[worker].eligibility)

    @rule(places=st.lists(st.integers(0, 11), min_size=1, max_size=3), void=st.booleans())
    def end(self, places, void):
        for place in places:
            if self.placed:
                job = sorted(self.placed)[place % len(self.placed)]
                self._end(job, self.placed[job], void)

    @rule(job=JOBS, worker=WORKERS)
    def end_what_is_perhaps_not_there(self, job, worker):
        self._end(job, worker, void=False)

    def _end(self, job, worker, void):
        self.events.append((PlacementVoid if void else AssignmentEnded)(job, worker))
        if self.placed.get(job) == worker:
            del self.placed[job]
            del self.holds[worker][job]

    def _stand(self, worker, liveness, eligibility):
        if worker in self.views:
            old = self.views[worker]
            self.views[worker] = WorkerView(worker, old.name, old.capacity, {}, liveness, eligibility)

    # ------------------------------------------------ the turn

    @rule(places_max=st.sampled_from([0, 1, 3, 100, 100]), step_ms=st.sampled_from([1, REPORT_MS]))
    def turn(self, places_max, step_ms):
        self.now_ms += step_ms
        effects = self.core.handle(self.events, now_ms=self.now_ms, places_max=places_max)
        self.events = []
        assert [effect.job_id for effect in effects if isinstance(effect, Revoke)] == self.revokes
        self.revokes = []
        places = [effect for effect in effects if isinstance(effect, Place)]
        assert len(places) <= places_max
        for place in places:
            self._check_and_take(place)
        if len(places) < places_max:
            for job in self.waiting.values():
                assert not self._fitting(job.need), f"{job} fits and was not placed"
        for effect in effects:
            if isinstance(effect, LineWaits):
                self._note(effect)
        if len(places) < places_max and step_ms >= REPORT_MS:
            assert self.told == {job.shape: self._reason(job.need) for job in self.waiting.values()}

    def _check_and_take(self, place):
        job = self.waiting.pop(place.job_id)
        assert place.worker_id in self._fitting(job.need)
        for other in self.waiting.values():
            if (-other.priority, other.job_id) < (-job.priority, job.job_id):
                assert not self._fitting(other.need), f"{other} is more urgent than {job} and fits"
        self.placed[job.job_id] = place.worker_id
        self.holds[place.worker_id][job.job_id] = job.need

    def _note(self, said):
        assert (said.reason is None) == (said.message == "")
        if said.reason is None:
            del self.told[said.line]  # only what was told is taken back
        else:
            self.told[said.line] = said.reason

    # ------------------------------------------------ the dumb answers

    def _free(self, worker):
        free = self.views[worker].capacity
        for need in self.holds[worker].values():
            free = free.minus(need)
        return free

    def _fitting(self, need):
        return [worker for worker, view in self.views.items() if view.assignable and need.fits(self._free(worker))]

    def _reason(self, need):
        able = [view for view in self.views.values() if need.fits(view.capacity)]
        ready = [view for view in able if view.liveness is Liveness.READY]
        if not self.views:
            return WaitReason.NO_WORKERS
        if not able:
            return WaitReason.UNSATISFIABLE
        if not ready:
            return WaitReason.NO_WORKERS
        if not any(view.eligibility is Eligibility.OPEN for view in ready):
            return WaitReason.WORKERS_CORDONED
        return WaitReason.RESOURCES

    @invariant()
    def books_agree(self):
        if self.events:
            return
        cluster = self.core.cluster
        assert dict(cluster.placed.items()) == self.placed
        assert {worker: machine.free for worker, machine in cluster.machines.items()} == {
            worker: self._free(worker) for worker in self.views
        }
        assert len(self.core.backlog) == len(self.waiting)
        assert not self.core.wants_resync


TestSchedulerAndList = SchedulerAndList.TestCase
TestSchedulerAndList.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@pytest.mark.parametrize("seed", range(30))
def test_a_busy_day(seed):
    """The same model under many more, and more likely, events than Hypothesis tries."""
    chance = random.Random(seed)
    model = SchedulerAndList()
    for _ in range(200):
        kind = chance.random()
        if kind < 0.25:
            jobs = [chance.randint(1, 40) for _ in range(chance.randint(1, 8))]
            model.submit(
                jobs, chance.choice([0, 0, 1, 2, 3, 4]), chance.choice([0, 50, 100]), due=chance.random() < 0.2
            )
        elif kind < 0.50:
            model.end([chance.randint(0, 40) for _ in range(chance.randint(1, 5))], void=chance.random() < 0.1)
        elif kind < 0.60:
            worker = chance.randint(1, 5)
            model.join(worker, chance.choice(CAPACITIES), [chance.randint(1, 40)])
        elif kind < 0.66:
            model.change(chance.randint(1, 6), chance.choice(list(Liveness)), chance.choice(list(Eligibility)))
        elif kind < 0.72:
            model.reopen(chance.randint(1, 6))
        elif kind < 0.76:
            model.stop([chance.randint(1, 40), chance.randint(1, 40)])
        elif kind < 0.79:
            model.lose(chance.randint(1, 6))
        elif kind < 0.81:
            model.end_what_is_perhaps_not_there(chance.randint(1, 40), chance.randint(1, 6))
        else:
            model.turn(chance.choice([0, 1, 2, 100, 100]), chance.choice([1, REPORT_MS]))
        model.books_agree()


def test_a_resync_is_passed_on_to_the_shell():
    core = Scheduler()
    core.handle([Resync()], now_ms=0, places_max=1)
    assert core.wants_resync
