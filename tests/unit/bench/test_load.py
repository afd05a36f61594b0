import asyncio
import time

import pytest

from bench.load import Connection, closed_loop, open_loop, request


async def _serve(answers):
    """A server that answers each request with the next of `answers`, in small pieces."""

    async def talk(reader, writer):
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                break
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0] or 0)
            body = await reader.readexactly(length)
            status, text = answers(head, body)
            answer = f"HTTP/1.1 {status} X\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text
            for start in range(0, len(answer), 7):
                writer.write(answer[start : start + 7])
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_answers_come_whole_however_they_are_cut():
    server, url = await _serve(lambda _head, body: (201, body * 3))
    line = await Connection.open(url)
    for body in (b"", b"ab", b"x" * 500):
        answer = await line.ask(request("POST", "/", "token", body))
        assert (answer.status, answer.body) == (201, body * 3)
    line.close()
    server.close()


async def test_a_connection_that_the_server_closed_says_so():
    async def hang_up(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    line = await Connection.open(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    assert not line.lost
    with pytest.raises(ConnectionError):
        await line.ask(request("GET", "/", "t"))
    assert line.lost
    server.close()


async def test_a_closed_loop_counts_every_answer_and_refuses_failures():
    server, url = await _serve(lambda _head, _body: (200, b"{}"))
    took_ms, took_s = await closed_loop(url, lambda: request("GET", "/", "t"), 3, 0.05)
    assert len(took_ms) >= 3
    assert took_s >= 0.05
    server.close()
    server, url = await _serve(lambda _head, _body: (503, b"no"))
    with pytest.raises(RuntimeError, match="503"):
        await closed_loop(url, lambda: request("GET", "/", "t"), 1, 0.05)
    server.close()


async def test_an_open_loop_asks_on_time_although_nothing_is_answered():
    """What would be hidden if the load waited for Core."""
    began, asked = time.time(), []
    release = asyncio.Event()

    async def ask(number, due):
        asked.append((number, round(due - began, 2)))
        if number == 4:
            release.set()
        await release.wait()

    refused = await open_loop([0.0, 0.0, 0.01, 0.01, 0.02], ask)
    assert [number for number, _ in asked] == [0, 1, 2, 3, 4]
    assert asked[-1][1] >= 0.02
    assert refused == 0


async def test_an_open_loop_says_what_it_could_not_begin():
    began, both = [], asyncio.Event()

    async def ask(number, _due):
        began.append(number)
        if len(began) == 2:
            both.set()
        await both.wait()

    assert await open_loop([0.0] * 5, ask, in_flight_max=2) == 3
    assert began == [0, 1]


async def test_an_open_loop_that_fails_is_no_result():
    async def ask(number, _due):
        if number == 1:
            raise RuntimeError("the second")

    with pytest.raises(RuntimeError, match="the second"):
        await open_loop([0.0] * 5, ask)
