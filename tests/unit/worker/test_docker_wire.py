"""Connections to an engine: kept, given up, and what breaks on the way."""

import asyncio
from contextlib import asynccontextmanager

import pytest
import uvloop

from worker.docker_answer import AnswerBroken
from worker.docker_wire import IDLE_MAX, DockerWire

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LIMIT_S = 60


class Engine:
    """Answers each request with what `answers` says next, and OK where that says nothing."""

    def __init__(self, answers):
        self.answers = list(answers)
        self.asked = []
        self.connections = 0
        self.heard, self.gone = asyncio.Event(), asyncio.Event()

    async def serve(self, reader, writer):
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                self.asked.append((head.partition(b"\r\n")[0], await reader.readexactly(length)))
                self.heard.set()
                answer = self.answers.pop(0) if self.answers else OK
                if answer is None:
                    return
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            self.gone.set()
        finally:
            writer.close()


@asynccontextmanager
async def engine(tmp_path, *answers):
    there = Engine(answers)
    path = str(tmp_path / "docker.sock")
    server = await asyncio.start_unix_server(there.serve, path)
    wire = DockerWire(path)
    try:
        yield there, wire
    finally:
        wire.close()
        server.close()


async def test_requests_one_after_the_other_share_a_connection(tmp_path):
    async with engine(tmp_path) as (there, wire):
        assert await wire.request("POST", "/a?b=1", body=b"{}") == (200, b"ok")
        assert await wire.request("GET", "/c") == (200, b"ok")
        assert (there.asked, there.connections) == ([(b"POST /a?b=1 HTTP/1.1", b"{}"), (b"GET /c HTTP/1.1", b"")], 1)


def test_the_worker_s_own_loop_does_it_too(tmp_path):
    async def ask():
        async with engine(tmp_path) as (there, wire):
            answers = [await wire.request("GET", "/") for _ in range(2)]
            return answers, there.connections

    assert uvloop.run(ask()) == ([(200, b"ok")] * 2, 1)


async def test_requests_at_once_have_one_each_and_not_all_are_kept(tmp_path):
    async with engine(tmp_path) as (there, wire):
        await asyncio.gather(*(wire.request("GET", "/") for _ in range(IDLE_MAX + 4)))
        assert (there.connections, len(wire._idle)) == (IDLE_MAX + 4, IDLE_MAX)


async def test_after_an_engine_went_away_the_next_request_connects_anew(tmp_path):
    async with engine(tmp_path, OK, None, OK) as (there, wire):
        await wire.request("GET", "/")
        with pytest.raises(AnswerBroken):
            await wire.request("GET", "/")
        assert await wire.request("GET", "/") == (200, b"ok")
        assert there.connections == 2


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\n", OK[:-1]])
async def test_an_answer_that_stays_away_is_not_waited_for_for_ever(tmp_path, answer):
    async with engine(tmp_path, answer, OK) as (there, wire):
        with pytest.raises(TimeoutError):
            await wire.request("GET", "/", timeout_s=0.05)
        assert await wire.request("GET", "/") == (200, b"ok")
        assert there.connections == 2


async def test_who_gives_up_lets_go_of_the_connection(tmp_path):
    async with engine(tmp_path, b"HTTP/1.1 200 OK\r\n") as (there, wire):
        asking = asyncio.create_task(wire.request("GET", "/", timeout_s=None))
        async with asyncio.timeout(LIMIT_S):
            await there.heard.wait()
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            await there.gone.wait()
        assert wire._idle == []


async def test_closing_tells_who_waits(tmp_path):
    async with engine(tmp_path, b"HTTP/1.1 200 OK\r\n") as (there, wire):
        asking = asyncio.create_task(wire.request("GET", "/", timeout_s=None))
        async with asyncio.timeout(LIMIT_S):
            await there.heard.wait()
            wire.close()
            with pytest.raises(AnswerBroken):
                await asking


async def test_who_was_connecting_when_it_was_closed_leaves_no_connection_behind(tmp_path):
    async with engine(tmp_path) as (there, wire):
        asking = asyncio.create_task(wire.request("GET", "/"))
        await asyncio.sleep(0)
        wire.close()
        async with asyncio.timeout(LIMIT_S):
            await asyncio.gather(asking, return_exceptions=True)
            await there.gone.wait()
        assert wire._idle == []


async def test_without_an_engine_there_is_no_connection(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        await DockerWire(str(tmp_path / "none.sock")).request("GET", "/")
