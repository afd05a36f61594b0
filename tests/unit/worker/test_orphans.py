"""Containers that no assignment knows go, when they are seen twice; all others stay."""

import asyncio

import pytest

from swarmsync import ids
from swarmsync.model.job import JobRef
from tests.unit.worker.test_agent import leave
from worker import orphans as module
from worker.orphans import remove_orphans
from worker.simulated_runtime import SimulatedRuntime


class Enough(Exception):
    pass


async def test_what_is_held_stays_and_what_nobody_knows_goes_at_the_second_look(monkeypatch):
    runtime = SimulatedRuntime()
    for job, fence in ((7, 1), (7, 2), (8, 1)):
        await leave(runtime, job, fence)
    held, looks = {JobRef(7, 2)}, []

    async def look_again(_seconds):
        looks.append(sorted((seen.job, seen.fence) for seen in await runtime.list()))
        if len(looks) == 2:
            held.add(JobRef(8, 1))  # it was on its way in
        if len(looks) == 4:
            raise Enough

    monkeypatch.setattr(asyncio, "sleep", look_again)
    with pytest.raises(Enough):
        await remove_orphans(runtime, lambda: held)
    seven, eight = ids.encode(7), ids.encode(8)
    assert looks[1] == [(seven, 1), (seven, 2), (eight, 1)], "once is not enough"
    assert looks[2] == looks[3] == [(seven, 2), (eight, 1)]
    assert module.LOOK_EVERY_S > 10
