"""The rank under which a line stands is what the policy makes of its head as of then, whatever was asked meanwhile."""

import random

import pytest

from engine.scheduler.placement import Scheduler
from engine.scheduler.ranking import POLICIES
from swarmsync.model.job import Waiting
from swarmsync.model.resources import Need
from swarmsync.model.rules import Rules
from swarmsync.model.worker import WorkerView
from swarmsync.protocol.messages import Ask, AssignmentEnded, JobsSubmitted, Place, StopWanted, WorkerJoined

GIB = 1 << 30
#: Cpus, timeout: small ones that pass, and two that need a worker for themselves.
KINDS = ((500, None), (1_000, 60_000), (4_000, None), (8_000, 600_000))


class World:
    """Few workers, lines of several priorities, jobs that end and that are cancelled, and people who ask why."""

    def __init__(self, policy, seed):
        self.chance = random.Random(seed)
        self.core = Scheduler(policy=policy)
        self.now_ms, self.jobs, self.placed = 0, 0, {}
        views = [WorkerView(number, f"w{number}", Need(8_000, 32 * GIB)) for number in (1, 2)]
        self.core.handle([WorkerJoined(view) for view in views], now_ms=0, places_max=0)

    def job(self):
        self.jobs += 1
        kind, user = self.chance.randrange(len(KINDS)), self.chance.choice((1, 2))
        cpus_milli, timeout_ms = KINDS[kind]
        rules = None if timeout_ms is None else Rules(timeout_ms=timeout_ms)
        priority = self.chance.choice((50, 50, 50, 70))
        return Waiting(self.jobs, kind, Need(cpus_milli, GIB), priority, user, "default", 10 * kind + user + 1, rules)

    def step(self):
        chance = self.chance
        self.now_ms += chance.choice((0, 0, 10, 5_000, 400_000))
        events = [JobsSubmitted(tuple([self.job() for _ in range(chance.choice((1, 3, 9)))]))]
        over = chance.sample(sorted(self.placed), min(len(self.placed), chance.choice((0, 1, 4))))
        events += [AssignmentEnded(job, self.placed.pop(job), chance.choice((None, 10, 90_000))) for job in over]
        if chance.random() < 0.3:
            events.append(StopWanted((chance.randint(1, self.jobs),)))
        if chance.random() < 0.2:
            events.append(Ask("reply", "why", chance.choice(events[0].jobs)))
        effects = self.core.handle(events, now_ms=self.now_ms, places_max=chance.choice((1, 20)))
        self.placed |= {effect.job_id: effect.worker_id for effect in effects if isinstance(effect, Place)}


@pytest.mark.parametrize("name", ["default", "easy", "wfp3-easy", "f1-easy"])
@pytest.mark.parametrize("seed", range(8))
def test_a_rank_is_what_the_policy_makes_of_the_head(name, seed):
    """A rank that says less than the head's own priority is taken for out of date again and again: an endless loop."""
    policy = POLICIES[name]
    world = World(policy, seed)
    queued = 0
    for _ in range(60):
        world.step()
        for line in world.core.backlog.lines.values():
            if line.rank is not None:
                queued += 1
                assert line.standing is not None
                assert line.rank == policy.order(line.standing)
    assert queued > 60
