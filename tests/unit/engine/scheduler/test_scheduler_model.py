"""The Scheduler's core against a model that looks at every job and every worker each time, under any sequence of news."""

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
    Place,
    PlacementVoid,
    Resync,
    Revoke,
    ShapeWaits,
    StopWanted,
    WorkerChanged,
    WorkerJoined,
    WorkerLost,
)

#: Shape number -> need. The last one fits nowhere, the last but one only on the largest worker.
NEEDS = [Need(1, 1), Need(1, 4), Need(3, 1), Need(2, 2, 1), Need(8, 8, 0, 1), Need(99, 1)]
CAPACITIES = [Need(2, 2), Need(4, 4), Need(4, 8, 2), Need(8, 8, 1, 1), NOTHING]

JOBS = st.integers(1, 30)
WORKERS = st.integers(1, 5)
WAITING = st.builds(
    lambda job, shape, priority: Waiting(job, shape, NEEDS[shape], priority, user_id=1),
    JOBS, st.integers(0, len(NEEDS) - 1), st.sampled_from([0, 50, 100]),
)  # fmt: skip


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

    @rule(jobs=st.lists(WAITING, max_size=8), due=st.booleans())
    def submit(self, jobs, due):
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

    @rule(data=st.data(), void=st.booleans())
    def end(self, data, void):
        if self.placed:
            job = data.draw(st.sampled_from(sorted(self.placed)))
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
            if isinstance(effect, ShapeWaits):
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
            del self.told[said.shape]  # only what was told is taken back
        else:
            self.told[said.shape] = said.reason

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
        assert {job: worker for job, worker in cluster.placed.items()} == self.placed
        assert {worker: machine.free for worker, machine in cluster.machines.items()} == {
            worker: self._free(worker) for worker in self.views
        }
        assert len(self.core.backlog) == len(self.waiting)
        assert not self.core.wants_resync

    @rule()
    def say_nothing(self):
        self.turn(0, 1)


TestSchedulerAndList = SchedulerAndList.TestCase
TestSchedulerAndList.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)


def test_a_resync_is_passed_on_to_the_shell():
    core = Scheduler()
    core.handle([Resync()], now_ms=0, places_max=1)
    assert core.wants_resync
