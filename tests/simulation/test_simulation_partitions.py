"""Workers that Core cannot hear, or that cannot hear Core: one container of a job at a time, whatever it costs."""

import pytest
from machine import Behaviour
from scenes import Scene

from swarmsync.model.fields import Duration
from swarmsync.model.spec import Stop

LEASE_MS = 30_000
ENDLESS = Behaviour(None, react_ms=None)  # it ignores SIGTERM, too


@pytest.mark.parametrize("how", ["drop", "hold"])
@pytest.mark.parametrize(("up", "down"), [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("grace_ms", [500, 10_000, 20_000])
def test_a_partition_of_two_leases_leaves_one_container_and_one_verdict(how, up, down, grace_ms):
    scene = Scene(grace_ms)
    jobs = scene.submit(6, ENDLESS, stop=Stop(grace=Duration(grace_ms)))
    scene.until(lambda: scene.all_are(jobs, "running"))
    cut_off = scene.agent_of(jobs[0])
    scene.cut(cut_off, how, up=up, down=down)
    scene.run_for(2 * max(LEASE_MS, 2 * grace_ms + 10_000))
    assert not cut_off.machine.running, "it did not stop what Core gave up"
    scene.network.heal(cut_off.connection)
    scene.run_for(20_000)
    assert scene.checks.overlaps_seen == 0
    assert scene.checks.fences[jobs[0]] > 1, "it was not given to another worker"
    scene.heal_and_stop(jobs)


@pytest.mark.parametrize("seed", range(6))
def test_a_restart_of_core_during_the_partition_changes_nothing(seed):
    """The session is refused, or not: a worker that waits to be let in must still let go of what it has."""
    scene = Scene(seed)
    jobs = scene.submit(4, ENDLESS)
    scene.until(lambda: scene.all_are(jobs, "running"))
    agent = scene.agent_of(jobs[0])
    scene.core.harvester.registry.workers[agent.machine.name].session = "another"
    scene.until(lambda: agent.joining, 5_000)
    scene.cut(agent)
    scene.run_for(2 * LEASE_MS)
    assert not agent.machine.running
    scene.network.heal(agent.connection)
    scene.heal_and_stop(jobs)
    assert scene.checks.overlaps_seen == 0


def test_an_order_that_comes_late_in_a_silence_is_not_begun():
    """Orders reach the worker again, its pulses do not reach Core: what it begins now must be gone in time."""
    scene = Scene(3, workers=1, receipt_ms=1_000, resends_max=60)
    scene.run_for(3_000)
    agent = scene.agents["w0"]
    scene.cut(agent)
    jobs = scene.submit(1, ENDLESS, stop=Stop(grace=Duration(10_000)))
    scene.run_for(27_000)
    scene.network.heal(agent.connection)
    scene.cut(agent, down=False)
    scene.add_machine()
    scene.run_for(25_000)
    assert scene.checks.fences[jobs[0]] == 2
    scene.network.heal(agent.connection)
    scene.heal_and_stop(jobs)
    assert scene.checks.overlaps_seen == 0


def test_an_order_that_left_core_late_is_not_begun_after_its_lease():
    """The Dispatcher's client keeps an order while NATS is away, for longer than the lease of the worker it is for."""
    scene = Scene(4)
    scene.run_for(2_000)
    dispatcher = scene.core.dispatcher
    scene.network.cut(dispatcher.connection, up="hold", down="")
    jobs = scene.submit(1, ENDLESS)
    scene.until(lambda: jobs[0] in scene.core.harvester.registry.live)
    agent = scene.agent_of(jobs[0])
    scene.cut(agent)
    scene.until(lambda: scene.checks.fences[jobs[0]] == 2)
    scene.network.heal(agent.connection)
    scene.until(lambda: agent.reactor.in_touch(agent.monotonic_ms()))
    scene.network.heal(dispatcher.connection)
    scene.run_for(10_000)
    assert scene.checks.overlaps_seen == 0
    scene.heal_and_stop(jobs)


def test_an_order_for_an_agent_that_died_does_not_reach_the_one_after_the_next():
    """What was declared void when one joined is still under way when a later one does, and nothing else is."""
    scene = Scene(5, workers=1)
    scene.run_for(2_000)
    dispatcher = scene.core.dispatcher
    scene.network.cut(dispatcher.connection, up="hold", down="")
    jobs = scene.submit(1, ENDLESS)
    scene.until(lambda: jobs[0] in scene.core.harvester.registry.live)
    for _ in range(3):
        scene.kill_agent("w0")
        scene.start_agent("w0")
        scene.until(lambda: scene.agents["w0"].joins == 1)
        scene.run_for(500)
        scene.people.kill(jobs[0])
    scene.network.heal(dispatcher.connection)
    scene.run_for(5_000)
    scene.heal_and_stop(jobs)
