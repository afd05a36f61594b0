"""The application under Gunicorn: what only a real server can show."""

import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bench.harness import free_port
from swarmsync import embedded

pytestmark = [pytest.mark.integration, pytest.mark.process]
CONFIG = Path(__file__).parents[3] / "conf" / "gunicorn.conf.py"
PATIENCE_S = 20.0


class Server:
    """Gunicorn and the ways to talk to it."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, token: str) -> None:
        self.process = process
        self.port = port
        self.token = token

    def connect(self, timeout_s: float = PATIENCE_S) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)

    def call(self, method: str, target: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
        with closing(self.connect()) as connection:
            connection.request(method, target, body, self._headers(headers))
            response = connection.getresponse()
            return response.status, response.read()

    def submit(self) -> str:
        status, content = self.call("POST", "/v1/jobs", b'{"image": "alpine:3.20"}')
        assert status == 201
        return json.loads(content)["id"]

    def stream(self, target: str) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = self.connect()
        connection.request("GET", target, headers=self._headers({}))
        return connection, connection.getresponse()

    def workers(self) -> list[int]:
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(number) for number in path.read_text().split()]

    def answers(self) -> bool:
        try:
            return self.call("GET", "/healthz")[0] == 200
        except OSError:
            return False

    def _headers(self, more: dict[str, str]) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}", **{k.replace("_", "-"): v for k, v in more.items()}}


def until(condition, what: str) -> None:
    """Ask again and again, with a little room for others between, until it is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {PATIENCE_S:g} s"
        select.select([], [], [], 0.02)


def gone(pid: int) -> None:
    """Return when the process is no more."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([descriptor], [], [], PATIENCE_S)[0], f"process {pid} is still there"
    finally:
        os.close(descriptor)


def start(servers, people, directory: Path, **more: Any) -> Server:
    port = free_port()
    urls = {"api_database_url": servers.api_url, "nats_url": servers.nats_api_url, "redis_url": servers.redis_url}
    path = directory / "api.json"
    path.write_text(json.dumps({**urls, "port": port, "processes": 1, **more}))
    log = (directory / "gunicorn.log").open("wb")
    with log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-c", str(CONFIG)],
            env={**os.environ, "SWARMSYNC_API_CONFIG": str(path)},
            stdout=log,
            stderr=log,
            preexec_fn=embedded.die_with_parent,  # noqa: PLW1509 no threads here
        )
    server = Server(process, port, people.ann.token)
    until(server.answers, "an answer")
    return server


def stop(server: Server) -> None:
    server.process.kill()
    server.process.wait(PATIENCE_S)


@pytest.fixture(scope="module")
def server(servers, people, tmp_path_factory) -> Iterator[Server]:
    running = start(servers, people, tmp_path_factory.mktemp("gunicorn"), streams_max=2)
    yield running
    stop(running)


@pytest.fixture
def own_server(servers, people, tmp_path) -> Iterator[Server]:
    """One that the test may kill."""
    running = start(servers, people, tmp_path)
    yield running
    stop(running)


def test_a_body_that_is_too_large_is_refused_so_that_the_client_sees_it(server):
    status, content = server.call("POST", "/v1/jobs", b"[" * (9 << 20), Content_Type="application/json")
    assert status == 413
    assert json.loads(content)["status"] == 413


def test_a_body_that_does_not_say_its_length_is_refused_when_it_gets_too_large(server):
    chunks = (b"x" * (1 << 20) for _ in range(10))
    with closing(server.connect()) as connection:
        headers = {"Authorization": f"Bearer {server.token}", "Content-Type": "application/json"}
        connection.request("POST", "/v1/jobs", chunks, headers, encode_chunked=True)
        response = connection.getresponse()
        assert response.status == 413
        assert json.loads(response.read())["title"] == "Too large"


def test_an_endless_body_is_cut_off(server):
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S)) as raw:
        head = f"POST /v1/jobs HTTP/1.1\r\nhost: x\r\nAuthorization: Bearer {server.token}\r\n"
        head += "Transfer-Encoding: chunked\r\n\r\n"
        raw.sendall(head.encode())
        block = b"100000\r\n" + b"[" * (1 << 20) + b"\r\n"
        sent = 0
        try:
            while sent < 200:
                raw.sendall(block)
                sent += 1
        except OSError:
            pass
        assert sent < 100
    assert server.answers()


def test_two_lengths_or_a_broken_request_are_no_way_in(server):
    for head in (
        "POST /v1/jobs HTTP/1.1\r\nhost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}{}{}",
        "POST /v1/jobs HTTP/1.1\r\nhost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /v1/jobs?name=\xff HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET / HTTP/1.1\r\n" + "".join(f"X-{n}: y\r\n" for n in range(1000)) + "\r\n",
    ):
        with closing(socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S)) as raw:
            raw.sendall(head.encode("latin-1"))
            answer = raw.recv(65_536)
        assert answer[:10] in (b"", b"HTTP/1.1 4") or answer.startswith(b"HTTP/1.1 4"), answer[:100]
    assert server.answers()


def test_a_followed_job_is_told_piece_by_piece(server, servers, people):
    job = server.submit()
    connection, response = server.stream(f"/v1/jobs/{job}/logs?follow=1&format=jsonl")
    with closing(connection):
        assert json.loads(response.readline())["state"] == "queued"
        status, _ = server.call("POST", f"/v1/jobs/{job}/cancel")
        assert status == 202
        assert json.loads(response.readline())["state"] == "cancelled"
        assert json.loads(response.readline())["end"]["reason"] == "CancelledByUser"
        assert response.readline() == b""


def test_events_are_told_as_they_happen(server):
    connection, response = server.stream("/v1/events")
    with closing(connection):
        assert response.readline().startswith(b": here are the changes after ")
        job = server.submit()
        line = b""
        while not line.startswith(b"data: "):
            line = response.readline()
        assert json.loads(line.removeprefix(b"data: "))["job"] == job


def test_a_client_that_goes_gives_its_place_back(server):
    """Two streams are allowed here; many that were broken off leave room for two more."""
    job = server.submit()
    for _ in range(6):

        def admitted() -> bool:
            connection, response = server.stream(f"/v1/jobs/{job}/logs?follow=1&format=jsonl")
            with closing(connection):
                if response.status == 429:
                    response.read()
                    return False
                assert b"queued" in response.readline()
                return True

        until(admitted, "a place for a stream")


def test_a_killed_worker_is_replaced_at_once(own_server):
    (worker,) = own_server.workers()
    os.kill(worker, signal.SIGKILL)
    until(lambda: own_server.workers() not in ([worker], []) and own_server.answers(), "a new worker")


def test_the_workers_die_with_their_arbiter(own_server):
    workers = own_server.workers()
    own_server.process.kill()
    own_server.process.wait(PATIENCE_S)
    for worker in workers:
        gone(worker)
    with pytest.raises(OSError, match="refused"):
        own_server.connect().connect()


def test_a_stop_ends_open_streams_without_a_clean_end_and_leaves_nothing(own_server):
    job = own_server.submit()
    workers = own_server.workers()
    connection, response = own_server.stream(f"/v1/jobs/{job}/logs?follow=1&format=jsonl")
    with closing(connection):
        assert b"queued" in response.readline()
        began = time.monotonic()
        own_server.process.terminate()
        with pytest.raises(http.client.IncompleteRead):
            response.read()
    assert own_server.process.wait(PATIENCE_S) == 0
    assert time.monotonic() - began < 8
    for worker in workers:
        gone(worker)


def test_requests_in_flight_are_answered_before_a_stop(own_server):
    job = own_server.submit()
    with closing(own_server.connect()) as connection:
        connection.request("GET", f"/v1/jobs/{job}?wait=60", headers={"Authorization": f"Bearer {own_server.token}"})
        until(own_server.answers, "another answer")
        own_server.process.terminate()
        response = connection.getresponse()
        assert json.loads(response.read())["state"] == "queued"
    assert own_server.process.wait(PATIENCE_S) == 0


def test_a_wrong_configuration_ends_with_exit_code_3(tmp_path):
    path = tmp_path / "api.json"
    path.write_text("{}")
    ended = subprocess.run(
        [sys.executable, "-m", "gunicorn", "-c", str(CONFIG)],
        env={**os.environ, "SWARMSYNC_API_CONFIG": str(path)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ended.returncode == 3
    assert "api_database_url" in ended.stderr


def test_an_address_that_no_name_can_have_is_not_found(server):
    for text in ("%ff%fe", "%00", "%ed%a0%80", "a%2fb", "%c0%ae%c0%ae"):
        for path in (f"/v1/users/{text}", f"/v1/queues/{text}", f"/v1/jobs/{text}"):
            status, content = server.call("GET", path)
            assert status in (400, 404), (path, content)
