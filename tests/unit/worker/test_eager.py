import asyncio

import pytest

from worker.eager import Begun, within


async def at_once():
    return 7


async def after(event):
    await event.wait()
    return 7


async def test_what_does_not_wait_is_over_before_anybody_awaits_it():
    begun = Begun(at_once())
    assert begun.done
    assert await begun.rest() == 7


async def test_what_waits_goes_on_where_it_was():
    event, said = asyncio.Event(), []

    async def work():
        said.append("begun")
        await event.wait()
        said.append("woken")
        await asyncio.sleep(0)
        return 7

    begun = Begun(work())
    assert (begun.done, said) == (False, ["begun"])
    asyncio.get_running_loop().call_soon(event.set)
    assert await begun.rest() == 7
    assert said == ["begun", "woken"]


async def test_an_error_before_the_first_wait_is_raised_at_once_and_one_behind_it_by_the_rest():
    async def early():
        raise KeyError("early")

    async def late():
        await asyncio.sleep(0)
        raise KeyError("late")

    with pytest.raises(KeyError, match="early"):
        Begun(early())
    begun = Begun(late())
    with pytest.raises(KeyError, match="late"):
        await begun.rest()


async def test_cancelling_reaches_the_coroutine_and_may_be_answered_there():
    entered, cleaned = asyncio.Event(), []

    async def work():
        try:
            entered.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            cleaned.append(True)
            raise

    async def outer():
        await Begun(work()).rest()

    running = asyncio.ensure_future(outer())
    await asyncio.wait_for(entered.wait(), 60)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert cleaned == [True]


async def test_a_timeout_counts_from_the_first_wait_and_not_for_what_never_waits():
    assert await within(0, at_once()) == 7
    with pytest.raises(TimeoutError):
        await within(0.01, after(asyncio.Event()))
    event = asyncio.Event()
    event.set()
    assert await within(60, after(event)) == 7
