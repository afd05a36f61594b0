"""Bytes to a Core and back: one kept connection, streams, and problem documents as exceptions.

Below `client.py`, which knows the calls; this file knows only HTTP.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPConnection, HTTPException, HTTPMessage, HTTPResponse, HTTPSConnection
from select import POLLIN, poll
from socket import IPPROTO_TCP, SHUT_RDWR, SO_KEEPALIVE, SOL_SOCKET, TCP_KEEPCNT, TCP_KEEPIDLE, TCP_KEEPINTVL
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import SplitResult, urlencode, urlsplit

import msgspec

from swarmsync import errors
from swarmsync.errors import FieldError, RequestError, SwarmError, Unavailable

if TYPE_CHECKING:
    from ssl import SSLContext

Filters = Mapping[str, Any]
#: A silent stream is dropped and resumed after this long; a dead peer is noticed earlier by TCP keep-alive.
STREAM_IDLE_S: Final = 120.0
LINE_MAX: Final = 64 << 20
_REFUSALS: Final[Mapping[int, type[SwarmError]]] = {
    kind.status: kind
    for kind in (errors.NotLoggedIn, errors.NotAllowed, errors.NotFound, errors.Conflict, errors.TooLarge, RequestError)
}


class Fields(Protocol):
    """The header of an answer."""

    def get(self, name: str, /) -> str | None: ...


class NotSentError(Exception):
    """Nothing reached Core: trying again is always safe."""


class _Whole(HTTPConnection):
    """Sends a request in one piece. http.client sends the body after the header, and Core would be woken twice."""

    _held: bytearray | None = None

    def request(self, *args: Any, **more: Any) -> None:
        self._held = held = bytearray()
        try:
            super().request(*args, **more)
        finally:
            self._held = None
        self.send(held)

    def send(self, data: Any) -> None:
        if self._held is None:
            super().send(data)
        else:
            self._held += data


class _WholeOverTls(_Whole, HTTPSConnection):
    pass


class Wire:
    """Bytes to Core and back over one kept-alive connection, plus one per stream."""

    def __init__(self, url: str, token: str, authority: str = "") -> None:
        parts = address_of(url)
        self.url = url.rstrip("/")
        self.token = token
        self._authority = authority
        self._parts = parts
        self._kept: HTTPConnection | None = None
        self._streams: set[HTTPConnection] = set()

    def exchange(
        self, method: str, target: str, content: bytes | None, headers: Mapping[str, str], timeout_s: float
    ) -> tuple[int, HTTPMessage, bytes]:
        headers = headers_of(self.token, headers, has_content=content is not None)
        connection = self._take(timeout_s)
        try:
            connection.request(method, self._parts.path.rstrip("/") + target, content, headers)
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
        headers = headers_of(self.token, headers, has_content=False)
        connection = self._connect(STREAM_IDLE_S)
        self._streams.add(connection)
        try:
            connection.request("GET", self._parts.path.rstrip("/") + target, headers=headers)
            response = connection.getresponse()
            if response.status >= 400:
                raise refusal(response.status, response.headers, response.read())
            on_open()
            yield from _split_lines(response)
        finally:
            self._streams.discard(connection)
            connection.close()

    def hang_up(self) -> None:
        """Break the streams that are open, so that who waits for their next line waits no more; from any thread."""
        for connection in tuple(self._streams):
            with contextlib.suppress(OSError, AttributeError):  # it may be closed at this moment
                connection.sock.shutdown(SHUT_RDWR)

    def download(self, target: str, take: Callable[[bytes], object]) -> HTTPMessage:
        """Hand a body over piece by piece; return the header. Raises HTTPException when it breaks off."""
        headers = headers_of(self.token, {}, has_content=False)
        connection = self._connect(STREAM_IDLE_S)
        try:
            connection.request("GET", self._parts.path.rstrip("/") + target, headers=headers)
            response = connection.getresponse()
            if response.status >= 400:
                raise refusal(response.status, response.headers, response.read())
            received, expected = 0, int(response.headers.get("Content-Length") or 0)
            while block := response.read1(1 << 20):
                take(block)
                received += len(block)
            if received != expected:
                raise HTTPException(f"the body broke off after {received} of {expected} bytes")
            return response.headers
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
        name, port, patience_s = self._parts.hostname or "", self._parts.port, min(timeout_s, 10.0)
        connection: HTTPConnection
        if self._parts.scheme == "https":
            connection = _WholeOverTls(name, port, timeout=patience_s, context=trust(self._authority))
        else:
            connection = _Whole(name, port, timeout=patience_s)
        try:
            connection.connect()
        except OSError as error:
            raise NotSentError(f"cannot reach Core at {self.url}: {cause(error)}") from None
        except UnicodeError:  # a name that the DNS cannot be asked for
            raise _no_address(self.url, "its name is none") from None
        for level, option, value in (
            (SOL_SOCKET, SO_KEEPALIVE, 1),
            (IPPROTO_TCP, TCP_KEEPIDLE, 15),
            (IPPROTO_TCP, TCP_KEEPINTVL, 5),
            (IPPROTO_TCP, TCP_KEEPCNT, 3),
        ):
            connection.sock.setsockopt(level, option, value)
        connection.sock.settimeout(timeout_s)
        return connection


def address_of(url: str) -> SplitResult:
    """Return the parts of a Core's address. Raises RequestError that says what is wrong with it."""
    if not url.isprintable() or " " in url:
        raise _no_address(url, "it has blanks or control characters")
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise _no_address(url, str(error)) from None
    try:
        _ = parts.port  # only now it is read
    except ValueError:
        raise _no_address(url, "its port is not a number up to 65535") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _no_address(url, "it begins with http:// or https:// and a name")
    return parts


def _no_address(url: str, problem: str) -> RequestError:
    return RequestError(f"{url!r} is not the address of a Core: {problem}; write it like http://127.0.0.1:8420")


def headers_of(token: str, more: Mapping[str, str], *, has_content: bool) -> dict[str, str]:
    """Return the header of a request. Raises RequestError for a token that no header can carry."""
    if not (token.isascii() and token.isprintable()):
        raise RequestError(
            "the token has a line break or another character that no token has;"
            " look at SWARMSYNC_TOKEN, or log in again with: consumer login"
        )
    headers = {"Accept": "application/json", "User-Agent": "swarmsync-client", **more}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    if has_content:
        headers["Content-Type"] = "application/json"
    return headers


def trust(authority: str) -> "SSLContext":
    """Trust this authority's certificates only, or the system's where none is named. Raises RequestError."""
    from ssl import create_default_context  # noqa: PLC0415 slow to import, and not needed without TLS

    try:
        return create_default_context(cafile=authority or None)
    except OSError as error:
        raise RequestError(f"cannot read the authority's certificate {authority}: {error}") from None


def _split_lines(response: HTTPResponse) -> Iterator[bytes]:
    rest = b""
    while block := response.read1(1 << 16):
        *whole, rest = (rest + block).split(b"\n")
        yield from whole
        if len(rest) > LINE_MAX:
            raise HTTPException(f"a line of more than {LINE_MAX} bytes")
    if rest:
        yield rest


def target(path: str, query: Filters | None) -> str:
    given = [(name, value) for name, value in (query or {}).items() if value is not None and value != ""]
    return f"{path}?{urlencode(given, doseq=True)}" if given else path


def read_json(content: bytes) -> Any:
    try:
        return msgspec.json.decode(content)
    except msgspec.DecodeError as error:
        raise Unavailable(f"this does not look like Core: its answer is not JSON ({error})") from None


def refusal(status: int, fields: Fields, answer: bytes) -> SwarmError:
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
        return errors.TooMany(said, retry_after_s(fields, 1))
    if status in (502, 503, 504):
        return Unavailable(said)
    kind = _REFUSALS.get(status, RequestError if status < 500 else SwarmError)
    return kind(said)


def retry_after_s(fields: Fields, default: int) -> int:
    value = fields.get("Retry-After") or ""
    return int(value) if value.isdigit() else default


def cause(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
