"""Forty-five situations with a known cause: `why` names each blocker, with numbers; a plan is what then happens."""

from collections import Counter

import pytest
from situations import GIB, SITUATIONS, TARGET, W, World, situation

from engine.scheduler.placement import Scheduler
from engine.scheduler.ranking import DEFAULT
from swarmsync.ids import encode
from swarmsync.model.job import Waiting
from swarmsync.model.lifecycle import Eligibility, Liveness
from swarmsync.model.limits import UserLimits
from swarmsync.model.resources import Need
from swarmsync.model.rules import Pace, Rules, Slots
from swarmsync.protocol.messages import AssignmentEnded, JobsSubmitted, Place, WorkerChanged


@pytest.mark.parametrize("seed", range(45))
def test_why_names_every_blocker_in_order_with_its_numbers(seed):
    world, make = situation(seed)
    answer = world.why(TARGET)
    expected = world.expected(world.jobs[TARGET])
    assert [blocker.reason for blocker in answer.blockers] == [reason for reason, _, _ in expected]
    for blocker, (_, said, holders) in zip(answer.blockers, expected, strict=True):
        assert said in blocker.message
        for holder in holders:
            assert encode(holder.job_id) in blocker.message
    assert any(blocker.reason is SITUATIONS[make] for blocker in answer.blockers)


@pytest.mark.parametrize("seed", range(45))
def test_what_lists_show_is_the_first_of_them(seed):
    world, _ = situation(seed)
    job = world.jobs[TARGET]
    blocking = [
        reason for reason, said, _ in world.expected(job) if not (reason is W.WORKERS_CORDONED and " of " in said)
    ]
    assert world.told[job.line].reason is blocking[0]


@pytest.mark.parametrize("seed", range(45))
def test_questions_change_nothing(seed):
    asked, _ = situation(seed)
    other, _ = situation(seed)
    for job in asked.waiting():
        asked.why(job.job_id)
        asked.plan(job)
    asked.worker(16)
    other.worker(16)
    assert {job_id: entry.worker_id for job_id, entry in asked.placed.items()} == {
        job_id: entry.worker_id for job_id, entry in other.placed.items()
    }


def test_the_situations_cover_every_reason_that_the_scheduler_knows():
    seen = Counter(SITUATIONS[list(SITUATIONS)[seed % len(SITUATIONS)]] for seed in range(45))
    own = {W.HELD, W.START_TIME, W.RETRY_BACKOFF, W.DEPENDENCY, W.DEPENDENCY_NEVER_SATISFIED, W.EVALUATING}
    assert set(seen) == set(W) - own


def test_a_limit_a_cordon_and_a_job_too_large():
    """Three workers of 4 cpus, one cordoned, a limit of two jobs that two jobs use up."""
    world = World(0)
    for _ in range(3):
        world.worker(4, memory_gib=8)
    world.limits(users=[UserLimits(1, max_running=2)])
    first, second = world.submit(1), world.submit(1)
    world.turn(WorkerChanged(3, Liveness.READY, Eligibility.CORDONED))
    large, small = world.submit(6), world.submit(2)
    assert "no registered worker has 6 cpus (largest 4)" in world.why(large).blockers[0].message
    assert world.why(large).blockers[0].reason is W.UNSATISFIABLE
    answer = world.why(small)
    assert [blocker.reason for blocker in answer.blockers] == [W.USER_QUOTA, W.WORKERS_CORDONED]
    assert answer.blockers[0].message == f"user limit: 2/2 jobs (jobs {encode(first)}, {encode(second)})"
    assert answer.blockers[1].message == "1 of 3 workers that could run it is cordoned"
    assert answer.would_start_if == (f"job {encode(first)} or {encode(second)} ends",)
    effects = world.turn(AssignmentEnded(first, world.placed.pop(first).worker_id))
    assert [effect.job_id for effect in effects if isinstance(effect, Place)] == [small]


# ------------------------------------------------ plans


def random_spec(world):
    chance = world.chance
    rules = chance.choice(
        [
            None,
            None,
            Rules(timeout_ms=chance.choice([60_000, 3_600_000, 36_000_000])),
            Rules(concurrency=Slots("k", 2)),
            Rules(constraints=("worker.label.zone == eu",)),
            Rules(rate=Pace("r", 2, 60_000)),
        ]
    )
    cpus, user = chance.choice([1, 1, 2, 3, 4, 8, 32]), chance.randint(1, 4)
    line = hash((cpus, user, rules)) & ((1 << 62) - 1)
    return Waiting(
        world.next_id, cpus, Need(cpus * 1000, GIB), chance.choice([20, 50, 50, 80]), user, "default", line, rules
    )


@pytest.mark.parametrize("seed", range(8))
def test_a_plan_is_what_then_happens(seed):
    world = World(seed)
    for number in range(4):
        world.worker(8, labels={"zone": "eu"} if number == 0 else {})
    world.limits(users=[UserLimits(1, max_running=4)])
    verdicts = Counter()
    for _ in range(60):
        job = random_spec(world)
        plan = world.plan(job)
        world.next_id += 1
        world.now_ms += world.chance.randint(1, 20_000)
        world.turn()
        plan_now = world.plan(job)
        world.jobs[job.job_id] = job
        effects = world.turn(JobsSubmitted((job,)))
        places = [effect for effect in effects if isinstance(effect, Place) and effect.job_id == job.job_id]
        verdicts[plan_now.verdict] += 1
        assert plan.verdict in ("now", "waits", "never")
        assert (plan_now.verdict == "now") == bool(places), (job, plan_now)
        if places:  # of several that fit as well, another may get it
            assert plan_now.worker in {view.name for view in world.able(job)}
        if world.chance.random() < 0.4 and world.placed:
            ended = world.chance.choice(sorted(world.placed))
            world.turn(AssignmentEnded(ended, world.placed.pop(ended).worker_id, 30_000))
    assert verdicts["now"] > 5
    assert verdicts["waits"] > 5
    assert verdicts["never"] > 0


def test_a_plan_tells_when_room_is_expected():
    world = World(0)
    world.worker(4)
    world.submit(4, rules=Rules(timeout_ms=600_000))
    world.now_ms = 100_000
    job = Waiting(99, 2, Need(2_000, GIB), 50, 2)
    plan = world.plan(job)
    assert (plan.verdict, plan.start_in_ms) == ("waits", 500_000)
    assert plan.would_start_if == (f"job {encode(1)} ends on w1",)


def test_the_default_policy_is_what_the_engine_uses():
    assert Scheduler().books.policy is DEFAULT
