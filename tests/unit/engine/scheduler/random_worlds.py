"""What the Scheduler's core says in random worlds, a line a world: run once compiled and once interpreted."""

import hashlib
import random
import sys

from engine.scheduler.backlog import Terms
from engine.scheduler.placement import Recalled, Scheduler
from engine.scheduler.ranking import POLICIES
from swarmsync.model.job import Waiting
from swarmsync.model.lifecycle import Eligibility, Liveness
from swarmsync.model.limits import QueueLimits, UserLimits
from swarmsync.model.resources import Need
from swarmsync.model.rules import Pace, Rules, Slots, Wish
from swarmsync.model.worker import WorkerView
from swarmsync.protocol.messages import (
    Ask,
    AssignmentEnded,
    JobsSubmitted,
    LimitsChanged,
    Place,
    PlacementVoid,
    Resync,
    StopWanted,
    WorkerChanged,
    WorkerJoined,
    WorkerLost,
)

GIB = 1 << 30
TURNS = 50
KINDS = 8


class World:
    """One seed: a few kinds of jobs, a few workers, and everything that may happen to them."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        pick = self.chance.choice
        self.policy = POLICIES[pick(["default", "default", *POLICIES])]
        self.core = Scheduler(pick([5_000_000, 30]), self.policy)
        self.now_ms = pick([0, 1_700_000_000_000, (1 << 62) - 5_000])  # ints that mypyc keeps short, and longer ones
        self.next_id = pick([1, 1 << 40, (1 << 62) - 20])
        self.workers = range(1, pick([1, 3, 12]) + 1)
        self.kinds = [
            (self.need(), self.rules(), pick([1, 2, 3]), pick(["default", "slow", "wide"])) for _ in range(KINDS)
        ]
        self.jobs, self.placed, self.said = {}, {}, []

    def need(self):
        pick = self.chance.choice
        memory = pick([1, GIB, 3 * GIB, 1 << 50])
        return Need(pick([1, 500, 1_000, 4_000, 16_000]), memory, pick([0, 0, 0, 1, 4]), pick([0, 0, GIB]))

    def rules(self):
        pick = self.chance.choice
        if self.chance.random() < 0.5:
            return None
        return Rules(
            constraints=pick([(), ("worker.label.zone == us",)]),
            affinity=pick([(), (Wish("worker.label.zone == eu", 7),)]),
            concurrency=pick([None, Slots("key", 2)]),
            rate=pick([None, Pace("pace", 2, 5_000)]),
            parallel=pick([None, 2]),
            timeout_ms=pick([None, 1, 60_000]),
        )

    def job(self):
        pick = self.chance.choice
        if self.jobs and self.chance.random() < 0.1:
            known = pick(list(self.jobs.values()))
            job_id, kind = known.job_id, known.shape
        else:
            self.next_id += pick([1, 1, 2])
            job_id, kind = self.next_id, self.chance.randrange(KINDS)
        need, rules, user_id, queue = self.kinds[kind]
        array_id = 9 if rules is not None and rules.parallel else None
        job = Waiting(job_id, kind, need, pick([0, 50, 50, 90]), user_id, queue, kind + 1, rules, array_id)
        self.jobs[job_id] = job
        return job

    def view(self, worker_id):
        pick = self.chance.choice
        room = Need(pick([0, 4_000, 16_000]), pick([16 * GIB, 1 << 50]), pick([0, 4]), pick([0, 1 << 40]))
        labels = pick([{}, {"zone": "eu"}, {"zone": "us"}])
        return WorkerView(worker_id, f"w{worker_id}", room, labels, self.liveness(), self.eligibility())

    def liveness(self):
        return self.chance.choice([Liveness.READY] * 6 + list(Liveness))

    def eligibility(self):
        return self.chance.choice([Eligibility.OPEN] * 6 + list(Eligibility))

    def limits(self):
        pick = self.chance.choice
        queue = QueueLimits("slow", pick([False, False, True]), pick([None, 2]), pick([None, 1]), pick([None, 9_000]))
        spread = QueueLimits("wide", placement=pick(["pack", "spread"]))
        return LimitsChanged((queue, spread), (UserLimits(1, pick([None, 3]), weight=pick([1, 5])),))

    def event(self):
        pick, kind = self.chance.choice, self.chance.random()
        worker_id = pick(self.workers)
        if kind < 0.4:
            return JobsSubmitted(tuple([self.job() for _ in range(pick([1, 3, 20]))]))
        if kind < 0.6 and self.placed:
            job_id = pick(list(self.placed))
            on = self.placed.pop(job_id)
            self.jobs.pop(job_id, None)
            return pick([AssignmentEnded(job_id, on, pick([None, 0, 10**7])), PlacementVoid(job_id, on)])
        if kind < 0.7 and self.jobs:
            return StopWanted(tuple([pick(list(self.jobs)) for _ in range(pick([1, 5]))]))
        if kind < 0.78:
            held = [(job_id, self.jobs[job_id].need) for job_id, on in self.placed.items() if on == worker_id]
            return WorkerJoined(self.view(worker_id), tuple(held))
        if kind < 0.84:
            return WorkerChanged(worker_id, self.liveness(), self.eligibility())
        if kind < 0.87:
            return WorkerLost(worker_id)
        if kind < 0.92:
            return self.limits()
        return Ask("inbox", pick(["why", "plan"]), pick(list(self.jobs.values()))) if self.jobs else Resync()

    def begin_anew(self):
        """As the service does after a Resync."""
        old, self.core = self.core, Scheduler(policy=self.policy)
        self.core.succeed(old, self.now_ms)
        placed = [(job_id, on, self.jobs[job_id]) for job_id, on in self.placed.items()]
        recalled = [
            Recalled(job_id, on, Terms(job.need, job.user_id, job.queue, job.rules, job.array_id), 5)
            for job_id, on, job in placed
        ]
        self.core.recall(recalled, [("pace", 5, 100)], self.now_ms)
        self.core.date(sorted(self.jobs.keys() - self.placed.keys()), 1_700_000_000_000, self.now_ms)

    def turn(self):
        pick = self.chance.choice
        self.now_ms += pick([0, 0, 1, 50, 70_000, 3_600_000])
        if self.chance.random() < 0.03:
            self.begin_anew()
        events = [self.event() for _ in range(pick([0, 1, 4]))]
        effects = self.core.handle(events, now_ms=self.now_ms, places_max=pick([0, 1, 1_000]))
        self.placed |= {effect.job_id: effect.worker_id for effect in effects if isinstance(effect, Place)}
        self.said += [
            *map(repr, effects),
            repr((self.core.restless(self.now_ms), self.core.wants_resync, len(self.core.backlog))),
        ]

    def run(self):
        self.core.handle([WorkerJoined(self.view(number)) for number in self.workers], now_ms=self.now_ms, places_max=0)
        for _ in range(TURNS):
            self.turn()
        return hashlib.sha256("\n".join(self.said).encode()).hexdigest(), len(self.placed)


if __name__ == "__main__":
    for seed in range(int(sys.argv[1])):
        sys.stdout.write(" ".join(map(str, (seed, *World(seed).run()))) + "\n")
