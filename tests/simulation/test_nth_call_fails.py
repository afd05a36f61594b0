"""Every call of a scenario fails once, in turn: refused, or done with its answer lost. No job may notice.

The scenario has what the shells do with PostgreSQL in it: submissions, retries, a cancel, a slow image, the death of
every module and of a worker. First it runs whole, and counts the calls of each statement; then again for the first, the
second and the last call of each, and for each way to fail.
"""

from functools import cache

import pytest
from machine import Behaviour
from scenes import Scene
from store import DONE, REFUSED, SILENT

from engine.service_channels import Role
from swarmsync.model.spec import Retry

SEED = 11
#: As many calls of each statement as the scenario is sure to make can be asked for; the rest it meets by chance.
NTH_MAX = 12


def run(fates=None):
    """Run the scenario; `fates` is what becomes of the calls of each statement, in order."""
    scene = Scene(SEED, workers=3)
    scene.store.fates.update(fates or {})
    good = scene.submit(6, Behaviour(800))
    bad = scene.submit(3, Behaviour(500, exit_code=3), retry=Retry(attempts=2, backoff="none"))
    slow = scene.submit(2, Behaviour(500, pull_ms=2_500))
    doomed = scene.submit(2, Behaviour(None))
    scene.run_for(2_000)
    for role in (Role.DISPATCHER, Role.SCHEDULER, Role.HARVESTER, Role.HIBERNATOR):
        scene.core.kill(role)
        scene.core.start(role)
    scene.kill_agent("w2")
    scene.run_for(15_000)
    for job_id in doomed:
        scene.people.stop(job_id)
    scene.heal_and_run()
    assert scene.all_are([*good, *slow], "succeeded")
    assert scene.all_are(bad, "failed")
    assert scene.all_are(doomed, "cancelled")
    return scene


@cache
def calls():
    return run().store.calls


def test_the_scenario_uses_the_statements_that_matter():
    assert {"dispatch", "settle", "started", "feed", "ends", "offered", "load_placed", "due", "join_worker"} <= set(
        calls()
    )


@pytest.mark.parametrize("fate", [REFUSED, SILENT])
def test_each_call_fails_once(fate):
    for name, count in calls().items():
        for nth in sorted({1, 2, 3, min(count, NTH_MAX)}):
            scene = run({name: [DONE] * (nth - 1) + [fate]})
            assert len(scene.checks.finals) == len(scene.people.made), (name, nth)


@pytest.mark.parametrize("fate", [REFUSED, SILENT])
def test_each_statement_fails_many_times_in_a_row(fate):
    for name in calls():
        run({name: [fate] * 6})
