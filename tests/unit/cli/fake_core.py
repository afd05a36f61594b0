"""A Core made of scripted answers, for tests of the client and the command line."""

import json
import threading
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit


class Request(NamedTuple):
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: Any


class Problem(NamedTuple):
    status: int
    detail: str
    errors: list[dict[str, str]] | None = None
    headers: dict[str, str] | None = None


class Stream(NamedTuple):
    """Lines of a live stream; `broken` cuts the connection in place of an end."""

    lines: Iterable[bytes]
    broken: bool = False


class Hangup(NamedTuple):
    """Close the connection without an answer."""


class FakeCore:
    """Answers are taken in order for each (method, path); the last one is repeated."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._answers: dict[tuple[str, str], list[Any]] = {}
        core = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def __getattr__(self, name: str) -> Any:
                if name.startswith("do_"):
                    return lambda: core._serve(self)
                raise AttributeError(name)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def on(self, method: str, path: str, *answers: Any) -> None:
        self._answers[method, path] = list(answers)

    def asked(self, method: str, path: str) -> list[Request]:
        return [request for request in self.requests if (request.method, request.path) == (method, path)]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        url = urlsplit(handler.path)
        content = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        body = json.loads(content) if content else None
        request = Request(handler.command, url.path, parse_qs(url.query), dict(handler.headers), body)
        self.requests.append(request)
        answers = self._answers.get((handler.command, url.path))
        if answers is None:
            answer: Any = Problem(404, f"nothing at {url.path}")
        else:
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if callable(answer) and not isinstance(answer, tuple):
            answer = answer(request)
        self._send(handler, answer)

    def _send(self, handler: BaseHTTPRequestHandler, answer: Any) -> None:
        match answer:
            case Hangup():
                handler.close_connection = True
            case Stream(lines, broken):
                self._stream(handler, lines, broken=broken)
            case Problem(status, detail, errors, headers):
                document = {"type": "about:blank", "title": detail, "status": status, "detail": detail}
                self._whole(handler, status, {**document, **({"errors": errors} if errors else {})}, headers)
            case (int() as status, document):
                self._whole(handler, status, document, None)
            case _:
                self._whole(handler, 200, answer, None)

    def _whole(self, handler: BaseHTTPRequestHandler, status: int, document: Any, headers: dict | None) -> None:
        content = b"" if document is None else json.dumps(document).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(content)))
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content)

    def _stream(self, handler: BaseHTTPRequestHandler, lines: Iterable[bytes], *, broken: bool) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.close_connection = True
        for line in lines:
            handler.wfile.write(b"%x\r\n%s\n\r\n" % (len(line) + 1, line))
            handler.wfile.flush()
        if not broken:
            handler.wfile.write(b"0\r\n\r\n")


ID = "01hzy3k5m7abc"


def job(**fields: Any) -> dict[str, Any]:
    return {
        "id": ID,
        "name": "",
        "user": "ann",
        "queue": "default",
        "state": "queued",
        "reason": "Evaluating",
        "message": "",
        "since": "2026-11-23T10:00:00.000000Z",
        "priority": 50,
        "labels": {},
        "spec": {"image": "alpine:3.20", "command": ["date"]},
        "submitted_at": "2026-11-23T10:00:00.000000Z",
        "started_at": None,
        "finished_at": None,
        "attempt": 0,
        "fence": 0,
        "worker": None,
        "exit_code": None,
        "rerun_of": None,
        "schedule_id": None,
        "array_index": None,
        "assignments": [],
    } | fields


def chunk(data: bytes, offset: int = 0, stream: str = "stdout", attempt: int = 1) -> bytes:
    import base64

    line = {"stream": stream, "attempt": attempt, "offset": offset, "at": "2026-11-23T10:00:01.000000Z"}
    try:
        line["data"] = data.decode()
    except UnicodeDecodeError:
        line["data_b64"] = base64.b64encode(data).decode()
    return json.dumps(line).encode()


def end(state: str = "succeeded", reason: str = "Completed", exit_code: int | None = 0, message: str = "") -> bytes:
    verdict = {"state": state, "reason": reason, "message": message, "exit_code": exit_code, "attempt": 1}
    return json.dumps({"end": verdict}).encode()


Script = Callable[[Request], Any]
