"""The HTTP conversation with a Docker engine: one call, one stream, both with limits of time.

aiodocker finds the engine (socket, DOCKER_HOST, context, TLS, ssh) and owns the session. On a socket, whole requests go
over `docker_wire.py`. All others are made here: aiodocker's own ones inspect a container before every log and decode
output as text. Its pool of 100 connections would stop a worker at 50 containers, each of which holds two for as long as
it runs; so on a socket ours has no limit.
"""

import io
import json
import math
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple, TypeAlias
from urllib.parse import quote, urlencode

import aiodocker
import aiohttp
import msgspec
from aiohttp import ClientTimeout
from yarl import URL

from worker.docker_answer import AnswerBroken, AnswerTooLarge
from worker.docker_config import api_version
from worker.docker_wire import DockerWire

CALL_TIMEOUT_S: Final = 60.0
Query: TypeAlias = Mapping[str, str] | Sequence[tuple[str, str]]


class EngineAway(Exception):
    """No whole answer came: the engine is not there, went away in mid-answer, or took longer than allowed."""


class Answer(NamedTuple):
    """A whole answer, whatever its status."""

    status: int
    body: bytes

    @property
    def document(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def ok(self) -> bool:
        return self.status < 400

    @property
    def message(self) -> str:
        """What the engine says went wrong."""
        try:
            return str(json.loads(self.body)["message"])
        except (ValueError, TypeError, KeyError):
            return self.body.decode(errors="replace")


class EngineStream:
    """An answer whose body is still coming. On an error status `refusal` holds the whole answer."""

    def __init__(self, response: aiohttp.ClientResponse, refusal: Answer | None) -> None:
        self._response = response
        self.refusal = refusal

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield what arrives as it arrives. Raises EngineAway when the body breaks off."""
        try:
            async for data in self._response.content.iter_any():
                yield data
        except (aiohttp.ClientError, OSError) as error:
            raise EngineAway(_sentence(error)) from None

    def cut(self) -> None:
        """Give up on the rest; whoever reads gets EngineAway."""
        self._response.close()

    async def lines(self) -> AsyncIterator[bytes]:
        rest = b""
        async for data in self.pieces():
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                if line.strip():
                    yield line
        if rest.strip():
            yield rest


class DockerEngine:
    """A connection to one engine. `url` as in DOCKER_HOST; None looks where the docker command would."""

    def __init__(self, url: str | None = None) -> None:
        self._url = url
        self._docker: aiodocker.Docker | None = None
        self._own_connector: aiohttp.UnixConnector | None = None
        self._wire: DockerWire | None = None
        self._base = self._version = ""
        self.unlimited = False
        self._broke_s = -math.inf  # when a request last found nobody, or was cut

    async def open(self) -> Mapping[str, Any]:
        """Connect (anew), agree on the API version, and return GET /version. Raises EngineAway."""
        await self.close()
        try:
            docker = aiodocker.Docker(self._url)
        except (AssertionError, ValueError, OSError, aiodocker.DockerError) as error:
            raise EngineAway(str(error) or "there is no Docker socket on this machine") from None
        if isinstance(docker.connector, aiohttp.UnixConnector):
            path = docker.connector.path
            await docker.close()
            self._own_connector = aiohttp.UnixConnector(path, limit=0)
            docker = aiodocker.Docker(f"unix://{path}", connector=self._own_connector)
            self._wire = DockerWire(path)
            self.unlimited = True
        self._docker = docker
        self._base = "http://docker" if self.unlimited else docker.docker_host
        try:
            answer = await self.call("GET", "/version", timeout_s=10.0)
        except EngineAway:
            await self.close()
            raise
        if not answer.ok:
            await self.close()
            raise EngineAway(answer.message)
        version: Mapping[str, Any] = answer.document
        self._version = "/v" + api_version(version["ApiVersion"], version.get("MinAPIVersion", ""))
        self._base += self._version
        return version

    async def close(self) -> None:
        if self._wire is not None:
            self._wire.close()
        if self._docker is not None:
            await self._docker.close()
        if self._own_connector is not None:
            await self._own_connector.close()
        self._docker = self._own_connector = self._wire = None
        self._version = ""

    def was_away(self, seconds: float) -> bool:
        """Whether it was not there within the last so many seconds: it may be another process now."""
        return time.monotonic() - self._broke_s < seconds

    def accepts(self) -> bool:
        """Whether it takes new connections: one that is being stopped answers on those that it has."""
        if self._own_connector is None:
            return True
        with socket.socket(socket.AF_UNIX) as probe:
            probe.setblocking(False)
            try:
                probe.connect(self._own_connector.path)
            except BlockingIOError:  # so many wait to be taken that there is no place left
                return True
            except OSError:
                return False
        return True

    async def call(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        *,
        body: Any = None,
        data: bytes | None = None,
        timeout_s: float | None = CALL_TIMEOUT_S,
    ) -> Answer:
        """Make one request and read its whole answer. `timeout_s` None waits for as long as it takes."""
        sent = data if data is not None else encode_body(body) if body is not None else b""
        kind = "application/json" if data is None else "application/x-tar"
        if self._wire is not None:
            try:
                return await self._ask_wire(method, path, query, body=sent, kind=kind, timeout_s=timeout_s)
            except AnswerTooLarge as error:
                raise EngineAway(str(error)) from None
        limits = ClientTimeout(total=timeout_s, sock_connect=10)
        headers = {"Content-Type": kind}
        try:
            async with self._session.request(
                method,
                self._address(path, query),
                data=io.BytesIO(sent) if sent else None,
                headers=headers,
                timeout=limits,
            ) as response:
                return Answer(response.status, await response.read())
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._away(error, timeout_s) from None

    async def small(self, path: str, query: Query, body_max: int) -> Answer | None:
        """GET what is mostly small; None where it is not, or its size cannot be limited: then it must be streamed."""
        if self._wire is None:
            return None
        try:
            return await self._ask_wire("GET", path, query, body_max=body_max)
        except AnswerTooLarge:
            return None

    async def _ask_wire(self, method: str, path: str, query: Query | None, **how: Any) -> Answer:
        assert self._wire is not None
        target = self._version + (f"{path}?{urlencode(query, quote_via=quote)}" if query else path)
        try:
            return Answer(*await self._wire.request(method, target, **how))
        except AnswerTooLarge:
            raise
        except (AnswerBroken, OSError, TimeoutError) as error:
            raise self._away(error, how.get("timeout_s", CALL_TIMEOUT_S)) from None

    def _away(self, error: Exception, timeout_s: float | None) -> EngineAway:
        if not isinstance(error, TimeoutError):
            self._broke_s = time.monotonic()
        return EngineAway(_sentence(error, timeout_s))

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        *,
        headers: Mapping[str, str] | None = None,
        silence_s: float | None = None,
    ) -> AsyncIterator[EngineStream]:
        """Make one request whose answer is read piece by piece; `silence_s` limits the time between two pieces."""
        limits = ClientTimeout(total=None, sock_connect=10, sock_read=silence_s)
        try:
            response = await self._session.request(method, self._address(path, query), headers=headers, timeout=limits)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise EngineAway(_sentence(error, silence_s)) from None
        try:
            yield EngineStream(response, await self._refusal(response))
        finally:
            response.close()

    async def _refusal(self, response: aiohttp.ClientResponse) -> Answer | None:
        if response.status < 400:
            return None
        try:
            return Answer(response.status, await response.read())
        except (aiohttp.ClientError, OSError) as error:
            raise EngineAway(_sentence(error)) from None

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._docker is None:
            raise EngineAway("the connection to Docker is closed")
        return self._docker.session

    def _address(self, path: str, query: Query | None) -> URL:
        url = URL(self._base + path, encoded=True)
        return url.with_query(query) if query else url


def _plain(value: object) -> int:
    """Msgspec encodes no class of ours that is a number, as sizes are."""
    if isinstance(value, int):
        return int(value)
    raise NotImplementedError(type(value).__name__)


encode_body: Final = msgspec.json.Encoder(enc_hook=_plain).encode


def _sentence(error: Exception, timeout_s: float | None = None) -> str:
    if isinstance(error, TimeoutError) and timeout_s is not None:
        return f"no answer within {timeout_s:g} s"
    return str(error) or type(error).__name__
