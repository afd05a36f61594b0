"""Counters that any process may read: each word has one writing process and is stored whole.

Rings keep theirs in their own header (`ring_stats`); everybody else has rows on a shared page. The page carries its own
table of contents, so a reader needs the segment's name and nothing else:

     byte  0   MAGIC   VERSION   directory length   directory CRC          8 bytes each, written once; MAGIC last
          64   directory: JSON, {row: [counter, ...]}
               rows, in the order of the directory, each on cache lines of its own, one 8-byte word per counter

A row belongs to one process; that is what keeps two processes from sharing a cache line. Counters stay when their
writer is killed: its successor goes on from them.
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import Final, Self

import msgspec
from msgspec import Struct

from engine.shared_resource import layout
from engine.shared_resource.layout import CACHE_LINE_BYTES, WORD_BYTES
from engine.shared_resource.ring import Ring
from engine.shared_resource.segment import Segment
from swarmsync.errors import SwarmError

PAGE_MAGIC: Final = int.from_bytes(b"SWRMPAGE", "little")
PAGE_VERSION: Final = 1
_DIRECTORY: Final = CACHE_LINE_BYTES
_LINE_WORDS: Final = CACHE_LINE_BYTES // WORD_BYTES
_U64: Final = (1 << 64) - 1

Rows = Mapping[str, Sequence[str]]


class RingStats(Struct, frozen=True):
    """One look at a ring. Bytes are frames with their headers; record counts go on over restarts of either side."""

    capacity_bytes: int
    used_bytes: int
    records_put: int
    records_taken: int
    records_abandoned: int
    records_dropped: int
    puts_refused: int
    abandons: int
    reader_sleeps: bool
    writer_epoch: int
    reader_epoch: int


class PageCorrupt(SwarmError):
    """The segment holds no page, or one whose table of contents is damaged."""


class Counter:
    """One word. `add` and `set` are for its one writer; both are a single aligned store."""

    __slots__ = ("_index", "_words")

    def __init__(self, words: memoryview, index: int) -> None:
        self._words = words
        self._index = index

    @property
    def value(self) -> int:
        value: int = self._words[self._index]
        return value

    def add(self, amount: int = 1) -> None:
        """Count on; wraps at 2**64."""
        self._words[self._index] = (self._words[self._index] + amount) & _U64

    def set(self, value: int) -> None:
        self._words[self._index] = value


class StatsPage:
    """Rows of counters on a segment. Holds no numbers of its own, so it may be inherited over fork."""

    def __init__(self, segment: Segment) -> None:
        self._words = segment.words
        magic, version, length, crc = self._words[:4]
        if (magic, version) != (PAGE_MAGIC, PAGE_VERSION) or length > segment.size_bytes - _DIRECTORY:
            raise PageCorrupt(f"segment {segment.name} holds no page of version {PAGE_VERSION}")
        directory = segment.memory[_DIRECTORY : _DIRECTORY + length]
        if zlib.crc32(directory) != crc:
            raise PageCorrupt(f"segment {segment.name}: the page's table of contents is damaged")
        self._rows = msgspec.json.decode(directory, type=dict[str, list[str]])
        self._starts = dict(zip(self._rows, _starts(length, self._rows), strict=True))

    @classmethod
    def create(cls, segment: Segment, rows: Rows) -> Self:
        """Write the table of contents; all counters start at 0 on a new segment. For the supervisor, before fork."""
        directory = msgspec.json.encode(rows)
        if segment.size_bytes < cls.segment_bytes(rows):
            raise ValueError(f"segment {segment.name} is too small for {len(rows)} rows")
        words = segment.words
        words[1] = PAGE_VERSION
        words[2] = len(directory)
        words[3] = zlib.crc32(directory)
        segment.memory[_DIRECTORY : _DIRECTORY + len(directory)] = directory
        words[0] = PAGE_MAGIC
        return cls(segment)

    @classmethod
    def attach(cls, segment: Segment) -> Self:
        return cls(segment)

    @staticmethod
    def segment_bytes(rows: Rows) -> int:
        """Return the size of the segment that these rows need."""
        *_, end = _starts(len(msgspec.json.encode(rows)), rows, closing=True)
        return end * WORD_BYTES

    @property
    def rows(self) -> tuple[str, ...]:
        return tuple(self._rows)

    def counter(self, row: str, name: str) -> Counter:
        """Return one word. Raises KeyError for a row or counter that the page does not have."""
        if name not in self._rows[row]:
            raise KeyError(f"{row}.{name}")
        return Counter(self._words, self._starts[row] + self._rows[row].index(name))

    def row(self, row: str) -> dict[str, int]:
        """Return one row's counters now. Each number is whole; two of them may be from different moments."""
        start = self._starts[row]
        return {name: self._words[start + place] for place, name in enumerate(self._rows[row])}

    def snapshot(self) -> dict[str, dict[str, int]]:
        return {row: self.row(row) for row in self._rows}


def _starts(directory_bytes: int, rows: Rows, *, closing: bool = False) -> list[int]:
    """Word index where each row starts; with `closing`, also where the last one ends."""
    starts = []
    line = -(-(_DIRECTORY + directory_bytes) // CACHE_LINE_BYTES)
    for names in rows.values():
        starts.append(line * _LINE_WORDS)
        line += max(-(-len(names) // _LINE_WORDS), 1)
    if closing:
        starts.append(line * _LINE_WORDS)
    return starts


def ring_stats(ring: Ring) -> RingStats:
    """Look at a ring that is in use; two numbers may be from different moments."""
    words = ring.segment.words
    return RingStats(
        capacity_bytes=ring.capacity_bytes,
        used_bytes=max(words[layout.TAIL] - words[layout.HEAD], 0),
        records_put=ring.records_put,
        records_taken=ring.records_taken,
        records_abandoned=words[layout.RECORDS_ABANDONED],
        records_dropped=words[layout.RECORDS_DROPPED],
        puts_refused=words[layout.PUTS_REFUSED],
        abandons=words[layout.ABANDONS],
        reader_sleeps=ring.reader_sleeps(),
        writer_epoch=words[layout.WRITER_EPOCH],
        reader_epoch=words[layout.READER_EPOCH],
    )
