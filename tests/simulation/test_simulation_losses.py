"""Words, answers and messages that are lost, each at the worst moment: it costs time, and never a job."""

import pytest
from fates import SILENT
from machine import Behaviour
from scenes import Scene
from settings import SimSettings
from world import run_seed

from engine.service_channels import Role
from swarmsync.model.spec import Retry
from swarmsync.protocol.messages import Revoke

ENDLESS = Behaviour(None)
STATEMENTS = (
    "dispatch", "resend", "offered", "stops", "next_epoch", "save_line_waits", "specs", "load_workers", "load_placed",
    "load_queued", "feed_start", "feed", "started", "progress", "ends", "settle", "supersede", "refresh",
    "finish_arrays", "open_arrays", "join_worker", "save_liveness", "due", "timetable", "expire", "store_output",
)  # fmt: skip


@pytest.mark.parametrize("statement", STATEMENTS)
@pytest.mark.parametrize("times", [1, 4])
def test_a_commit_whose_answer_is_lost_loses_no_job(statement, times):
    """The first calls of one statement pass and nobody hears of it; modules die, so that each is called at all."""
    scene = Scene(times, workers=3)
    scene.store.fates[statement] = [SILENT] * times
    good = scene.submit(6, Behaviour(800))
    bad = scene.submit(3, Behaviour(500, exit_code=3), retry=Retry(attempts=2, backoff="none"))
    slow = scene.submit(2, Behaviour(500, pull_ms=2_500))
    doomed = scene.submit(2, ENDLESS)
    scene.run_for(2_000)
    for role in (Role.DISPATCHER, Role.SCHEDULER, Role.HARVESTER):
        scene.core.kill(role)
        scene.core.start(role)
    scene.store.fates[statement] += [SILENT] * times
    scene.kill_agent("w2")
    scene.run_for(30_000)
    for job_id in doomed:
        scene.people.stop(job_id)
    scene.heal_and_run()
    assert scene.all_are([*good, *slow], "succeeded")
    assert scene.all_are(bad, "failed")
    assert scene.all_are(doomed, "cancelled")


@pytest.mark.parametrize("seed", range(5))
def test_lost_hints_cost_time_only(seed):
    """No hint of the API or of a module ever arrives: the sweeps alone must do."""
    world = run_seed(seed, SimSettings(jobs=40, deaf_to=("changed",)), {})
    assert world.network.lost > 0


@pytest.mark.parametrize("seed", range(5))
def test_reports_that_come_twice_and_late_count_once(seed):
    world = run_seed(seed, SimSettings(jobs=40), {"lag": 2_000, "partition": 9_000}, repeat=0.5)
    assert len(world.checks.finals) == len(world.people.made)


def test_a_late_report_of_a_lost_assignment_is_recorded_and_changes_nothing():
    """The worker was lost and its job succeeded elsewhere; back again, it tells of its own end."""
    scene = Scene(6)
    jobs = scene.submit(1, Behaviour(28_000))
    scene.until(lambda: scene.all_are(jobs, "running"))
    agent = scene.agent_of(jobs[0])
    scene.pause_agent(agent)
    scene.until(lambda: scene.all_are(jobs, "succeeded"), 120_000)
    row = scene.store.tables.jobs[jobs[0]]
    assert row.fence == 2
    scene.unpause_agent(agent)
    scene.heal_and_run()
    assert (row.state, row.fence) == ("succeeded", 2)
    assert [record.superseded for record in scene.store.tables.records.values()] == [1, 0]


def test_a_dispatcher_that_dies_between_the_commit_and_the_order():
    """Its successor finds the rows and sends their orders: one container each, and no attempt is spent."""
    scene = Scene(7)
    jobs = scene.submit(5)
    scene.until(lambda: scene.all_are(jobs, "starting"))
    assert not any(agent.reactor.held for agent in scene.agents.values())
    scene.core.kill(Role.DISPATCHER)
    scene.run_for(1_000)
    scene.core.start(Role.DISPATCHER)
    scene.until(lambda: scene.all_are(jobs, "succeeded"))
    scene.heal_and_run()
    assert set(scene.checks.fences.values()) == {1}
    assert len(scene.history) == len(jobs)


def test_placements_that_die_with_their_dispatcher_are_made_again():
    scene = Scene(8)
    scene.run_for(2_000)
    scene.store.fates["dispatch"] = ["refused"] * 50
    jobs = scene.submit(5)
    scene.run_for(1_000)
    scene.core.kill(Role.DISPATCHER)
    scene.store.fates.clear()
    scene.core.start(Role.DISPATCHER)
    scene.until(lambda: scene.all_are(jobs, "succeeded"))


def test_a_stop_that_is_wanted_before_the_harvester_knows_the_assignment():
    """The order that stops it is lost; the pulse answers must repeat it all the same."""
    scene = Scene(9)
    scene.run_for(2_000)
    jobs = scene.submit(1, ENDLESS)
    scene.until(lambda: scene.all_are(jobs, "starting"))
    placements = scene.core.rings["placements"]
    scene.core.dispatcher.life.pause()
    scene.people.stop(jobs[0])
    scene.until(lambda: any(isinstance(word, Revoke) for word in placements.words))
    placements.words.clear()  # as if it died with a Dispatcher that had taken it
    scene.core.dispatcher.life.unpause()
    scene.until(lambda: scene.all_are(jobs, "cancelled"))


def test_a_release_that_overtakes_the_void_placement():
    """Held before its dispatch, released right after: the Scheduler hears of the release while it takes it for placed."""
    scene = Scene(10)
    scene.run_for(2_000)
    dispatcher = scene.core.dispatcher
    dispatcher.life.pause()
    jobs = scene.submit(1)
    scene.until(lambda: len(scene.core.rings["placements"].words) > 0)
    scene.people.hold(jobs[0])
    dispatcher.life.unpause()
    scene.until(lambda: scene.store.calls.get("dispatch", 0) > 0)
    dispatcher.life.pause()
    scene.people.release(jobs[0])
    scene.run_for(1_000)
    dispatcher.life.unpause()
    scene.until(lambda: scene.all_are(jobs, "succeeded"))
