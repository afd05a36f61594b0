"""Coroutines that are begun at once: what never waits costs no timer and no turn of the loop.

Python 3.12 has this for whole coroutines; here a coroutine of ours goes on in the one that awaits it.
"""

import asyncio
import types
from collections.abc import Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Begun(Generic[T]):
    """A coroutine that went as far as it could without waiting. Await it in the coroutine that began it."""

    __slots__ = ("_awaits", "_result", "_work", "done")

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self._work = work
        self.done = False
        try:
            self._awaits: Any = work.send(None)
        except StopIteration as end:
            self.done = True
            self._result: T = end.value

    async def rest(self) -> T:
        """Go on to its end."""
        return self._result if self.done else await _go_on(self._work, self._awaits)


@types.coroutine
def _go_on(work: Coroutine[Any, Any, T], awaits: Any) -> Generator[Any, Any, T]:
    while True:
        try:
            try:
                answer = yield awaits
            except BaseException as problem:  # noqa: BLE001 it is for the coroutine to deal with, cancelling included
                awaits = work.throw(problem)
            else:
                awaits = work.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """Await `work` for so long. Raises TimeoutError."""
    begun = Begun(work)
    if begun.done:
        return await begun.rest()
    async with asyncio.timeout(seconds):
        return await begun.rest()
