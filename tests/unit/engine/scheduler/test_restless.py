"""A module without news leaves pulses out unless its core is restless: then no turn may be missing that places a job."""

from random_worlds import TURNS, World

from engine.scheduler.limits import RATE_SLACK_MS
from engine.scheduler.placement import Scheduler
from swarmsync.model.job import Waiting
from swarmsync.model.resources import Need
from swarmsync.model.rules import Pace, Rules
from swarmsync.model.worker import WorkerView
from swarmsync.protocol.messages import JobsSubmitted, Place, WorkerJoined

WORLDS = 200


def calm_turns(seed):
    """Run a world with turns at which nothing happens, where the core says that none is needed; count those."""
    world, calm = World(seed), 0
    for _ in range(TURNS):
        world.turn()
        later_ms = world.now_ms + world.chance.choice([1, 100, 300])
        if world.core.restless(later_ms):
            continue
        calm += len(world.core.backlog) > 0
        world.now_ms = later_ms
        effects = world.core.handle([], now_ms=later_ms, places_max=1_000)
        assert [effect for effect in effects if isinstance(effect, Place)] == [], seed
    return calm


def test_a_core_that_is_not_restless_places_nothing_until_something_happens():
    assert sum(map(calm_turns, range(WORLDS))) > WORLDS


def test_a_job_that_waits_for_its_rate_makes_the_core_restless_when_that_allows_it():
    core, rules = Scheduler(), Rules(rate=Pace("api", 1, 60_000))
    jobs = tuple(Waiting(number, 1, Need(1_000, 1), 50, 1, "default", 1, rules) for number in (1, 2))
    core.handle([WorkerJoined(WorkerView(1, "w1", Need(8_000, 8)))], now_ms=0, places_max=0)
    core.handle([JobsSubmitted(jobs)], now_ms=0, places_max=10)
    core.handle([], now_ms=5_000, places_max=10)  # whatever was to be told has been told
    assert not core.restless(59_000)
    opens_ms = 60_000 + RATE_SLACK_MS
    assert core.restless(opens_ms)
    assert [word.job_id for word in core.handle([], now_ms=opens_ms, places_max=10) if isinstance(word, Place)] == [2]
