"""What people do with jobs, eleven times over: each tells a small world what happens, and how each of its jobs must end."""

from collections.abc import Callable
from typing import TypeAlias

from machine import Behaviour
from scenes import Scene

from engine.service_channels import Role
from swarmsync.model.fields import Duration
from swarmsync.model.spec import Retry

#: How jobs must end, by id.
Ends: TypeAlias = dict[int, str]
ENDLESS = Behaviour(None)
SHORT = Behaviour(400)
BAD = Behaviour(400, exit_code=3)


def _all(job_ids: list[int], state: str) -> Ends:
    return dict.fromkeys(job_ids, state)


def succeeds(scene: Scene) -> Ends:
    return _all(scene.submit(2, Behaviour(400, pull_ms=1_500)), "succeeded")


def fails(scene: Scene) -> Ends:
    return _all(scene.submit(1, BAD), "failed")


def is_tried_again(scene: Scene) -> Ends:
    retry = Retry(attempts=2, backoff="fixed", delay=Duration(500))
    better, worse = scene.submit(1, BAD, SHORT, retry=retry), scene.submit(1, BAD, retry=retry)
    return _all(better, "succeeded") | _all(worse, "failed")


def is_cancelled_in_the_queue(scene: Scene) -> Ends:
    before = scene.submit(4, Behaviour(6_000))
    behind = scene.submit(1)
    scene.until(lambda: scene.all_are(behind, "queued"))
    scene.people.stop(behind[0])
    return _all(before, "succeeded") | _all(behind, "cancelled")


def is_cancelled_while_it_runs(scene: Scene) -> Ends:
    jobs = scene.submit(1, ENDLESS) + scene.submit(1, Behaviour(None, react_ms=None))
    scene.until(lambda: scene.all_are(jobs, "running"))
    for job_id in jobs:
        scene.people.stop(job_id)
    return _all(jobs, "cancelled")


def times_out(scene: Scene) -> Ends:
    return _all(scene.submit(1, ENDLESS, timeout=Duration(1_500)), "timed_out")


def is_an_array(scene: Scene) -> Ends:
    good = scene.submit(3, SHORT, array=True)
    mixed = scene.submit(2, SHORT, array=True)
    scene.behaviours[mixed[2]] = (BAD,)
    return _all([*good, mixed[1]], "succeeded") | _all([mixed[0], mixed[2]], "failed")


def is_due_later(scene: Scene) -> Ends:
    return _all(scene.submit(2, SHORT, run_at=scene.timeline.now_ms + 1_500), "succeeded")


def waits_for_others(scene: Scene) -> Ends:
    """A chain and what can never start, and beside them jobs that wait for nobody."""
    good, bad = scene.submit(1, SHORT), scene.submit(1, BAD)
    next_one = scene.submit(1, SHORT, after=((good[0], "succeeded"), (bad[0], "finished")))
    last = scene.submit(1, SHORT, after=((next_one[0], "succeeded"),)) + scene.submit(2, SHORT)
    never = scene.submit(1, SHORT, after=((bad[0], "succeeded"),))
    nor_that = scene.submit(1, SHORT, after=((never[0], "succeeded"),))
    scene.until(lambda: bad[0] in scene.checks.finals)
    late = scene.submit(1, SHORT, after=((bad[0], "failed"),)) + scene.submit(1, SHORT)
    return (
        _all([*good, *next_one, *last, *late], "succeeded")
        | _all(bad, "failed")
        | _all([*never, *nor_that], "cancelled")
    )


def loses_its_agent(scene: Scene) -> Ends:
    """One worker's agent dies and comes back to its containers; the other's machine is gone for good."""
    jobs = scene.submit(4, Behaviour(40_000)) + scene.submit(1, Behaviour(40_000, exit_code=2))
    scene.until(lambda: scene.all_are(jobs, "running"))
    scene.kill_agent("w0")
    scene.kill_agent("w1")
    scene.machines["w1"].die()
    return _all(jobs[:4], "succeeded") | _all(jobs[4:], "failed")


def loses_its_modules(scene: Scene) -> Ends:
    jobs = scene.submit(2, Behaviour(1_000)) + scene.submit(1, BAD)
    scene.until(lambda: scene.state(jobs[0]) == "starting")
    for role in (Role.DISPATCHER, Role.SCHEDULER, Role.HARVESTER, Role.HIBERNATOR, Role.LOGGER):
        scene.core.kill(role)
        scene.core.start(role)
    return _all(jobs[:2], "succeeded") | _all(jobs[2:], "failed")


#: Workers of a machine each, and what happens.
SCENARIOS: dict[str, tuple[int, Callable[[Scene], Ends]]] = {
    "succeeds": (1, succeeds),
    "fails": (1, fails),
    "is tried again": (1, is_tried_again),
    "is cancelled in the queue": (1, is_cancelled_in_the_queue),
    "is cancelled while it runs": (1, is_cancelled_while_it_runs),
    "times out": (1, times_out),
    "is an array": (1, is_an_array),
    "is due later": (1, is_due_later),
    "waits for others": (1, waits_for_others),
    "loses its agent": (2, loses_its_agent),
    "loses its modules": (1, loses_its_modules),
}
