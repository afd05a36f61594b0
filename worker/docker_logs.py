"""The bytes of `GET /containers/{id}/logs?timestamps=1`, taken apart. Pure.

Each entry of the log is one frame: an 8-byte header (stream number, three zeros, big-endian length; Docker Engine API,
ContainerAttach, "Stream format"), a timestamp of fixed width and a space, then the bytes that the container wrote. A
timestamp in front of every entry costs 31 bytes, and buys the true time of output that is read again after a crash.

An entry is a line with its newline, or 16 KiB of a longer line, or what was left at the end. Engines before 23 lose,
with the `local` driver, the newline of a line longer than 16 KiB; it is put back here. Where such a line is the very
last one, nothing tells whether it had a newline, and one is assumed.
"""

import struct
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from worker.container_runtime import LogPiece, Stream

LINE_PART: Final = 16 << 10  # longer lines come in parts of this size (moby, daemon/logger/copier.go)
_HEADER: Final = struct.Struct(">BxxxL")
_STAMP: Final = len("2006-01-02T15:04:05.000000000Z ")
_STREAMS: Final[Mapping[int, Stream]] = {1: "stdout", 2: "stderr"}
_NEWLINE: Final = b"\n"


class LogStreamBroken(Exception):
    """The engine reported an error inside the log (stream 3), or sent what is no frame."""


class _Line:
    """Where one stream is in its line: inside of a long one, or owing the newline of one."""

    __slots__ = ("inside", "owed", "skip")

    def __init__(self, skip: int) -> None:
        self.skip = skip
        self.inside = False
        self.owed = False

    def repair(self, data: bytes) -> bytes:
        """Return `data` with the newline that the part before it lost, if it did."""
        owed, self.owed = self.owed, False
        if data[-1:] == _NEWLINE:
            self.inside = False
        elif len(data) == LINE_PART:
            self.inside = True
        elif self.inside:
            self.inside, self.owed = False, True
        return _NEWLINE + data if owed else data


class LogFrames:
    """Turns what the engine sends into pieces, leaving out the first `skip[stream]` bytes of each stream.

    `newlines_lost`: the engine is older than 23.
    """

    def __init__(self, skip: Mapping[str, int], *, newlines_lost: bool = False) -> None:
        self._lines = {number: _Line(skip.get(stream, 0)) for number, stream in _STREAMS.items()}
        self._newlines_lost = newlines_lost
        self._rest = b""
        self.last_frame = b""  # the bytes of the newest frame, to be compared with the log's last one

    def feed(self, data: bytes) -> list[LogPiece]:
        """Return the pieces that are complete now; neighbours of one stream are joined, order is kept.

        Raises LogStreamBroken; what was complete before the break is then lost with it, so the caller reads again.
        """
        buffer = self._rest + data if self._rest else data
        pieces: list[LogPiece] = []
        joined: list[bytes] = []
        joined_number, joined_stamp, position, frame, end = 0, b"", 0, 0, len(buffer)
        while position + _HEADER.size <= end:
            number, length = _HEADER.unpack_from(buffer, position)
            if number not in _STREAMS or length < _STAMP:
                raise LogStreamBroken(buffer[position + _HEADER.size : position + 300].decode(errors="replace"))
            start = position + _HEADER.size
            if start + length > end:
                break
            if number != joined_number:
                self._flush(joined_number, joined, joined_stamp, pieces)
                joined, joined_number, joined_stamp = [], number, buffer[start : start + _STAMP]
            joined.append(self._lines[number].repair(buffer[start + _STAMP : start + length]))
            frame, position = position, start + length
        self._flush(joined_number, joined, joined_stamp, pieces)
        if position:
            self.last_frame = buffer[frame:position]
        self._rest = buffer[position:]
        return pieces

    def finish(self, at: float) -> list[LogPiece]:
        """Return what is still owed once the log has ended; `at` is the time to give to it."""
        pieces: list[LogPiece] = []
        for number, line in self._lines.items():
            if line.owed and self._newlines_lost:
                line.owed = False
                self._give(number, _NEWLINE, at, pieces)
        return pieces

    @property
    def skips(self) -> bool:
        """Whether something is left out that was given before."""
        return any(line.skip for line in self._lines.values())

    @property
    def complete(self) -> bool:
        """Whether nothing is left of a frame that had begun."""
        return not self._rest

    @property
    def last_is_unique(self) -> bool:
        """Whether no other frame can equal the newest: the parts of one line share a timestamp, and maybe bytes."""
        return self.last_frame[-1:] == _NEWLINE or len(self.last_frame) != _HEADER.size + _STAMP + LINE_PART

    def _flush(self, number: int, joined: list[bytes], stamp: bytes, pieces: list[LogPiece]) -> None:
        if joined:
            self._give(number, b"".join(joined), _seconds(stamp), pieces)

    def _give(self, number: int, data: bytes, at: float, pieces: list[LogPiece]) -> None:
        line = self._lines[number]
        if line.skip:
            skipped = min(line.skip, len(data))
            line.skip -= skipped
            data = data[skipped:]
        if data:
            pieces.append(LogPiece(_STREAMS[number], data, at))


def _seconds(stamp: bytes) -> float:
    try:
        return datetime.fromisoformat(stamp[:-1].decode()).timestamp()
    except ValueError:
        raise LogStreamBroken(f"{stamp!r} is no timestamp") from None
