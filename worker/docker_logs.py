"""The bytes of `GET /containers/{id}/logs?timestamps=1`, taken apart. Pure.

Each entry of the log is one frame: an 8-byte header (stream number, three zeros, big-endian length; Docker Engine API,
ContainerAttach, "Stream format"), a timestamp of fixed width and a space, then the bytes that the container wrote. A
timestamp in front of every entry costs 31 bytes, and buys the true time of output that is read again after a crash.
"""

import struct
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from worker.container_runtime import LogPiece, Stream

_HEADER: Final = struct.Struct(">BxxxL")
_STAMP: Final = len("2006-01-02T15:04:05.000000000Z ")
_STREAMS: Final[Mapping[int, Stream]] = {1: "stdout", 2: "stderr"}


class LogStreamBroken(Exception):
    """The engine reported an error inside the log (stream 3), or sent what is no frame."""


class LogFrames:
    """Turns what the engine sends into pieces, leaving out the first `skip[stream]` bytes of each stream."""

    def __init__(self, skip: Mapping[str, int]) -> None:
        self._skip: dict[Stream, int] = {stream: skip.get(stream, 0) for stream in _STREAMS.values()}
        self._rest = b""

    def feed(self, data: bytes) -> list[LogPiece]:
        """Return the pieces that are complete now; runs of frames of one stream are joined, order is kept.

        Raises LogStreamBroken; what was complete before the break is then lost with it, so the caller reads again.
        """
        buffer = self._rest + data if self._rest else data
        pieces: list[LogPiece] = []
        run: list[bytes] = []
        run_number, run_stamp, position, end = 0, b"", 0, len(buffer)
        while position + _HEADER.size <= end:
            number, length = _HEADER.unpack_from(buffer, position)
            if number not in _STREAMS or length < _STAMP:
                raise LogStreamBroken(buffer[position + _HEADER.size : position + 300].decode(errors="replace"))
            start = position + _HEADER.size
            if start + length > end:
                break
            if number != run_number:
                self._flush(run_number, run, run_stamp, pieces)
                run, run_number, run_stamp = [], number, buffer[start : start + _STAMP]
            run.append(buffer[start + _STAMP : start + length])
            position = start + length
        self._flush(run_number, run, run_stamp, pieces)
        self._rest = buffer[position:]
        return pieces

    @property
    def complete(self) -> bool:
        """Whether nothing is left of a frame that had begun."""
        return not self._rest

    def _flush(self, number: int, run: list[bytes], stamp: bytes, pieces: list[LogPiece]) -> None:
        if not run:
            return
        stream, data = _STREAMS[number], b"".join(run)
        skip = self._skip[stream]
        if skip:
            self._skip[stream] = max(0, skip - len(data))
            data = data[skip:]
        if data:
            pieces.append(LogPiece(stream, data, _seconds(stamp)))


def _seconds(stamp: bytes) -> float:
    try:
        return datetime.fromisoformat(stamp[:-1].decode()).timestamp()
    except ValueError:
        raise LogStreamBroken(f"{stamp!r} is no timestamp") from None
