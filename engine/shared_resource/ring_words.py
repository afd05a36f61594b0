"""The words of a ring's header: positions, counts, epochs, who sleeps. `layout` says where, `ring` puts and takes."""

import platform
import struct
from typing import Final, Self

from engine.shared_resource import layout
from engine.shared_resource.layout import (
    DATA,
    FRAME_ALIGN_BYTES,
    FRAME_OVERHEAD_BYTES,
    HEAD,
    SLEEPING,
    TAIL,
    WORD_BYTES,
)
from engine.shared_resource.segment import Segment, refuse_weak_ordering
from swarmsync.errors import SwarmError

U64: Final = (1 << 64) - 1
IN_LINE: Final = FRAME_ALIGN_BYTES - 1


class RingCorrupt(SwarmError):
    """The bytes in the ring contradict each other; the message says what was seen. See `Ring.abandon`."""


class RingWords:
    """One process's grip on a ring's header; `Ring` puts and takes."""

    def __init__(self, segment: Segment, epoch: int | None) -> None:
        refuse_weak_ordering(platform.machine(), struct.calcsize("P"))
        self.segment = segment
        self._memory = segment.memory
        self._words = segment.words
        found = tuple([self._words[index] for index in layout.CREATOR_WORDS])
        capacity = found[layout.CAPACITY]
        if found[:2] != (layout.RING_MAGIC, layout.RING_VERSION):
            raise RingCorrupt(f"segment {segment.name} holds no ring of version {layout.RING_VERSION}: {found[:2]}")
        if not _is_capacity(capacity) or DATA + capacity > segment.size_bytes:
            raise RingCorrupt(f"segment {segment.name} of {segment.size_bytes} bytes says its capacity is {capacity}")
        self.name = segment.name
        self.capacity_bytes = capacity
        self.record_bytes_max = capacity // 4
        self.payload_bytes_max = capacity // 2 - FRAME_OVERHEAD_BYTES
        self._mask = capacity - 1
        self._writer_epoch = self._words[layout.WRITER_EPOCH] if epoch is None else epoch
        self._reader_epoch = self._words[layout.READER_EPOCH] if epoch is None else epoch

    @classmethod
    def create(cls, segment: Segment, capacity_bytes: int) -> Self:
        """Format `segment` as an empty ring. `capacity_bytes` is a power of two, 4 KiB to 1 GiB.

        Formatting again is the way out of a ring whose words are broken; neither side may be running then.
        """
        if not _is_capacity(capacity_bytes):
            raise ValueError(f"a ring of {capacity_bytes} bytes: the capacity is a power of two, 4 KiB to 1 GiB")
        if segment.size_bytes < cls.segment_bytes(capacity_bytes):
            raise ValueError(f"segment {segment.name} is too small for a ring of {capacity_bytes} bytes")
        words = segment.words
        for index in range(DATA // WORD_BYTES):
            words[index] = 0
        words[layout.VERSION] = layout.RING_VERSION
        words[layout.CAPACITY] = capacity_bytes
        words[layout.MAGIC] = layout.RING_MAGIC
        return cls(segment, None)

    @classmethod
    def attach(cls, segment: Segment, epoch: int | None = None) -> Self:
        """Go on with a ring that exists. `epoch` is what the supervisor gave this process; without it, today's."""
        return cls(segment, epoch)

    @staticmethod
    def segment_bytes(capacity_bytes: int) -> int:
        """Return the size of the segment that a ring of this capacity needs."""
        return DATA + capacity_bytes

    # The supervisor's side.

    def fence_writer(self, epoch: int) -> None:
        """From now on only a writer attached with `epoch` or a later one may put."""
        self._words[layout.WRITER_EPOCH] = max(epoch, self._words[layout.WRITER_EPOCH])

    def fence_reader(self, epoch: int) -> None:
        """From now on only a reader attached with `epoch` or a later one may take."""
        self._words[layout.READER_EPOCH] = max(epoch, self._words[layout.READER_EPOCH])

    # What anybody may see.

    def has_frames(self) -> bool:
        return self._words[TAIL] != self._words[HEAD]

    def reader_sleeps(self) -> bool:
        return self._words[SLEEPING] & 1 != 0

    def set_reader_sleeps(self, asleep: bool) -> None:  # noqa: FBT001 it is the value of the word
        """Say whether the writer must ring. For the reader, which looks once more before it really sleeps."""
        number = self._words[SLEEPING] + 1
        self._words[SLEEPING] = ((number | 1) if asleep else (number + 1) & ~1) & U64

    @property
    def reader_epoch(self) -> int:
        """Grows when the reader is replaced: what that one had taken and not yet acted upon went with it."""
        return self._words[layout.READER_EPOCH]

    @property
    def records_put(self) -> int:
        """Records published since the ring was made, also by writers that were killed. Exact."""
        while True:
            tail = self._words[TAIL]
            total = self._total_at(tail)
            if self._words[TAIL] == tail:  # otherwise the writer may have come round to that word
                return total

    @property
    def records_taken(self) -> int:
        """Records handed to a reader; after a reader's death briefly ahead by what its successor reads again."""
        return self._words[layout.RECORDS_TAKEN]

    def fill(self) -> float:
        """Return the used part of the capacity, 0.0 to 1.0."""
        return min(max(self._words[TAIL] - self._words[HEAD], 0) / self.capacity_bytes, 1.0)

    def _span(self) -> tuple[int, int]:
        """Load TAIL and HEAD and refuse what no writer and reader could have left."""
        head = self._words[HEAD]
        tail = self._words[TAIL]
        if not 0 <= tail - head <= self.capacity_bytes or (tail | head) & IN_LINE:
            raise self._broken(tail, head)
        return tail, head

    def _broken(self, tail: int, head: int) -> RingCorrupt:
        return RingCorrupt(f"ring {self.name} of {self.capacity_bytes} bytes: tail {tail}, head {head}")

    def _total_at(self, tail: int) -> int:
        """Records put before `tail`: the last word of the frame that ends there."""
        return self._words[(DATA + ((tail - WORD_BYTES) & self._mask)) // WORD_BYTES] if tail else 0

    def _count(self, index: int, amount: int) -> None:
        self._words[index] = (self._words[index] + amount) & U64


def _is_capacity(capacity: int) -> bool:
    return layout.CAPACITY_BYTES_MIN <= capacity <= layout.CAPACITY_BYTES_MAX and capacity.bit_count() == 1
