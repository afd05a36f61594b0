"""One Core over HTTP, for programs that wait: calls with patience, lists, live streams. `client.py` knows the calls."""

import time
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPException
from typing import Any, Self, TypeVar

from swarmsync import calls, errors
from swarmsync.calls import BrokenError, Document, Effect, Manner, Pages, Pause, Program, Reply, Request, Send
from swarmsync.errors import Unavailable
from swarmsync.profiles import current
from swarmsync.wire import Filters, NotSentError, Wire, cause, target

T = TypeVar("T")


class Connection:
    """Speaks to one Core as one user."""

    def __init__(
        self,
        url: str | None = None,
        token: str = "",
        *,
        timeout_s: float = 30.0,
        patience_s: float = 10.0,
        sleep: Callable[[float], None] = time.sleep,
        fresh_token: Callable[[], str] = lambda: "",
        ca: str = "",
    ) -> None:
        """Without a `url`: the Core, token and authority that `consumer` would use here (SWARMSYNC_URL and the like).

        `fresh_token` is asked when Core refuses the token; a different one is tried in its place. `ca` is the file of
        the authority's certificate where Core's TLS is signed by a private one.
        """
        if url is None:
            profile, _ = current()
            url, token, ca = profile.url, token or profile.token, ca or profile.ca
            fresh_token = lambda: current()[0].token  # noqa: E731 the default of an argument
        self._wire = Wire(url, token, ca)
        self._manner = Manner(timeout_s, patience_s, time.monotonic)
        self._sleep = sleep
        self._fresh_token = fresh_token

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._wire.close()

    def hang_up(self) -> None:
        """Break this client's live streams: who reads them gets Unavailable. The one call for another thread."""
        self._wire.hang_up()

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
        return self._do(Request[Any](method, path, body, query, key, repeatable, timeout_s))

    def _do(self, request: Request[T]) -> T:
        return self._run(calls.perform(request, self._manner))

    def _run(self, program: Program[T]) -> T:
        try:
            effect = next(program)
            while True:
                try:
                    came = self._perform(effect)
                except (NotSentError, BrokenError) as error:
                    effect = program.throw(error)
                else:
                    effect = program.send(came)
        except StopIteration as end:
            result: T = end.value
            return result

    def _perform(self, effect: Effect) -> Reply | bool | None:
        match effect:
            case Send():
                try:
                    return Reply(*self._wire.exchange(*_parts(effect)))
                except (OSError, HTTPException) as error:
                    raise BrokenError(f"the connection to {self._wire.url} broke: {cause(error)}") from None
            case Pause(seconds):
                self._sleep(seconds)
                return None
            case _:
                return self._renewed()

    def items(self, path: str, filters: Filters | None = None, *, limit: int | None = None) -> Iterator[Document]:
        """Yield the items of a list, newest first, over as many pages as it takes; `limit` ends it earlier."""
        pages = Pages(path, filters, limit)
        while (request := pages.next()) is not None:
            yield from pages.take(self._do(request))

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
                yield from self._wire.lines(target(path, query), headers or {}, on_open)
            except errors.NotLoggedIn:
                if not self._renewed():
                    raise
                yield from self._wire.lines(target(path, query), headers or {}, on_open)
        except NotSentError as error:
            raise Unavailable(str(error)) from None
        except (OSError, HTTPException) as error:
            raise Unavailable(f"the stream from {self._wire.url} broke: {cause(error)}") from None

    def _renewed(self) -> bool:
        """Take the token that is in force now; False when that is the one that was refused."""
        before, self._wire.token = self._wire.token, self._fresh_token() or self._wire.token
        return self._wire.token != before


def _parts(send: Send) -> tuple[str, str, bytes | None, Mapping[str, str], float]:
    return send.method, send.target, send.content, send.headers, send.timeout_s
