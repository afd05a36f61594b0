"""Responses without an end: what is said before the connection breaks, and that everything is given back after it.

A stream that cannot go on (this process stops, PostgreSQL is away, the token has ended) breaks its connection instead
of ending it, so that no client takes a cut stream for a whole one; clients come back and resume.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Final, Self

from api.access import Access
from api.endpoint import Call
from swarmsync.errors import NotLoggedIn, Unavailable

#: A silent stream says something this often, so that both sides notice when the other is gone.
KEEP_ALIVE_S: Final = 15.0
#: Waiters look by themselves this often: a lost hint costs no more.
BACKSTOP_S: Final = 1.0
_TOKEN_CHECK_S: Final = 5.0
Receive = Callable[[], Awaitable[Any]]
#: Where the application keeps the `receive` of a request in its scope.
RECEIVE: Final = "swarmsync.receive"


class Broken(Exception):
    """Break the connection: what was sent is not the whole."""


class Stream:
    """What Falcon iterates; `close` is called in any case, also when the client is gone."""

    def __init__(self, call: Call, source: AsyncGenerator[bytes, None]) -> None:
        """Raises TooMany when too many streams are open."""
        call.services.check_streams(call.caller)
        self._source = source
        self._guarded = _guarded(call, source)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._guarded)

    async def close(self) -> None:
        await self._guarded.aclose()
        await self._source.aclose()


async def _guarded(call: Call, source: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    owner = asyncio.current_task()
    assert owner is not None
    gone = asyncio.Event()
    watcher = asyncio.create_task(_watch(call.request.scope[RECEIVE], owner, gone))
    with call.services.stream_place(call.caller):
        try:
            async for piece in source:
                yield piece
        except asyncio.CancelledError:
            if not gone.is_set():
                raise
            owner.uncancel()  # nobody is left to hear the rest
        except (Broken, Unavailable, NotLoggedIn):
            raise asyncio.CancelledError from None  # the server closes the connection without the last chunk
        finally:
            watcher.cancel()


async def _watch(receive: Receive, owner: "asyncio.Task[Any]", gone: asyncio.Event) -> None:
    """Wake the stream, whatever it waits for, when its client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
    gone.set()
    owner.cancel()


class Pulse:
    """For the loop of a stream: may it go on, and is it time to say something."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._spoke = self._checked = time.monotonic()

    async def check(self) -> None:
        """Raise Broken when this process stops, NotLoggedIn when the token has ended."""
        if self._call.services.stopping():
            raise Broken
        if time.monotonic() - self._checked >= _TOKEN_CHECK_S:
            self._checked = time.monotonic()
            try:
                await self._call.services.gate.admit(self._call.request, Access.USER, again=True)
            except Unavailable:
                return  # who was let in stays while nobody can be asked

    def spoke(self) -> None:
        self._spoke = time.monotonic()

    @property
    def silent_too_long(self) -> bool:
        return time.monotonic() - self._spoke >= KEEP_ALIVE_S
