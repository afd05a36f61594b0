"""Group commit: requests for jobs that arrive while PostgreSQL commits others ride together in the next transaction.

A lone request goes at once. While a flight with a caller's requests is under way, that caller's next ones wait for it,
and then go as one; so the busier it is, the more share one fsync. Requests of different callers share a flight too:
each is inserted under the rights of its own caller, and what one of them is refused for costs the others nothing but a
second try.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from msgspec import Struct

from swarmsync.errors import TooMany, Unavailable
from swarmsync.store.submit import Answer, Wanted

FLIGHTS_MAX: Final = 3
RIDERS_MAX: Final = 256
WAITING_MAX: Final = 10_000
#: After a flight of several, so long are their next requests waited for.
PAUSE_S: Final = 0.001

Commit = Callable[[Sequence[Wanted]], Awaitable[list[Answer | None]]]
Tell = Callable[[Sequence[Wanted]], Awaitable[None]]


class Rider(Struct, frozen=True, eq=False):
    wanted: Wanted
    answer: "asyncio.Future[Answer | None]"


class Gatherer:
    """`commit` commits all that it is given or nothing; `tell` says what of it is new."""

    def __init__(self, commit: Commit, tell: Tell) -> None:
        self._commit = commit
        self._tell = tell
        self._waiting: deque[Rider] = deque()
        self._aloft: set[int] = set()  # the callers who have requests in a flight
        self._flights: set[asyncio.Task[None]] = set()

    async def submit(self, wanted: Wanted) -> Answer | None:
        """As `store.submit.insert`, and the engine knows of the jobs. Raises TooMany when too many wait here."""
        if len(self._waiting) >= WAITING_MAX:
            raise TooMany("too many submissions wait for PostgreSQL", retry_after_s=1)
        rider = Rider(wanted, asyncio.get_running_loop().create_future())
        self._waiting.append(rider)
        self._take_off()
        return await rider.answer

    def _take_off(self) -> None:
        """Begin a flight where there is a place; it boards a turn of the loop later, with all that came in this one."""
        if len(self._flights) < FLIGHTS_MAX and any(self._may_board(rider) for rider in self._waiting):
            flight = asyncio.ensure_future(self._fly())
            self._flights.add(flight)
            flight.add_done_callback(self._landed)

    def _landed(self, flight: "asyncio.Task[None]") -> None:
        self._flights.discard(flight)
        self._take_off()

    def _may_board(self, rider: Rider) -> bool:
        return rider.wanted.caller.user_id not in self._aloft

    def _board(self) -> list[Rider]:
        """Take those whose caller has nothing aloft, in order; of requests with one key only the first."""
        riders: list[Rider] = []
        left: deque[Rider] = deque()
        keys: set[tuple[int, str]] = set()
        for rider in self._waiting:
            key = rider.wanted.key
            name = None if key is None else (rider.wanted.caller.user_id, key.text)
            if len(riders) < RIDERS_MAX and self._may_board(rider) and name not in keys:
                riders.append(rider)
                if name is not None:
                    keys.add(name)
            else:
                left.append(rider)
        self._waiting = left
        return riders

    async def _fly(self) -> None:
        riders = self._board()
        callers = {rider.wanted.caller.user_id for rider in riders}
        self._aloft |= callers
        try:
            await self._carry(riders)
            if len(riders) > 1:
                await asyncio.sleep(PAUSE_S)
        finally:
            self._aloft -= callers

    async def _carry(self, riders: list[Rider]) -> None:
        if not riders:
            return
        try:
            answers = await self._commit([rider.wanted for rider in riders])
        except Exception as problem:  # noqa: BLE001 whatever it was, it belongs to who waits for it
            if len(riders) == 1 or isinstance(problem, Unavailable):
                for rider in riders:
                    if not rider.answer.done():
                        rider.answer.set_exception(problem)
                return
            for part in _parted(riders):
                await self._carry(part)
            return
        pairs = list(zip(riders, answers, strict=True))
        new = [rider.wanted for rider, answer in pairs if answer is None]
        if new:
            await self._tell(new)
        for rider, answer in pairs:
            if not rider.answer.done():
                rider.answer.set_result(answer)


def _parted(riders: list[Rider]) -> list[list[Rider]]:
    """Part what was refused as a whole: by caller, and those of one caller one by one."""
    by_caller: dict[int, list[Rider]] = {}
    for rider in riders:
        by_caller.setdefault(rider.wanted.caller.user_id, []).append(rider)
    return list(by_caller.values()) if len(by_caller) > 1 else [[rider] for rider in riders]
