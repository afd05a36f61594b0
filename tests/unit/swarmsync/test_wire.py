"""What leaves for a Core, as its socket sees it."""

import socket
import threading

import pytest

from swarmsync.wire import Wire

ANSWER = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture
def core():
    """Answer every request; the bytes of each are kept."""
    listener = socket.create_server(("127.0.0.1", 0))
    heard: list[bytes] = []

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            while data := connection.recv(1 << 20):
                heard.append(data)
                if data.endswith(b"}") or data.startswith(b"GET"):
                    connection.sendall(ANSWER)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1], heard
    listener.close()
    thread.join(10)


def test_a_request_with_a_body_is_sent_in_one_piece(core, monkeypatch):
    port, heard = core
    wire = Wire(f"http://127.0.0.1:{port}", "token")
    wire.exchange("GET", "/v1/stats", None, {}, 10)  # it is connected now
    sent = []
    sendall = socket.socket.sendall

    def counted(connection, data, *flags):
        sent.append(bytes(data))
        return sendall(connection, data, *flags)

    monkeypatch.setattr(socket.socket, "sendall", counted)
    status, _, answer = wire.exchange("POST", "/v1/jobs", b'{"image": "a"}', {}, 10)
    wire.close()
    monkeypatch.undo()
    (whole,) = [data for data in sent if data != ANSWER]
    assert whole.startswith(b"POST /v1/jobs HTTP/1.1\r\n")
    assert whole.endswith(b'\r\n\r\n{"image": "a"}')
    assert b"Content-Length: 14\r\n" in whole
    assert (status, answer) == (201, b"{}")
    assert b"".join(heard[1:]) == whole
