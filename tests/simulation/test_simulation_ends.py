"""Things that die, and things that are too small: nothing is lost, and nothing is left over."""

import pytest
from machine import Behaviour
from scenes import Scene
from settings import SimSettings
from world import World, run_seed

from engine.service_channels import Role
from swarmsync.model.fields import Duration
from swarmsync.model.lifecycle import EndReason
from swarmsync.model.spec import Retry, Stop

ENDLESS = Behaviour(None, react_ms=None)


@pytest.mark.timeout(300)
def test_ten_thousand_jobs_pass_through_rings_of_four_slots():
    settings = SimSettings(
        workers=4, jobs=0, slots=4, simple=True, fast_ms=100, orders_max=1, heal_ms=3_600_000, slow_ms=60_000
    )
    world = World(1, settings, {})
    rows = world.people.rows("good", 10_000)
    world.one_behaviour = Behaviour(20)
    world.people.life.run(world.people.submit_rows(rows))
    world.heal_and_run()
    assert world.checks.final_states()["succeeded"] == 10_000
    assert max(world.checks.fences.values()) <= 5, "refusals for want of room are rare"
    assert not any(row.tries or row.crashes for row in world.store.tables.jobs.values())
    assert all(ring.highest <= 4 for ring in world.core.rings.values())


@pytest.mark.parametrize("seed", range(4))
def test_dead_workers(seed):
    world = run_seed(seed, SimSettings(workers=6, jobs=60), {"machine_dies": 9_000, "kill_agent": 9_000})
    assert sum(not machine.alive for machine in world.machines.values()) > 0


@pytest.mark.parametrize("role", [role.value for role in Role])
def test_a_module_that_dies_every_second(role):
    scene = Scene(1, workers=3)
    jobs = scene.submit(20, Behaviour(700)) + scene.submit(5, Behaviour(300, exit_code=2), retry=Retry(attempts=3))
    for _ in range(15):
        scene.run_for(1_000)
        scene.core.kill(Role(role))
        scene.run_for(150)
        scene.core.start(Role(role))
    scene.heal_and_run()
    assert [scene.state(job_id) for job_id in jobs] == ["succeeded"] * 20 + ["failed"] * 5


def test_a_core_that_restarts_under_running_containers_restarts_none_of_them():
    scene = Scene(2, workers=3)
    jobs = scene.submit(9, Behaviour(20_000))
    scene.until(lambda: scene.all_are(jobs, "running"))
    for _ in range(5):
        scene.core.kill_all()
        scene.run_for(1_000)
        scene.core.start_all()
        scene.run_for(2_000)
    scene.heal_and_run()
    assert set(scene.checks.fences.values()) == {1}


def test_a_worker_that_comes_back_with_what_is_over_keeps_no_room():
    """Its agent was dead for longer than the lease: what it still runs is stopped, and no job is taken for placed."""
    scene = Scene(3)
    jobs = scene.submit(3, Behaviour(None, react_ms=None), stop=Stop(grace=Duration(500)))
    scene.until(lambda: scene.all_are(jobs, "running"))
    name = scene.agent_of(jobs[0]).machine.name
    agent = scene.agents.pop(name)
    agent.life.kill()
    scene.network.close(agent.connection)
    scene.until(lambda: scene.checks.fences[jobs[0]] == 2)
    scene.start_agent(name)
    scene.run_for(5_000)
    assert not scene.machines[name].running
    scene.heal_and_stop(jobs)


def test_an_agent_that_finds_two_attempts_of_a_job_keeps_the_newer():
    """It died after Core had acknowledged the first, before it could remove the container."""
    scene = Scene(4, workers=1)
    jobs = scene.submit(1, Behaviour(3_000, exit_code=1), retry=Retry(attempts=2, backoff="none"))
    machine = scene.machines["w0"]
    machine.remove = lambda ref: None  # type: ignore[method-assign]
    scene.until(lambda: scene.checks.fences.get(jobs[0]) == 2 and scene.state(jobs[0]) == "running")
    del machine.remove  # type: ignore[method-assign]
    assert len(machine.containers) == 2
    scene.kill_agent("w0")
    scene.heal_and_run()


def test_a_cancelled_job_is_not_tried_again_whatever_ends_its_container():
    scene = Scene(5)
    jobs = scene.submit(4, Behaviour(2_000, exit_code=9, react_ms=None), retry=Retry(attempts=5))
    scene.until(lambda: scene.all_are(jobs, "running"))
    for job_id in jobs:
        scene.people.stop(job_id)
    scene.heal_and_run()
    assert scene.all_are(jobs, "cancelled")
    assert set(scene.checks.fences.values()) == {1}


def test_a_worker_without_room_is_not_asked_as_fast_as_it_refuses():
    """The Scheduler's books are wrong; the first refusal puts them right."""
    scene = Scene(6, workers=1)
    running = scene.submit(4, ENDLESS)
    scene.until(lambda: scene.all_are(running, "running"))
    (machine,) = scene.core.scheduler.scheduler.cluster.machines.values()
    for job_id in running:
        scene.core.scheduler.scheduler.cluster.end(job_id, machine.view.worker_id)
    waiting = scene.submit(3)
    scene.run_for(30_000)
    assert max(scene.checks.fences.get(job_id, 0) for job_id in waiting) <= 2
    scene.heal_and_stop(running)


def test_a_worker_that_drains_is_not_asked_again():
    scene = Scene(7, workers=2)
    jobs = scene.submit(8, ENDLESS)
    scene.until(lambda: scene.all_are(jobs, "running"))
    agent = scene.agents["w0"]
    agent.life.run(agent.drain())
    scene.run_for(6_000)
    assert max(scene.checks.fences.values()) <= 3
    assert not any(record.reason == EndReason.WORKER_LOST for record in scene.store.tables.records.values())
    scene.heal_and_stop(jobs)


def test_a_backlog_that_was_full_takes_the_rest_in_later():
    scene = Scene(8, workers=1, backlog_max=5)
    jobs = scene.submit(40, Behaviour(100))
    scene.until(lambda: scene.all_are(jobs, "succeeded"), 120_000)


def test_a_worker_whose_join_was_committed_and_never_answered_and_that_died_then():
    """Its row says ready, so it is given jobs; the Harvester must come to know it, and see it silent."""
    scene = Scene(9, workers=1)
    scene.store.fates["join_worker"] = ["silent"]
    scene.until(lambda: bool(scene.store.tables.workers))
    scene.machines["w0"].die()
    scene.kill_agent("w0")
    scene.core.kill(Role.SCHEDULER)
    scene.core.start(Role.SCHEDULER)
    jobs = scene.submit(2)
    scene.until(lambda: scene.all_are(jobs, "starting"))
    scene.add_machine()
    scene.until(lambda: scene.all_are(jobs, "succeeded"), 120_000)


def test_a_change_of_liveness_that_could_not_be_saved_is_saved_later():
    scene = Scene(10, workers=1)
    scene.run_for(2_000)
    agent = scene.agents["w0"]
    scene.cut(agent)
    scene.until(lambda: scene.core.harvester.registry.workers["w0"].view.liveness == "lost")
    scene.store.fates["save_liveness"] = ["refused"] * 3
    scene.network.heal(agent.connection)
    jobs = scene.submit(2)
    scene.until(lambda: scene.all_are(jobs, "succeeded"))
    scene.core.kill(Role.SCHEDULER)
    scene.core.start(Role.SCHEDULER)
    more = scene.submit(2)
    scene.until(lambda: scene.all_are(more, "succeeded"))
