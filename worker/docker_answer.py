"""Reading one HTTP/1.1 answer of an engine from the pieces in which it arrives. Pure.

Only what a Go server sends: a status line, headers, and a body of a given length, in chunks, or up to the end of the
connection.
"""

from collections.abc import Callable
from typing import Final

HEAD_MAX: Final = 64 << 10
BODY_MAX: Final = 64 << 20
_NO_BODY: Final = (204, 304)


class AnswerBroken(Exception):
    """What came is no answer, or too large a one."""


class AnswerTooLarge(AnswerBroken):
    """It goes on after as much as we take."""


class AnswerReader:
    """Feed it until `done`. `reusable`: the connection may carry another request."""

    def __init__(self, body_max: int = BODY_MAX) -> None:
        self.status = 0
        self.body = bytearray()
        self.done = False
        self.reusable = False
        self._body_max = body_max
        self._rest = bytearray()
        self._left = 0  # of the body, or of the chunk
        self._until_closed = False
        self._take: Callable[[], bool] = self._head

    def feed(self, data: bytes) -> None:
        """Raises AnswerBroken."""
        self._rest += data
        more = True
        while more and not self.done:
            more = self._take()
            if len(self.body) > self._body_max:
                raise AnswerTooLarge(f"an answer of more than {self._body_max:,} bytes")
        if self.done and self._rest:
            self.reusable = False  # more than we asked for

    def closed(self) -> None:
        """Nothing more comes. Raises AnswerBroken where something is missing."""
        if not self._until_closed:
            raise AnswerBroken("the connection was closed before the answer was whole")
        self.done = True

    # ------------------------------------------------ parts; each says whether there is more to take

    def _head(self) -> bool:
        end = self._rest.find(b"\r\n\r\n")
        if end < 0:
            if len(self._rest) > HEAD_MAX:
                raise AnswerBroken("an answer without an end of its headers")
            return False
        version_and_status, *lines = bytes(self._rest[:end]).split(b"\r\n")
        del self._rest[: end + 4]
        try:
            version, code = version_and_status.split(b" ", 2)[:2]
            self.status = int(code)
            headers = {
                name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)
            }
            self._left = int(headers.get(b"content-length", b"-1"))
        except ValueError:
            raise AnswerBroken(f"no answer of HTTP: {version_and_status[:80]!r}") from None
        if self.status < 200:
            return True  # the real one follows
        self.reusable = version == b"HTTP/1.1" and headers.get(b"connection", b"").lower() != b"close"
        if self.status in _NO_BODY:
            self.done = True
        elif headers.get(b"transfer-encoding", b"").lower() == b"chunked":
            self._take = self._chunk_head
        elif self._left >= 0:
            self._take = self._sized
        else:
            self._until_closed, self.reusable, self._take = True, False, self._all
        return True

    def _sized(self) -> bool:
        self._move()
        self.done = self._left == 0
        return False

    def _all(self) -> bool:
        self._left = len(self._rest)
        self._move()
        return False

    def _chunk_head(self) -> bool:
        line = self._line()
        if line is None:
            return False
        try:
            self._left = int(line.partition(b";")[0], 16)
        except ValueError:
            raise AnswerBroken(f"{line[:80]!r} is not the size of a chunk") from None
        self._take = self._chunk if self._left else self._trailer
        return True

    def _chunk(self) -> bool:
        self._move()
        if self._left or len(self._rest) < 2:
            return False
        del self._rest[:2]
        self._take = self._chunk_head
        return True

    def _trailer(self) -> bool:
        line = self._line()
        self.done = line == b""
        return line is not None

    def _move(self) -> None:
        self.body += self._rest[: self._left]
        moved = min(self._left, len(self._rest))
        del self._rest[:moved]
        self._left -= moved

    def _line(self) -> bytes | None:
        end = self._rest.find(b"\r\n")
        if end < 0:
            if len(self._rest) > HEAD_MAX:
                raise AnswerBroken("an answer with a line that does not end")
            return None
        line = bytes(self._rest[:end])
        del self._rest[: end + 2]
        return line
