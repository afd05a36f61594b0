"""Situations in which a job waits for a known cause, and an oracle that looks at everything, slowly."""

import random

from msgspec import Struct

from engine.scheduler.placement import Scheduler
from swarmsync.model import explanation
from swarmsync.model.constraints import parse
from swarmsync.model.job import Waiting
from swarmsync.model.lifecycle import Eligibility, Liveness, WaitReason
from swarmsync.model.limits import QueueLimits, UserLimits
from swarmsync.model.resources import Need
from swarmsync.model.rules import Pace, Rules, Slots
from swarmsync.model.worker import WorkerView
from swarmsync.protocol.messages import (
    Answer,
    Ask,
    JobsSubmitted,
    LimitsChanged,
    LineWaits,
    Place,
    WorkerJoined,
)

W = WaitReason
GIB = 1 << 30
TARGET = 1_000_000


class Placed(Struct):
    job: Waiting
    worker_id: int


class World:
    """Tells the core what happens, and keeps books of its own."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.core = Scheduler()
        self.now_ms = 0
        self.workers = {}
        self.jobs = {}
        self.placed = {}
        self.queues, self.users = {}, {}
        self.starts = []  # (key, when)
        self.told = {}
        self.next_id = 1

    def turn(self, *events, places_max=1_000):
        effects = self.core.handle(events, now_ms=self.now_ms, places_max=places_max)
        for effect in effects:
            if isinstance(effect, Place):
                job = self.jobs[effect.job_id]
                self.placed[effect.job_id] = Placed(job, effect.worker_id)
                if job.rules is not None and job.rules.rate is not None:
                    self.starts.append((job.rules.rate.key, self.now_ms))
            if isinstance(effect, LineWaits):
                self.told[effect.line] = effect
        return effects

    def worker(self, cpus, memory_gib=64, labels=None, **standing):
        number = len(self.workers) + 1
        need = Need(cpus * 1000, memory_gib * GIB)
        self.workers[number] = WorkerView(number, f"w{number}", need, labels or {}, **standing)
        # The core owns the view that it is told: this one stays as it is.
        self.turn(WorkerJoined(WorkerView(number, f"w{number}", need, labels or {}, **standing)))
        return number

    def limits(self, queues=(), users=()):
        self.queues = {entry.name: entry for entry in queues}
        self.users = {entry.user_id: entry for entry in users}
        self.turn(LimitsChanged(tuple(queues), tuple(users)))

    def submit(self, cpus=1, *, user=1, queue="default", rules=None, priority=50, array_id=None, job_id=None):
        job_id = job_id or self.next_id
        self.next_id = max(self.next_id, job_id) + 1 if job_id < TARGET else self.next_id
        need = Need(cpus * 1000, GIB)
        line = hash((cpus, user, queue, rules, array_id)) & ((1 << 62) - 1)
        self.jobs[job_id] = Waiting(job_id, cpus, need, priority, user, queue, line, rules, array_id)
        self.turn(JobsSubmitted((self.jobs[job_id],)))
        return job_id

    def why(self, job_id):
        effects = self.turn(Ask("r", "why", self.jobs[job_id]), places_max=0)
        (answer,) = [effect for effect in effects if isinstance(effect, Answer)]
        return explanation.read(answer.text)

    def plan(self, job):
        effects = self.turn(Ask("r", "plan", job), places_max=0)
        (answer,) = [effect for effect in effects if isinstance(effect, Answer)]
        return explanation.read(answer.text)

    # ------------------------------------------------ the oracle: plain, slow, of its own

    def waiting(self):
        return [job for job_id, job in self.jobs.items() if job_id not in self.placed]

    def free(self, worker_id):
        free = self.workers[worker_id].capacity
        for entry in self.placed.values():
            if entry.worker_id == worker_id:
                free = free.minus(entry.job.need)
        return free

    def level(self, user):
        cpus = sum(entry.job.need.cpus_milli for entry in self.placed.values() if entry.job.user_id == user)
        memory = sum(entry.job.need.memory_bytes for entry in self.placed.values() if entry.job.user_id == user)
        all_cpus = sum(view.capacity.cpus_milli for view in self.workers.values())
        all_memory = sum(view.capacity.memory_bytes for view in self.workers.values())
        weight = self.users[user].weight if user in self.users else 1
        return max(cpus / all_cpus, memory / all_memory) / weight

    def gates(self, job):
        """(reason, what the sentence must say, who holds it) of every limit in the way."""
        held = [entry.job for entry in self.placed.values()]
        queue, user, rules = self.queues.get(job.queue), self.users.get(job.user_id), job.rules
        if queue is not None and queue.paused:
            yield W.QUEUE_PAUSED, job.queue, []
        mine = [other for other in held if other.user_id == job.user_id]
        if user is not None and user.max_running is not None and len(mine) >= user.max_running:
            yield W.USER_QUOTA, f"{len(mine)}/{user.max_running} jobs", mine
        cpus = sum(other.need.cpus_milli for other in mine)
        if user is not None and user.max_cpus_milli is not None and cpus + job.need.cpus_milli > user.max_cpus_milli:
            yield W.USER_QUOTA, f"{cpus / 1000:g}/{user.max_cpus_milli / 1000:g} cpus", mine
        here = [other for other in held if other.queue == job.queue]
        if queue is not None and queue.max_running is not None and len(here) >= queue.max_running:
            yield W.QUEUE_LIMIT, f"{len(here)}/{queue.max_running} jobs", here
        if rules is not None and rules.concurrency is not None:
            key = rules.concurrency.key
            ours = [o for o in held if o.rules is not None and o.rules.concurrency and o.rules.concurrency.key == key]
            if len(ours) >= rules.concurrency.limit:
                yield W.CONCURRENCY_LIMIT, f"{len(ours)}/{rules.concurrency.limit}", ours
        if rules is not None and rules.rate is not None:
            times = sorted(at for key, at in self.starts if key == rules.rate.key)
            recent = [at for at in times if at > self.now_ms - rules.rate.interval_ms]
            if len(recent) >= rules.rate.starts:
                left = recent[-rules.rate.starts] + rules.rate.interval_ms - self.now_ms
                yield W.RATE_LIMIT, f"next in {left // 1000}", []
        if rules is not None and rules.parallel is not None:
            members = [other for other in held if other.array_id == job.array_id]
            if len(members) >= rules.parallel:
                yield W.ARRAY_LIMIT, f"{len(members)}/{rules.parallel}", members

    def able(self, job):
        demands = [parse(text) for text in (job.rules.constraints if job.rules else ())]
        return [
            view for view in self.workers.values()
            if job.need.fits(view.capacity) and all(demand.holds(view) for demand in demands)
        ]  # fmt: skip

    def competes(self, job):
        return not any(self.gates(job)) and any(view.assignable for view in self.able(job))

    def expected(self, job):
        """All reasons that `why` must name, in the contract's order, each with what its sentence must say."""
        found = [(reason, said, holders) for reason, said, holders in self.gates(job)]
        able = self.able(job)
        ready = [view for view in able if view.liveness is Liveness.READY]
        taking = [view for view in ready if view.eligibility is Eligibility.OPEN]
        closed = [view for view in ready if view.eligibility is not Eligibility.OPEN]
        roomy = [view for view in taking if job.need.fits(self.free(view.worker_id))]
        kept = self.core.reserved
        others = [other for other in self.waiting() if other.job_id != job.job_id and self.competes(other)]
        if not self.workers:
            found.append((W.NO_WORKERS, "no worker has joined", []))
        elif not able:
            found.append((W.UNSATISFIABLE, self.largest(job), []))
        elif not ready:
            found.append((W.NO_WORKERS, f"of {len(able)} worker", []))
        elif not taking:
            found.append((W.WORKERS_CORDONED, f"{len(ready)} worker", []))
        elif not roomy or (kept is not None and [view.worker_id for view in roomy] == [kept.worker_id]):
            urgent = sum(other.priority > job.priority for other in others)
            fairer = [
                other for other in others
                if other.priority == job.priority and self.level(other.user_id) < self.level(job.user_id)
            ]  # fmt: skip
            if urgent:
                found.append((W.PRIORITY, f"{urgent} job", []))
            if fairer:
                found.append((W.FAIR_SHARE, f"{len(fairer)} job", []))
            if roomy:
                found.append((W.RESERVED, f"w{kept.worker_id}", [self.jobs[kept.job_id]]))
            else:
                found.append((W.RESOURCES, f"{len(taking)} worker", []))
        if closed and taking:
            found.append((W.WORKERS_CORDONED, f"{len(closed)} of {len(able)} worker", []))
        order = list(W)
        return sorted(found, key=lambda entry: order.index(entry[0]))

    def largest(self, job):
        if job.rules is not None and job.rules.constraints:
            return str(parse(job.rules.constraints[0]))
        return f"largest {max(view.capacity.cpus_milli for view in self.workers.values()) / 1000:g}"


# ------------------------------------------------ the situations


def unsatisfiable(world):
    for _ in range(world.chance.randint(1, 3)):
        world.worker(world.chance.choice([2, 4]))
    world.submit(world.chance.choice([6, 8]), job_id=TARGET)


def unmatched(world):
    world.worker(4, labels={"zone": "eu"})
    world.submit(1, rules=Rules(constraints=("worker.label.zone == us",)), job_id=TARGET)


def no_workers(world):
    if world.chance.random() < 0.6:
        world.worker(4, liveness=world.chance.choice([Liveness.LOST, Liveness.OFFLINE, Liveness.SUSPECT]))
        world.worker(1)
    world.submit(2, job_id=TARGET)


def cordoned(world):
    world.worker(1)
    for _ in range(world.chance.randint(1, 3)):
        world.worker(4, eligibility=world.chance.choice([Eligibility.CORDONED, Eligibility.DRAINING]))
    world.submit(2, job_id=TARGET)


def paused(world):
    world.worker(4)
    world.limits(queues=[QueueLimits("slow", paused=True)])
    world.submit(1, queue="slow", job_id=TARGET)


def user_quota(world):
    limit = world.chance.randint(1, 4)
    world.worker(8)
    world.limits(users=[UserLimits(7, max_running=limit)])
    for _ in range(limit + world.chance.randint(0, 2)):
        world.submit(1, user=7)
    world.submit(2, user=7, job_id=TARGET)


def user_cpus(world):
    world.worker(16)
    world.limits(users=[UserLimits(7, max_cpus_milli=5_000)])
    world.submit(world.chance.choice([2, 3, 4]), user=7)
    world.submit(4, user=7, job_id=TARGET)


def queue_limit(world):
    limit = world.chance.randint(1, 3)
    world.worker(8)
    world.limits(queues=[QueueLimits("slow", max_running=limit)])
    for user in range(limit):
        world.submit(1, user=user + 1, queue="slow")
    world.submit(2, user=9, queue="slow", job_id=TARGET)


def key_limit(world):
    limit = world.chance.randint(1, 3)
    world.worker(8)
    rules = Rules(concurrency=Slots("customer-17", limit))
    for user in range(limit):
        world.submit(1, user=user + 1, rules=rules)
    world.submit(2, user=5, rules=rules, job_id=TARGET)


def rate_limit(world):
    rules = Rules(rate=Pace("api", world.chance.randint(1, 3), 60_000))
    world.worker(8)
    for _ in range(rules.rate.starts):
        world.now_ms += world.chance.randint(1, 9) * 1_000
        world.submit(1, rules=rules)
    world.now_ms += 5_000
    world.submit(2, rules=rules, job_id=TARGET)


def array_limit(world):
    limit = world.chance.randint(1, 3)
    world.worker(8)
    rules = Rules(parallel=limit)
    for _ in range(limit):
        world.submit(1, rules=rules, array_id=77)
    world.submit(1, rules=rules, array_id=77, job_id=TARGET)


def busy(world):
    workers = world.chance.randint(1, 3)
    for _ in range(workers):
        world.worker(4)
    for _ in range(workers):
        world.submit(world.chance.choice([3, 4]))
    world.submit(4, job_id=TARGET)


def behind_priority(world):
    busy(world)
    del world.jobs[TARGET]
    for _ in range(world.chance.randint(1, 3)):
        world.submit(4, priority=world.chance.choice([60, 90]))
    world.submit(3, priority=50, user=2, job_id=TARGET)


def behind_fair_share(world):
    world.worker(4)
    world.submit(4, user=1)
    for _ in range(world.chance.randint(1, 3)):
        world.submit(3, user=2)
    world.submit(4, user=1, job_id=TARGET)


def reserved(world):
    world.worker(4, memory_gib=64)
    world.worker(2, memory_gib=32)
    world.submit(2)
    world.submit(2)
    blocked = world.submit(4, user=2, priority=50 + world.chance.choice([0, 10]))
    assert world.core.reserved.job_id == blocked
    world.submit(2, user=3, rules=Rules(timeout_ms=10 * 3_600_000), priority=50, job_id=TARGET)


SITUATIONS = {
    unsatisfiable: W.UNSATISFIABLE, unmatched: W.UNSATISFIABLE, no_workers: W.NO_WORKERS, cordoned: W.WORKERS_CORDONED,
    paused: W.QUEUE_PAUSED, user_quota: W.USER_QUOTA, user_cpus: W.USER_QUOTA, queue_limit: W.QUEUE_LIMIT,
    key_limit: W.CONCURRENCY_LIMIT, rate_limit: W.RATE_LIMIT, array_limit: W.ARRAY_LIMIT, busy: W.RESOURCES,
    behind_priority: W.PRIORITY, behind_fair_share: W.FAIR_SHARE, reserved: W.RESERVED,
}  # fmt: skip


def situation(seed):
    world = World(seed)
    make = list(SITUATIONS)[seed % len(SITUATIONS)]
    make(world)
    if seed % 3 == 1 and make not in (no_workers, cordoned):
        world.worker(4, eligibility=Eligibility.CORDONED)  # makes no difference, and is said
    world.now_ms += 2_000 if make is not behind_fair_share else 0
    world.turn()
    return world, make
