"""What goes into the bytes of one frame and what is believed of it when it comes out. Knows no positions but its own.

`layout` has the picture. Everything is checked on a copy, so what was checked is what is handed out.
"""

import mmap
import struct
from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise

from xxhash import xxh3_64_intdigest as digest

from engine.shared_resource.layout import (
    FRAME_ALIGN_BYTES,
    FRAME_HEADER,
    FRAME_HEADER_BYTES,
    FRAME_OVERHEAD_BYTES,
    FRAME_TOTAL,
    FRAME_TOTAL_BYTES,
    KIND_BITS,
    KIND_MASK,
    KIND_PADDING,
    KIND_RECORDS,
    TABLE_ENTRY_BYTES,
)


class FrameBad(Exception):
    """The bytes contradict each other, or the place they are in; says what was seen."""


def frame_bytes(payload_bytes: int) -> int:
    """Return the size of a frame with such a payload: whole cache lines."""
    return (payload_bytes + FRAME_OVERHEAD_BYTES + FRAME_ALIGN_BYTES - 1) & -FRAME_ALIGN_BYTES


def packers(bytes_max: int) -> list[Callable[..., None]]:
    """Return `pack_into` of whole frames by their size in cache lines, for sizes up to `bytes_max`.

    Each takes the memory, the start, the words of the header in the order of `layout`, the payload, whose rest is
    filled with zeros, and the records total again. One call costs less than the three stores it stands for.
    """
    sizes = range(FRAME_ALIGN_BYTES, bytes_max + 1, FRAME_ALIGN_BYTES)
    rest = [size - FRAME_OVERHEAD_BYTES for size in sizes]
    return [_no_frame, *[struct.Struct(f"{FRAME_HEADER.format}{length}sQ").pack_into for length in rest]]


def _no_frame(*_fields: object) -> None:
    raise AssertionError("a frame has at least one cache line")


def write_frame(memory: mmap.mmap, start: int, fields: tuple[int, int, int, int], payload: bytes) -> None:
    """Write header and payload at byte `start` of the segment, into free bytes; the closing total is the caller's.

    `fields` are sequence, records total, records, kind.
    """
    sequence, total, records, kind = fields
    what = records << KIND_BITS | kind
    FRAME_HEADER.pack_into(memory, start, digest(payload, total ^ what), len(payload), what, sequence, total)
    body = start + FRAME_HEADER_BYTES
    memory[body : body + len(payload)] = payload


def write_padding(memory: mmap.mmap, start: int, length: int, sequence: int, total: int) -> None:
    """Fill a gap with a frame of nothing that is `length` bytes longer than its overhead."""
    what = frame_bytes(length) // FRAME_ALIGN_BYTES << KIND_BITS | KIND_PADDING
    FRAME_HEADER.pack_into(memory, start, digest(b"", total ^ what), length, what, sequence, total)


def read_frame(memory: mmap.mmap, start: int, position: int, bytes_max: int) -> tuple[int, int, int, int, bytes]:
    """Copy the frame at byte `start` and check the copy. It must be of `position` and end within `bytes_max`.

    Returns its size, records total, records, kind and payload. Raises FrameBad; reads nothing beyond `bytes_max`, which
    is at least one cache line.
    """
    check, length, what, sequence, total = FRAME_HEADER.unpack_from(memory, start)
    size = frame_bytes(length)
    records, kind = what >> KIND_BITS, what & KIND_MASK
    padding_is_whole = size == records * FRAME_ALIGN_BYTES == length + FRAME_OVERHEAD_BYTES
    if sequence != position or size > bytes_max or (kind == KIND_PADDING and not padding_is_whole):
        raise FrameBad(
            f"sequence {sequence}, length {length}, kind {kind}, records {records}, with {bytes_max} bytes published"
        )
    body = start + FRAME_HEADER_BYTES
    payload = b"" if kind == KIND_PADDING else memory[body : body + length]
    seen = digest(payload, total ^ what)
    (total_again,) = FRAME_TOTAL.unpack_from(memory, start + size - FRAME_TOTAL_BYTES)
    if seen != check or total_again != total:
        raise mismatch(seen, check, total, total_again)
    return size, total, records, kind, payload


def mismatch(seen: int, check: int, total: int, total_again: int) -> FrameBad:
    return FrameBad(f"check {seen:016x}, written as {check:016x}; total {total}, again {total_again}")


def join_records(records: Sequence[bytes], ends: list[int], bytes_max: int) -> tuple[int, bytes]:
    """Return how many leading records fit into a payload of `bytes_max`, and that payload. (0, b"") when none does.

    `ends` is the running end of each record.
    """
    count = len(ends)
    if count * TABLE_ENTRY_BYTES + ends[-1] > bytes_max:
        count = bisect_right(range(count), bytes_max, key=lambda last: (last + 1) * TABLE_ENTRY_BYTES + ends[last])
        if count == 0:
            return 0, b""
        records = records[:count]
        ends = ends[:count]
    return count, b"".join((array("I", ends), *records))


def records_of(kind: int, records: int, payload: bytes) -> Sequence[bytes]:
    """Return the records of a frame that is neither a batch nor padding. Raises FrameBad.

    The check was right, so a table that is wrong is the writer's doing.
    """
    table_bytes = records * TABLE_ENTRY_BYTES
    ends = memoryview(payload)[:table_bytes].cast("I").tolist() if table_bytes <= len(payload) else []
    if kind != KIND_RECORDS or ends[-1:] != [len(payload) - table_bytes]:
        raise FrameBad(f"kind {kind}, {records} records end at {ends[-1:]} of {len(payload)} bytes")
    body = payload[table_bytes:]
    return [body[start:end] for start, end in pairwise((0, *ends))]


def no_records(kind: int, records: int, _payload: bytes) -> Sequence[bytes]:
    """Refuse a frame that is neither a batch nor padding. Raises FrameBad."""
    raise FrameBad(f"kind {kind} with {records} records where batches travel")
