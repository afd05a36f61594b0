"""How coroutines of a worker are brought to their end.

Not compiled: where a `finally` awaits, mypyc raises what `sys.exc_info()` holds after it, whoever's exception that is.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, TypeVar

CANCEL_AGAIN_S: Final = 0.2
T = TypeVar("T")


async def ended_by(work: Awaitable[T], end: Callable[[], Awaitable[None]]) -> T:
    """Await `work`, and then `end()`, whether it returned, raised or was cancelled."""
    try:
        return await work
    finally:
        await end()


async def cancelled(running: Iterable["asyncio.Task[Any]"]) -> None:
    """Cancel these, and again until all have ended: one cancellation may get lost.

    In Python 3.11 `asyncio.wait_for` forgets one that comes in the same turn as what was waited for.
    """
    pending = set(running)
    while pending:
        for each in pending:
            each.cancel()
        done, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_S)
        for each in done:
            if not each.cancelled():
                each.exception()  # seen; what it says is the caller's to read
