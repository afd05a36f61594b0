"""Subjects that are listened to while somebody waits for what they tell, and for a while after.

A hint wakes every process that listens, and being woken costs more than most hints are worth: where nobody waits for
an end, no process of the API hears of any.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

from nats.errors import Error as NatsError

from swarmsync.bus import Bus, Handler
from swarmsync.errors import Unavailable

#: Who has waited for one job often waits for the next.
LINGER_S: Final = 10.0
#: How long a waiter waits for NATS to have heard that it listens; without that a hint may pass it, and it has to poll.
PATIENCE_S: Final = 0.2


class Ear:
    """Some subjects with one handler, and how many listen."""

    def __init__(self, subjects: Sequence[str], handler: Handler, linger_s: float = LINGER_S) -> None:
        self._subjects = subjects
        self._handler = handler
        self._linger_s = linger_s
        self._bus: Bus | None = None
        self._listeners = 0
        self._opening: asyncio.Task[None] | None = None
        self._subscriptions: list[Any] = []
        self._closing: asyncio.TimerHandle | None = None
        self._ending: asyncio.Task[None] | None = None

    def attach(self, bus: Bus, then: Callable[[], None]) -> None:
        """Take the connection, once there is one; `then` is called when it is heard what some wait for already."""
        self._bus = bus
        if self._listeners:
            self._open(bus).add_done_callback(lambda _: then())

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """What is told from here on is heard, where NATS answers."""
        self._listeners += 1
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        try:
            if self._bus is not None:
                opening = self._opening or self._open(self._bus)
                if not opening.done():
                    await asyncio.wait((opening,), timeout=PATIENCE_S)
            yield
        finally:
            self._listeners -= 1
            if not self._listeners:
                self._closing = asyncio.get_running_loop().call_later(self._linger_s, self._close)

    def _open(self, bus: Bus) -> "asyncio.Task[None]":
        self._opening = asyncio.get_running_loop().create_task(self._subscribe(bus))
        return self._opening

    async def _subscribe(self, bus: Bus) -> None:
        with contextlib.suppress(Unavailable, OSError, NatsError):  # who waits looks by itself, too
            for subject in self._subjects:
                self._subscriptions.append(await bus.subscribe(subject, self._handler))
            await bus.flush()

    def _close(self) -> None:
        self._closing = None
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None
        left, self._subscriptions = self._subscriptions, []
        self._ending = asyncio.get_running_loop().create_task(_unsubscribe(left))

    def close(self) -> None:
        """Forget it all; the connection is about to be closed."""
        for each in (self._closing, self._opening, self._ending):
            if each is not None:
                each.cancel()


async def _unsubscribe(subscriptions: Sequence[Any]) -> None:
    for subscription in subscriptions:
        with contextlib.suppress(Exception):  # what is not connected has no subscriptions
            await subscription.unsubscribe()
