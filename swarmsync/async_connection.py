"""One Core over HTTP, for programs on an event loop: as `connection.py`, awaited."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import aiohttp
from yarl import URL

from swarmsync import calls, errors
from swarmsync.calls import BrokenError, Document, Effect, Manner, Pages, Pause, Program, Reply, Request, Send
from swarmsync.errors import Unavailable
from swarmsync.profiles import current
from swarmsync.wire import (
    LINE_MAX,
    STREAM_IDLE_S,
    Filters,
    NotSentError,
    address_of,
    cause,
    headers_of,
    refusal,
    target,
    trust,
)

T = TypeVar("T")
CONNECT_S: Final = 10.0
BLOCK: Final = 1 << 16


class AsyncConnection:
    """Speaks to one Core as one user."""

    def __init__(
        self,
        url: str | None = None,
        token: str = "",
        *,
        timeout_s: float = 30.0,
        patience_s: float = 10.0,
        ca: str = "",
        connections: int = 100,
    ) -> None:
        """As `Client`. Make it on the loop that uses it."""
        self._follow_profile = url is None
        if url is None:
            profile, _ = current()
            url, token, ca = profile.url, token or profile.token, ca or profile.ca
        parts = address_of(url)
        self.url = url.rstrip("/")
        self._token = token
        self._manner = Manner(timeout_s, patience_s, time.monotonic)
        secure = trust(ca) if parts.scheme == "https" else False
        self._connector = aiohttp.TCPConnector(limit=connections, ssl=secure or True)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
        await self._connector.close()

    # --- any call -------------------------------------------------------------------------------------------------

    async def get(self, path: str, query: Filters | None = None, *, timeout_s: float | None = None) -> Any:
        return await self.call("GET", path, query=query, timeout_s=timeout_s)

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Filters | None = None,
        key: str = "",
        repeatable: bool | None = None,
        timeout_s: float | None = None,
    ) -> Any:
        """As `Client.call`."""
        return await self._do(Request[Any](method, path, body, query, key, repeatable, timeout_s))

    async def _do(self, request: Request[T]) -> T:
        return await self._run(calls.perform(request, self._manner))

    async def _run(self, program: Program[T]) -> T:
        try:
            effect = next(program)
            while True:
                try:
                    came = await self._perform(effect)
                except (NotSentError, BrokenError) as error:
                    effect = program.throw(error)
                else:
                    effect = program.send(came)
        except StopIteration as end:
            result: T = end.value
            return result

    async def _perform(self, effect: Effect) -> Reply | bool | None:
        match effect:
            case Send():
                return await self._exchange(effect)
            case Pause(seconds):
                await asyncio.sleep(seconds)
                return None
            case _:
                return self._renewed()

    async def _exchange(self, send: Send) -> Reply:
        timeout = aiohttp.ClientTimeout(total=send.timeout_s, sock_connect=CONNECT_S)
        headers = headers_of(self._token, send.headers, has_content=send.content is not None)
        url = URL(self.url + send.target, encoded=True)
        try:
            async with self._opened().request(
                send.method, url, data=send.content, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                return Reply(response.status, response.headers, await response.read())
        except aiohttp.ClientConnectorError as error:
            raise NotSentError(f"cannot reach Core at {self.url}: {cause(error)}") from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise BrokenError(f"the connection to {self.url} broke: {cause(error)}") from None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=self._connector, connector_owner=False, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session

    def _renewed(self) -> bool:
        if not self._follow_profile:
            return False
        before, self._token = self._token, current()[0].token or self._token
        return self._token != before

    async def items(
        self, path: str, filters: Filters | None = None, *, limit: int | None = None
    ) -> AsyncIterator[Document]:
        """As `Client.items`."""
        pages = Pages(path, filters, limit)
        while (request := pages.next()) is not None:
            for item in pages.take(await self._do(request)):
                yield item

    async def lines(
        self,
        path: str,
        query: Filters | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        on_open: Callable[[], None] = lambda: None,
    ) -> AsyncIterator[bytes]:
        """As `Client.lines`."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=STREAM_IDLE_S)
        try:
            for tries in (1, 2):
                sent = headers_of(self._token, headers or {}, has_content=False)
                url = URL(self.url + target(path, query), encoded=True)
                async with self._opened().get(url, headers=sent, timeout=timeout, allow_redirects=False) as response:
                    if response.status >= 400:
                        problem = refusal(response.status, response.headers, await response.read())
                        if tries == 1 and isinstance(problem, errors.NotLoggedIn) and self._renewed():
                            continue
                        raise problem
                    on_open()
                    async for line in _split(response.content):
                        yield line
                    return
        except aiohttp.ClientConnectorError as error:
            raise Unavailable(f"cannot reach Core at {self.url}: {cause(error)}") from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"the stream from {self.url} broke: {cause(error)}") from None


async def _split(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    rest = b""
    async for block in content.iter_chunked(BLOCK):
        *whole, rest = (rest + block).split(b"\n")
        for line in whole:
            yield line
        if len(rest) > LINE_MAX:
            raise aiohttp.ClientPayloadError(f"a line of more than {LINE_MAX} bytes")
    if rest:
        yield rest
