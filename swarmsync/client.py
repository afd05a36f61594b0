"""The client library: what `consumer` is made of, and what other programs import.

    from swarmsync.client import Client

    with Client("http://127.0.0.1:8420", token) as client:
        job = client.submit({"image": "alpine:3.20", "command": ["date"]})
        print(client.wait(job["id"])["state"])

Answers are the API's JSON documents as they came. Failures are the exceptions of `swarmsync.errors`. A request that may
be repeated without harm is repeated while Core is away, for `patience_s` in all. One client serves one thread.
"""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.client import HTTPConnection, HTTPException, HTTPMessage, HTTPResponse, HTTPSConnection
from select import POLLIN, poll
from socket import IPPROTO_TCP, SO_KEEPALIVE, SOL_SOCKET, TCP_KEEPCNT, TCP_KEEPIDLE, TCP_KEEPINTVL
from typing import Any, Final, Literal, NotRequired, Self, TypedDict
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from swarmsync import errors
from swarmsync.errors import FieldError, RequestError, SwarmError, Unavailable

Document = dict[str, Any]
Filters = Mapping[str, Any]
FINAL_STATES: Final = frozenset({"succeeded", "failed", "timed_out", "cancelled", "expired"})
PAGE_MAX: Final = 1_000
LONG_POLL_S: Final = 60
#: A silent stream is dropped and resumed after this long; a dead peer is noticed earlier by TCP keep-alive.
STREAM_IDLE_S: Final = 120.0
LINE_MAX: Final = 64 << 20
_REFUSALS: Final[Mapping[int, type[SwarmError]]] = {
    kind.status: kind
    for kind in (errors.NotLoggedIn, errors.NotAllowed, errors.NotFound, errors.Conflict, errors.TooLarge, RequestError)
}


class Job(TypedDict):
    """A job as the API shows it; newer versions of Core may add fields."""

    id: str
    name: str
    user: str
    queue: str
    state: str
    reason: str
    message: str
    since: str
    priority: int
    labels: dict[str, str]
    spec: Document
    submitted_at: str
    started_at: str | None
    finished_at: str | None
    attempt: int
    fence: int
    worker: str | None
    exit_code: int | None
    rerun_of: str | None
    schedule_id: str | None
    array_index: int | None
    assignments: NotRequired[list[Document]]


class Client:
    """Speaks to one Core as one user."""

    def __init__(
        self,
        url: str,
        token: str = "",
        *,
        timeout_s: float = 30.0,
        patience_s: float = 10.0,
        sleep: Callable[[float], None] = time.sleep,
        fresh_token: Callable[[], str] = lambda: "",
    ) -> None:
        """`fresh_token` is asked when Core refuses the token; a different one is tried in its place."""
        self._wire = _Wire(url, token)
        self._timeout_s = timeout_s
        self._patience_s = patience_s
        self._sleep = sleep
        self._fresh_token = fresh_token

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._wire.close()

    # --- any call -------------------------------------------------------------------------------------------------

    def get(self, path: str, query: Filters | None = None, *, timeout_s: float | None = None) -> Any:
        return self.call("GET", path, query=query, timeout_s=timeout_s)

    def call(
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
        """Make one call and return its JSON, or None for an empty answer.

        `repeatable` says that doing it twice does no harm; by default all but POST without an idempotency `key`. Raises
        Unavailable when patience ends, RequestError and its kinds for what Core refuses.
        """
        content = None if body is None else msgspec.json.encode(body)
        headers = {"Idempotency-Key": key} if key else {}
        again = repeatable if repeatable is not None else method != "POST" or bool(key)
        deadline, delay_s = time.monotonic() + self._patience_s, 0.05
        while True:
            try:
                status, fields, answer = self._wire.exchange(
                    method, _target(path, query), content, headers, timeout_s or self._timeout_s
                )
            except _NotSentError as error:
                failure: SwarmError = Unavailable(str(error))
            except (OSError, HTTPException) as error:
                failure = Unavailable(f"the connection to {self._wire.url} broke: {_cause(error)}")
                if not again:
                    raise failure from None
            else:
                if status < 400:
                    return read_json(answer) if answer else None
                failure = _failure(status, fields, answer)
                if isinstance(failure, errors.NotLoggedIn) and self._renewed():
                    continue
                if not (again and isinstance(failure, Unavailable)):
                    raise failure
                delay_s = max(delay_s, _retry_after_s(fields, 0))
            if time.monotonic() + delay_s > deadline:
                raise failure
            self._sleep(delay_s)
            delay_s = min(delay_s * 2, 1.0)

    def items(self, path: str, filters: Filters | None = None, *, limit: int | None = None) -> Iterator[Document]:
        """Yield the items of a list, newest first, over as many pages as it takes; `limit` ends it earlier."""
        left, cursor = limit, None
        while left is None or left > 0:
            size = PAGE_MAX if left is None else min(left, PAGE_MAX)
            page = self.get(path, {**(filters or {}), "limit": size, "cursor": cursor})
            yield from page["items"] if left is None else page["items"][:left]
            left = None if left is None else left - len(page["items"])
            cursor = page.get("next_cursor")
            if not cursor:
                return

    def lines(
        self,
        path: str,
        query: Filters | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        on_open: Callable[[], None] = lambda: None,
    ) -> Iterator[bytes]:
        """Yield the lines of a live stream as they arrive. Raises Unavailable when the connection breaks."""
        try:
            try:
                yield from self._wire.lines(_target(path, query), headers or {}, on_open)
            except errors.NotLoggedIn:
                if not self._renewed():
                    raise
                yield from self._wire.lines(_target(path, query), headers or {}, on_open)
        except _NotSentError as error:
            raise Unavailable(str(error)) from None
        except (OSError, HTTPException) as error:
            raise Unavailable(f"the stream from {self._wire.url} broke: {_cause(error)}") from None

    def _renewed(self) -> bool:
        """Take the token that is in force now; False when that is the one that was refused."""
        before, self._wire.token = self._wire.token, self._fresh_token() or self._wire.token
        return self._wire.token != before

    # --- sessions -------------------------------------------------------------------------------------------------

    def login(self, username: str, password: str) -> Document:
        """Return `{token, expires_at}` and use the token from here on."""
        answer: Document = self.call("POST", "/v1/auth/login", {"username": username, "password": password})
        self._wire.token = answer["token"]
        return answer

    def logout(self) -> None:
        self.call("DELETE", "/v1/auth/session")

    def session(self) -> Document:
        answer: Document = self.get("/v1/auth/session")
        return answer

    # --- jobs -----------------------------------------------------------------------------------------------------

    def submit(self, spec: Document, *, key: str = "") -> Job:
        """Submit one job. It is sent with an idempotency key, so that a lost answer never makes a second job."""
        answer: Job = self.call("POST", "/v1/jobs", spec, key=key or str(uuid.uuid4()))
        return answer

    def submit_many(self, specs: Sequence[Document], *, key: str = "") -> list[str]:
        """Submit up to 10,000 jobs, all or none; returns their ids in order."""
        answer = self.call("POST", "/v1/jobs", {"jobs": list(specs)}, key=key or str(uuid.uuid4()), timeout_s=120)
        ids: list[str] = answer["ids"]
        return ids

    def validate(self, spec: Document) -> Document:
        answer: Document = self.call("POST", "/v1/jobs/validate", spec, repeatable=True)
        return answer

    def jobs(self, filters: Filters | None = None, *, limit: int | None = None) -> Iterator[Document]:
        return self.items("/v1/jobs", filters, limit=limit)

    def job(self, job_id: str, *, wait_s: int = 0) -> Job:
        """Return one job; with `wait_s` when it is final, or as it is after that long (60 at most)."""
        query = {"wait": wait_s} if wait_s else None
        answer: Job = self.get(job_path(job_id), query, timeout_s=self._timeout_s + wait_s)
        return answer

    def wait(self, job_id: str, *, timeout_s: float | None = None) -> Job:
        """Return the job when it is final. Raises TimeoutError; the job goes on."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left = LONG_POLL_S if deadline is None else min(LONG_POLL_S, deadline - time.monotonic())
            job = self.job(job_id, wait_s=max(0, int(left)))
            if job["state"] in FINAL_STATES:
                return job
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"job {job['id']} is still {job['state']} after {timeout_s:g} s")
            if left < 1:  # the server counts whole seconds; the last part of one is ours
                self._sleep(max(0.0, min(left, 0.2)))

    def act(self, job_id: str, verb: Literal["cancel", "kill", "hold", "release"], body: Document | None = None) -> Job:
        answer: Job = self.call("POST", job_path(job_id, verb), body, repeatable=True)
        return answer

    def cancel(self, job_id: str, reason: str = "") -> Job:
        return self.act(job_id, "cancel", {"reason": reason} if reason else None)

    def rerun(self, job_id: str) -> Job:
        answer: Job = self.call("POST", job_path(job_id, "rerun"), key=str(uuid.uuid4()))
        return answer

    def update(self, job_id: str, changes: Document) -> Job:
        answer: Job = self.call("PATCH", job_path(job_id), changes)
        return answer

    def delete(self, job_id: str) -> None:
        self.call("DELETE", job_path(job_id))


def job_path(job_id: str, *rest: str) -> str:
    return "/".join(["/v1/jobs", quote(job_id, safe=""), *(quote(part, safe="") for part in rest)])


class _NotSentError(Exception):
    """Nothing reached Core: trying again is always safe."""


class _Wire:
    """Bytes to Core and back over one kept-alive connection, plus one per stream."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise RequestError(f"{url!r} is not the address of a Core; write it like http://127.0.0.1:8420")
        self.url = url.rstrip("/")
        self.token = token
        self._parts = parts
        self._kept: HTTPConnection | None = None

    def exchange(
        self, method: str, target: str, content: bytes | None, headers: Mapping[str, str], timeout_s: float
    ) -> tuple[int, HTTPMessage, bytes]:
        connection = self._take(timeout_s)
        try:
            connection.request(method, self._parts.path.rstrip("/") + target, content, self._headers(headers, content))
            response = connection.getresponse()
            answer = response.read()
        except BaseException:
            connection.close()
            raise
        if response.will_close:
            connection.close()
        else:
            self._kept = connection
        return response.status, response.headers, answer

    def lines(self, target: str, headers: Mapping[str, str], on_open: Callable[[], None]) -> Iterator[bytes]:
        connection = self._connect(STREAM_IDLE_S)
        try:
            connection.request("GET", self._parts.path.rstrip("/") + target, headers=self._headers(headers, None))
            response = connection.getresponse()
            if response.status >= 400:
                raise _failure(response.status, response.headers, response.read())
            on_open()
            yield from _split_lines(response)
        finally:
            connection.close()

    def close(self) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def _take(self, timeout_s: float) -> HTTPConnection:
        kept, self._kept = self._kept, None
        if kept is not None and kept.sock is not None:
            idle = poll()
            idle.register(kept.sock, POLLIN)
            if not idle.poll(0):  # readable while idle means that the other side has closed it
                kept.sock.settimeout(timeout_s)
                return kept
            kept.close()
        return self._connect(timeout_s)

    def _connect(self, timeout_s: float) -> HTTPConnection:
        kind = HTTPSConnection if self._parts.scheme == "https" else HTTPConnection
        connection = kind(self._parts.hostname or "", self._parts.port, timeout=min(timeout_s, 10.0))
        try:
            connection.connect()
        except OSError as error:
            raise _NotSentError(f"cannot reach Core at {self.url}: {_cause(error)}") from None
        for level, option, value in (
            (SOL_SOCKET, SO_KEEPALIVE, 1),
            (IPPROTO_TCP, TCP_KEEPIDLE, 15),
            (IPPROTO_TCP, TCP_KEEPINTVL, 5),
            (IPPROTO_TCP, TCP_KEEPCNT, 3),
        ):
            connection.sock.setsockopt(level, option, value)
        connection.sock.settimeout(timeout_s)
        return connection

    def _headers(self, more: Mapping[str, str], content: bytes | None) -> dict[str, str]:
        headers = {"Accept": "application/json", "User-Agent": "swarmsync-client", **more}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        if content is not None:
            headers["Content-Type"] = "application/json"
        return headers


def _split_lines(response: HTTPResponse) -> Iterator[bytes]:
    rest = b""
    while block := response.read1(1 << 16):
        *whole, rest = (rest + block).split(b"\n")
        yield from whole
        if len(rest) > LINE_MAX:
            raise HTTPException(f"a line of more than {LINE_MAX} bytes")
    if rest:
        yield rest


def _target(path: str, query: Filters | None) -> str:
    given = [(name, value) for name, value in (query or {}).items() if value is not None and value != ""]
    return f"{path}?{urlencode(given, doseq=True)}" if given else path


def read_json(content: bytes) -> Any:
    try:
        return msgspec.json.decode(content)
    except msgspec.DecodeError as error:
        raise Unavailable(f"this does not look like Core: its answer is not JSON ({error})") from None


def _failure(status: int, fields: HTTPMessage, answer: bytes) -> SwarmError:
    """Turn a problem document into the exception that Core meant."""
    try:
        problem = msgspec.json.decode(answer)
    except msgspec.DecodeError:
        problem = {}
    problem = problem if isinstance(problem, dict) else {}
    said = str(problem.get("detail") or problem.get("title") or f"Core answered {status}")
    if status == 422:
        wrong = [FieldError(str(e.get("path", "$")), str(e.get("message", ""))) for e in problem.get("errors") or []]
        return errors.SpecError(wrong or [FieldError("$", said)])
    if status == 429:
        return errors.TooMany(said, _retry_after_s(fields, 1))
    if status in (502, 503, 504):
        return Unavailable(said)
    kind = _REFUSALS.get(status, RequestError if status < 500 else SwarmError)
    return kind(said)


def _retry_after_s(fields: HTTPMessage, default: int) -> int:
    value = fields.get("Retry-After") or ""
    return int(value) if value.isdigit() else default


def _cause(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
