"""Whole requests to an engine on a Unix socket, over connections that are kept.

A container takes six requests, and aiohttp needs a third of a millisecond for each: that was most of what our worker
cost. This does the little that they need; streams, TCP and TLS stay with aiohttp (`docker_engine.py`).
"""

import asyncio
from typing import Final, cast

from worker.docker_answer import BODY_MAX, AnswerBroken, AnswerReader

CONNECT_S: Final = 10.0
IDLE_MAX: Final = 16
_KIND: Final = b"HTTP/1.1\r\nHost: docker\r\nContent-Type: "


class DockerWire:
    """Raises OSError where there is no engine, AnswerBroken where it broke off, TimeoutError."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._idle: list[_Connection] = []
        self._busy: set[_Connection] = set()
        self._closed = False

    async def request(
        self,
        method: str,
        target: str,
        *,
        body: bytes = b"",
        kind: str = "application/json",
        timeout_s: float | None = 60.0,
        body_max: int = BODY_MAX,
    ) -> tuple[int, bytes]:
        """Return the status and the whole body of the answer."""
        head = b"%b %b %b%b\r\nContent-Length: %d\r\n\r\n" % (
            method.encode(),
            target.encode(),
            _KIND,
            kind.encode(),
            len(body),
        )
        connection = await self._connection()
        reader = AnswerReader(body_max)
        self._busy.add(connection)
        try:
            await connection.ask(head + body, reader, timeout_s)
        finally:
            self._busy.discard(connection)
            kept = not self._closed and len(self._idle) < IDLE_MAX
            if kept and connection.open and reader.done and reader.reusable:
                self._idle.append(connection)
            else:
                connection.close()
        return reader.status, bytes(reader.body)

    async def _connection(self) -> "_Connection":
        while self._idle:
            connection = self._idle.pop()
            if connection.open:
                return connection
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_S):
            _, connection = await loop.create_unix_connection(_Connection, self.path)
        return connection

    def close(self) -> None:
        """Close all connections; who waits for an answer learns that it broke off."""
        self._closed = True  # whoever is still connecting gets an answer, and keeps nothing
        for connection in (*self._idle, *self._busy):
            connection.close()
        self._idle.clear()


class _Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self) -> None:
        self.open = False
        self._transport: asyncio.Transport | None = None
        self._reader: AnswerReader | None = None
        self._answer: asyncio.Future[None] | None = None

    async def ask(self, request: bytes, reader: AnswerReader, timeout_s: float | None) -> None:
        assert self._transport is not None
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[None] = loop.create_future()
        self._answer = answer
        self._reader = reader
        timer = None if timeout_s is None else loop.call_later(timeout_s, self._fail, TimeoutError())
        try:
            self._transport.write(request)
            await answer
        finally:
            if timer is not None:
                timer.cancel()
            self._reader = self._answer = None

    def close(self) -> None:
        self.open = False
        if self._transport is not None:
            self._transport.abort()

    # ------------------------------------------------ what the loop says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self.open = cast("asyncio.Transport", transport), True  # uvloop's are none by class

    def data_received(self, data: bytes) -> None:
        if self._reader is None:
            self.close()  # nobody asked
            return
        try:
            self._reader.feed(data)
        except AnswerBroken as broken:
            self._fail(broken)
        else:
            self._tell_if_done()

    def connection_lost(self, error: Exception | None) -> None:
        self.open = False
        if self._reader is None:
            return
        try:
            self._reader.closed()
        except AnswerBroken as broken:
            self._fail(error or broken)
        else:
            self._tell_if_done()

    def _tell_if_done(self) -> None:
        if self._reader is not None and self._reader.done and self._answer is not None and not self._answer.done():
            self._answer.set_result(None)

    def _fail(self, problem: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(problem)
