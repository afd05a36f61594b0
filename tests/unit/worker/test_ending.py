import asyncio
import sys

import pytest

from worker.ending import cancelled, ended_by


async def test_a_cancellation_that_meets_the_answer_is_made_again():
    """As a report whose acknowledgement comes in the moment in which the agent leaves."""
    answer, rounds = asyncio.get_running_loop().create_future(), []

    async def asks_for_ever():
        await asyncio.wait_for(asyncio.shield(answer), 60)
        rounds.append("answered")
        await asyncio.Event().wait()

    async def fails():
        raise ValueError("its own affair")

    asking, failing = asyncio.ensure_future(asks_for_ever()), asyncio.ensure_future(fails())
    await asyncio.sleep(0)
    answer.set_result(None)
    await asyncio.sleep(0)
    await asyncio.wait_for(cancelled([asking, failing]), 60)
    assert rounds == (["answered"] if sys.version_info < (3, 12) else [])  # before 3.12 the first one is lost
    assert asking.cancelled()
    assert isinstance(failing.exception(), ValueError)


@pytest.mark.parametrize(
    ("how", "result"), [("returns", int), ("raises", ValueError), ("is cancelled", asyncio.CancelledError)]
)
async def test_an_end_comes_however_it_ended(how, result):
    begun, ends = asyncio.Event(), []

    async def work():
        begun.set()
        if how == "is cancelled":
            await asyncio.Event().wait()
        if how == "raises":
            raise ValueError("its own affair")
        return 7

    async def end():
        await asyncio.sleep(0)
        ends.append(how)

    living = asyncio.create_task(ended_by(work(), end))
    await begun.wait()
    if how == "is cancelled":
        living.cancel()
    (what,) = await asyncio.gather(living, return_exceptions=True)
    assert (ends, type(what)) == ([how], result)
