"""HTTP load: connections that stay open, one request at a time each; closed loops and open ones.

A closed loop asks again as soon as it is answered: how much goes through. An open loop asks at times set before,
whatever the answers do: how long people wait, with the queue that forms when Core is slow.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

_END: Final = b"\r\n\r\n"
_REST: Final = b"Host: bench\r\n\r\n"


class Answer(Struct, frozen=True):
    status: int
    body: bytes


class Connection(asyncio.Protocol):
    """One connection of HTTP/1.1; `ask` may not be called again before it has returned."""

    def __init__(self) -> None:
        self._transport: asyncio.WriteTransport | None = None
        self._received = bytearray()
        self._needed = 0
        self._waiting: asyncio.Future[Answer] | None = None
        self.lost = False  # a server closes what was silent for long

    @classmethod
    async def open(cls, url: str) -> "Connection":
        parts = urlsplit(url)
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(cls, parts.hostname or "", parts.port or 80)
        return connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]  # uvloop's transports are no subclasses

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(exc or ConnectionResetError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._needed:
            end = self._received.find(_END)
            if end < 0:
                return
            head = bytes(self._received[:end]).lower()
            _, found, rest = head.partition(b"content-length:")
            self._needed = end + len(_END) + (int(rest.split(b"\r\n", 1)[0]) if found else 0)
        if len(self._received) >= self._needed and self._waiting is not None:
            whole = bytes(self._received[: self._needed])
            del self._received[: self._needed]
            self._needed = 0
            self._waiting.set_result(Answer(int(whole[9:12]), whole.partition(_END)[2]))

    async def ask(self, request: bytes) -> Answer:
        assert self._transport is not None
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._waiting

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def request(method: str, path: str, token: str, body: bytes = b"") -> bytes:
    """Return the bytes of one request."""
    head = f"{method} {path} HTTP/1.1\r\nAuthorization: Bearer {token}\r\n"
    if body or method == "POST":
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + _REST + body


async def closed_loop(
    url: str, make: Callable[[], bytes], connections: int, seconds: float
) -> tuple[list[float], float]:
    """Ask over and over; return the milliseconds of each answer and the seconds that all took. All must succeed."""
    lines = [await Connection.open(url) for _ in range(connections)]
    end = time.perf_counter() + seconds
    took: list[float] = []

    async def ask_on(line: Connection) -> None:
        while (began := time.perf_counter()) < end:
            answer = await line.ask(make())
            took.append((time.perf_counter() - began) * 1_000)
            if not 200 <= answer.status < 300:
                raise RuntimeError(f"answered {answer.status}: {answer.body[:200]!r}")

    began = time.perf_counter()
    try:
        await asyncio.gather(*(ask_on(line) for line in lines))
    finally:
        for line in lines:
            line.close()
    return took, time.perf_counter() - began


async def open_loop(
    times_s: Sequence[float], ask: Callable[[int, float], Awaitable[None]], in_flight_max: int = 2_000
) -> int:
    """Call `ask(number, due)` at each time (seconds from now on); return how many could not begin. Never waits for it.

    `due` is on the clock of `time.time`. What begins late is late: nothing is left out because Core is slow. Raises
    what the first call that failed has raised, since figures without it would be too good.
    """
    began_wall, began = time.time(), time.perf_counter()
    running: set[asyncio.Task[None]] = set()
    failures: list[BaseException] = []
    refused = 0

    def over(task: asyncio.Task[None]) -> None:
        running.discard(task)
        if not task.cancelled() and (problem := task.exception()) is not None:
            failures.append(problem)

    for number, at_s in enumerate(times_s):
        wait_s = at_s - (time.perf_counter() - began)
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        if failures:
            break
        if len(running) >= in_flight_max:
            refused += 1
            continue
        task = asyncio.ensure_future(ask(number, began_wall + at_s))
        running.add(task)
        task.add_done_callback(over)
    if running:
        await asyncio.wait(running)
    if failures:
        raise failures[0]
    return refused
