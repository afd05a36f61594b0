"""Reading a container's whole output from the engine: following, going on after a break, and proving the end.

Following alone loses output. When a container ends, the engine may close the stream before it has sent the last entries
(measured on 20.10: one in five containers that write and exit at once; moby issue 43860 for later versions). So
after the end the log's last entry is asked for, and where it is not the one that was seen, the log is read again.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Final

from worker import docker_errors
from worker.container_runtime import LogPiece, RuntimeProblem, Seen
from worker.docker_engine import Answer, DockerEngine, EngineAway, EngineStream
from worker.docker_logs import LogFrames, LogStreamBroken
from worker.docker_looks import PAUSE_MIN_S, TRIES_MAX, DockerLooks, expect_ok

PAUSE_MAX_S: Final = 5.0
#: A stream that is still open this long after its container ended is cut and read again without following.
CUT_AFTER_S: Final = 10.0
#: Output is followed from so long after the start on; most containers that write little have ended by then.
FOLLOW_AFTER_S: Final = 0.2
#: A whole log up to this size is read in one answer.
SMALL_BYTES: Final = 256 << 10
_QUERY: Final = {"stdout": "1", "stderr": "1", "timestamps": "1"}


class DockerLogReader:
    def __init__(self, engine: DockerEngine, looks: DockerLooks, pause: Callable[[float], Awaitable[None]]) -> None:
        self._engine = engine
        self._looks = looks
        self._pause = pause
        self._following: dict[str, EngineStream] = {}
        self._starting: dict[str, asyncio.Future[None]] = {}  # ends here are waited for
        self.newlines_lost = False

    def ended(self, container_id: str) -> None:
        """`wait` saw the end: from now on following must end soon."""
        starting = self._starting.get(container_id)
        if starting is not None:
            _resolve(starting)
        stream = self._following.get(container_id)
        if stream is not None:
            asyncio.get_running_loop().call_later(CUT_AFTER_S, self._cut, container_id, stream)

    def _cut(self, container_id: str, stream: EngineStream) -> None:
        if self._following.get(container_id) is stream:
            stream.cut()

    async def read(self, container_id: str, skip: Mapping[str, int]) -> AsyncIterator[LogPiece]:
        """As ContainerRuntime.logs. Raises RuntimeProblem when the engine cannot read the log any more."""
        given: dict[str, int] = {"stdout": 0, "stderr": 0, **skip}
        breaks, pause_s, at = 0, PAUSE_MIN_S, 0.0
        if not self._looks.has_exited(container_id):
            await self._first_moment(container_id)
        while True:
            follow = not self._looks.has_exited(container_id)
            frames = LogFrames(given, newlines_lost=self.newlines_lost)
            try:
                async with aclosing(self._pieces(container_id, frames, follow=follow)) as pieces:
                    async for piece in pieces:
                        given[piece.stream] += len(piece.data)
                        breaks, pause_s, at = 0, PAUSE_MIN_S, piece.at
                        yield piece
                if await self._is_all(container_id, frames, followed=follow):
                    for piece in frames.finish(at):
                        yield piece
                    return
                if self._looks.has_exited(container_id):
                    continue
            except _NothingLeft:
                return
            except (LogStreamBroken, RuntimeProblem) as broken:
                breaks += 1
                if breaks >= TRIES_MAX:
                    raise docker_errors.engine_problem("read a container's output", 500, str(broken)) from None
            except EngineAway:
                pass  # as in `wait`: until the engine is back
            await self._pause(pause_s)
            pause_s = min(2 * pause_s, PAUSE_MAX_S)

    async def _first_moment(self, container_id: str) -> None:
        """Let a container end that ends at once: its output is then read once, and neither followed nor proven."""
        loop = asyncio.get_running_loop()
        starting = self._starting[container_id] = loop.create_future()
        timer = loop.call_later(FOLLOW_AFTER_S, _resolve, starting)
        try:
            await starting
        finally:
            timer.cancel()
            self._starting.pop(container_id, None)

    async def _pieces(self, container_id: str, frames: LogFrames, *, follow: bool) -> AsyncGenerator[LogPiece, None]:
        if not follow and not frames.skips:
            whole = await self._engine.small(f"/containers/{container_id}/logs", _QUERY, SMALL_BYTES)
            if whole is not None:
                _expect_log(whole)
                for piece in frames.feed(whole.body):
                    yield piece
                return
        query = _QUERY | {"follow": "1"} if follow else _QUERY
        async with self._engine.stream("GET", f"/containers/{container_id}/logs", query) as answer:
            _expect_log(answer.refusal)
            if follow:
                self._following[container_id] = answer
            try:
                async for data in answer.pieces():
                    for piece in frames.feed(data):
                        yield piece
            finally:
                self._following.pop(container_id, None)

    async def _is_all(self, container_id: str, frames: LogFrames, *, followed: bool) -> bool:
        """Whether the stream that has just ended gave all there will ever be."""
        if not frames.complete:
            raise LogStreamBroken("the log ends in the middle of an entry")
        if not followed:
            return True
        seen, _exit = await self._looks.look(container_id)
        if seen is Seen.ABSENT:
            raise _NothingLeft
        if seen is Seen.RUNNING or not frames.last_is_unique:
            return False
        last = await self._engine.call("GET", f"/containers/{container_id}/logs", _QUERY | {"tail": "1"})
        return last.body == frames.last_frame


class _NothingLeft(Exception):
    """The container and its log are gone."""


def _expect_log(answer: Answer | None) -> None:
    if answer is not None and answer.status in (404, 409):
        raise _NothingLeft
    expect_ok(answer, "read a container's output")


def _resolve(starting: asyncio.Future[None]) -> None:
    if not starting.done():
        starting.set_result(None)
