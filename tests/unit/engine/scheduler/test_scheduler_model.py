"""The Scheduler's core against a model that looks at every job and every worker each time, under any sequence of news."""

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from engine.scheduler import keeping
from engine.scheduler.fair_share import dominant
from engine.scheduler.placement import REPORT_MS, Scheduler
from engine.scheduler.ranking import Standing, aged
from engine.scheduler.run_times import GUESS_MS
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
        self.kept_before = None

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
        self.kept_before = self.core.reserved
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
            self._check_reservation()
        for effect in effects:
            if isinstance(effect, LineWaits):
                self._note(effect)
        if len(places) < places_max and step_ms >= REPORT_MS:
            heads = {}
            for job in sorted(self.waiting.values(), key=lambda job: (job.priority, -job.job_id)):
                heads[job.shape] = job
            assert self.told == {shape: self._reason(job) for shape, job in heads.items()}

    def _check_and_take(self, place):
        job = self.waiting.pop(place.job_id)
        assert place.worker_id in self._roomy(job.need)
        for other in self.waiting.values():
            if self._rank(other) < self._rank(job):
                assert not self._fitting(other.need, self.kept_before), f"{other} is more urgent than {job} and fits"
        self.placed[job.job_id] = place.worker_id
        self.holds[place.worker_id][job.job_id] = job.need

    def _note(self, said):
        assert (said.reason is None) == (said.message == "")
        if said.reason is None:
            del self.told[said.line]  # only what was told is taken back
        else:
            self.told[said.line] = said.reason

    # ------------------------------------------------ the dumb answers

    def _rank(self, job):
        """All jobs are one user's, and nothing is known of how long they run: age and width are what is left."""
        books = self.core.books
        came_ms, size = books.backlog.since(job.job_id), dominant(job.need, books.cluster.total)
        return aged(Standing(job.priority, job.job_id, came_ms, GUESS_MS, GUESS_MS, False, size, 0.0, self.now_ms))

    def _free(self, worker):
        free = self.views[worker].capacity
        for need in self.holds[worker].values():
            free = free.minus(need)
        return free

    def _fitting(self, need, *more):
        """The workers with room, but for the one that is (or was, in this turn) kept for a more urgent job."""
        kept = {reserved.worker_id for reserved in (self.core.reserved, *more) if reserved is not None}
        return [worker for worker in self._roomy(need) if worker not in kept]

    def _roomy(self, need):
        return [worker for worker, view in self.views.items() if view.assignable and need.fits(self._free(worker))]

    def _hopeful(self, need):
        return any(view.assignable and need.fits(view.capacity) for view in self.views.values())

    def _check_reservation(self):
        """The most urgent job that waits for room, and could have it some day, has a worker reserved."""
        hopeful = [job for job in self.waiting.values() if self._hopeful(job.need)]
        kept = self.core.reserved
        assert (kept is None) == (not hopeful)
        if kept is not None:
            first = min(hopeful, key=self._rank)
            assert kept.job_id == first.job_id
            assert not self._roomy(first.need)
            assert self.views[kept.worker_id].assignable
            assert first.need.fits(self.views[kept.worker_id].capacity)

    def _reason(self, job):
        need = job.need
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
        if any(other.priority > job.priority and self._hopeful(other.need) for other in self.waiting.values()):
            return WaitReason.PRIORITY
        return WaitReason.RESERVED if self._roomy(need) else WaitReason.RESOURCES

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


@pytest.mark.parametrize("many_jobs", [0, keeping.MANY_JOBS])
@pytest.mark.parametrize("seed", range(30))
def test_a_busy_day(seed, many_jobs, monkeypatch):
    """The same model under many more, and more likely, events than Hypothesis tries."""
    monkeypatch.setattr(keeping, "MANY_JOBS", many_jobs)
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
