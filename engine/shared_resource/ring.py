"""A byte ring in shared memory: one writing process, one reading process, batches, no lock.

**What ordering rests on.** The writer copies a frame and then stores TAIL; the reader loads TAIL and then copies. That
is right where stores become visible in program order and loads are not moved before earlier loads: x86-64 (total store
order). CPython adds nothing and takes nothing away: each step is a C call of its own (compiled by mypyc it is the same
call, which a C compiler cannot move past another), and an item store through `memoryview.cast("Q")` is one aligned
8-byte store, so a reader sees the old or the new position, never a mixture. `struct.pack_into` does not promise that
(it clears the bytes first, and readers did see the zero) and is used for bytes beyond TAIL only, which nobody looks at.
On other machines `Ring` refuses to start until it has real barriers.

**What a crash can do.** Either side may be killed between any two instructions; its successor attaches and goes on. A
frame exists from the store of TAIL on, and everything about it was stored before. A reader stores HEAD after it has
copied, so its successor may read the same frames again, never fewer. What a reader had taken and not yet acted upon
dies with it: records are hints, and whoever sends them has another way to the same end.

**Two writers** are ruled out by the supervisor, which reaps a process before it starts the next. The epoch words are
the second line: a replaced process that still runs gets StaleEpoch at its next call.

Frames carry a hash, their position and their length. What does not fit together is never handed out: it is RingCorrupt.
"""

import mmap
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Final

from xxhash import xxh3_64_intdigest as _digest

from engine.shared_resource import frames, layout
from engine.shared_resource.layout import (
    DATA,
    FRAME_ALIGN_BYTES,
    FRAME_HEADER_BYTES,
    FRAME_OVERHEAD_BYTES,
    HEAD,
    KIND_BATCH,
    KIND_BITS,
    KIND_MASK,
    KIND_PADDING,
    READER_EPOCH,
    SLEEPING,
    TAIL,
    WORD_BYTES,
    WRITER_EPOCH,
)
from engine.shared_resource.ring_words import IN_LINE, U64, RingCorrupt, RingWords
from engine.shared_resource.segment import Segment
from swarmsync.errors import StaleEpoch, SwarmError

#: What `take_frames` copies out at most, but for the last frame: small enough to be the same memory each time.
TAKE_BYTES_MAX: Final = 96 << 10
_ROUND_UP: Final = FRAME_OVERHEAD_BYTES + FRAME_ALIGN_BYTES - 1
_IN_LINES: Final = -FRAME_ALIGN_BYTES
_LINE_BITS: Final = FRAME_ALIGN_BYTES.bit_length() - 1
#: Frames up to 16 KiB are written by one call; for larger ones filling the rest first would cost more than it saves.
_PACKERS: Final = frames.packers(16 << 10)
_PACKED_LINES: Final = len(_PACKERS)
_read_header: Final[Callable[[mmap.mmap, int], tuple[int, int, int, int, int]]] = layout.FRAME_HEADER.unpack_from


class RecordTooLarge(SwarmError):
    """A record or batch that would not fit even into an empty ring; nothing was put."""


class Ring(RingWords):
    """One process's grip on a ring. It holds no position that matters to another, so it may be inherited over fork.

    The writer calls `put` and `put_frame`, the reader `take`, `take_frames` and `abandon`; anybody may look. A ring
    carries either records or batches: `take_frames` finds a ring of records corrupt.
    """

    def __init__(self, segment: Segment, epoch: int | None) -> None:
        super().__init__(segment, epoch)
        # What the writer knows without a look: where its last frame ends, the total there, and how far nothing is in
        # the way. HEAD is looked at once that is used up, since its line is the other processor's.
        self._next = self._free_until = self._total = 0
        #: What wakes the reader of this ring; see `doorbell`. Without it nobody is woken.
        self.bell: Callable[[], None] | None = None
        self._rung = 0  # the reader's sleep that the bell was rung for

    # The writer's side.

    def put(self, records: Sequence[bytes]) -> int:
        """Put as many leading records as fit into one frame, with one publish; return how many. 0 means full.

        At most 4,096 at a time. Raises StaleEpoch, RingCorrupt, and RecordTooLarge when one of them has more than a
        quarter of the capacity: then none is taken.
        """
        if self._words[WRITER_EPOCH] > self._writer_epoch:
            raise self._stale_writer()
        records = records[: layout.RECORDS_PER_FRAME_MAX]
        if not records:
            return 0
        ends = list(accumulate(map(len, records)))
        if ends[-1] > self.record_bytes_max < (largest := max(map(len, records))):  # else none can be too large
            raise RecordTooLarge(f"ring {self.name} takes records of {self.record_bytes_max} bytes, not {largest}")
        count, payload = frames.join_records(records, ends, self.room_bytes())
        if count == 0:
            self._count(layout.PUTS_REFUSED, 1)
            return 0
        published = self._publish(payload, count, layout.KIND_RECORDS)
        assert published, "room only grows while the writer looks"
        self._wake()
        return count

    def put_frame(self, payload: bytes, records: int = 1, *, wakes: bool = True) -> bool:
        """Put one opaque batch that counts as `records`, 16 million at most; False means full.

        A reader that sleeps is woken, or not. Raises RecordTooLarge over `payload_bytes_max`, about half the capacity;
        StaleEpoch; RingCorrupt.
        """
        words = self._words
        tail, length = words[TAIL], len(payload)
        lines = (length + _ROUND_UP) >> _LINE_BITS
        end = tail + (lines << _LINE_BITS)
        if lines >= _PACKED_LINES or (
            (tail != self._next or end > self._free_until or words[WRITER_EPOCH] > self._writer_epoch)
            and not self._may_go_on(tail, end)
        ):
            return self._put_frame_looking(payload, records, wakes=wakes)
        # `_publish` where nothing is in the way, written out: a call costs as much as a small copy.
        total = (self._total + records) & U64
        what = records << KIND_BITS | KIND_BATCH
        start = DATA + (tail & self._mask)
        _PACKERS[lines](self._memory, start, _digest(payload, total ^ what), length, what, tail, total, payload, total)
        self._total = total
        words[TAIL] = self._next = end
        number = words[SLEEPING]
        if number & 1 and number != self._rung and wakes:
            self._ring_bell(number)
        return True

    def _may_go_on(self, tail: int, end: int) -> bool:
        """Look how far nothing is in the way now; say whether a frame from `tail` to `end` can be written as it is."""
        head, capacity = self._words[HEAD], self.capacity_bytes
        if tail != self._next or self._words[WRITER_EPOCH] > self._writer_epoch:
            return False
        if not 0 <= tail - head <= capacity or head & IN_LINE:
            return False
        self._free_until = self._free_from(tail, head)
        return end <= self._free_until

    def _free_from(self, tail: int, head: int) -> int:
        """Return how far frames can be put one behind the other; no frame may have more than half the capacity."""
        return min(head + self.capacity_bytes, (tail | self._mask) + 1, tail + self.capacity_bytes // 2)

    def _put_frame_looking(self, payload: bytes, records: int, *, wakes: bool) -> bool:
        """`put_frame` of any size, with a look at what the other side and the supervisor did meanwhile."""
        if len(payload) > self.payload_bytes_max:
            raise RecordTooLarge(f"ring {self.name} takes batches of {self.payload_bytes_max} B, not {len(payload)}")
        if self._words[WRITER_EPOCH] > self._writer_epoch:
            raise self._stale_writer()
        if not self._publish(payload, records, KIND_BATCH):
            self._count(layout.PUTS_REFUSED, 1)
            return False
        if wakes:
            self._wake()
        return True

    def count_dropped(self, records: int) -> None:
        """Note that the writer gave up on so many records because the ring was full."""
        self._count(layout.RECORDS_DROPPED, records)

    def room_bytes(self) -> int:
        """Return the largest payload that `put_frame` would take now; for the writer, it can only grow meanwhile."""
        tail, head = self._span()
        free = self.capacity_bytes - (tail - head)
        ahead = self.capacity_bytes - (tail & self._mask)
        # Before the end of the data, or after padding at its start; never more than half, see _publish.
        frame = min(max(min(ahead, free), free - ahead), self.capacity_bytes // 2)
        return max(frame - FRAME_OVERHEAD_BYTES, 0)

    def _wake(self) -> None:
        number = self._words[SLEEPING]
        if number & 1 and number != self._rung:
            self._ring_bell(number)

    def _ring_bell(self, number: int) -> None:
        """Wake the reader from its sleep of this number: once is enough, and it is a system call."""
        self._rung = number
        if self.bell is not None:
            self.bell()

    def _stale_writer(self) -> StaleEpoch:
        return StaleEpoch(f"the writer of ring {self.name} with epoch {self._writer_epoch} was replaced")

    def _publish(self, payload: bytes, records: int, kind: int) -> bool:
        """Write a frame, with padding before it if need be, and make both visible with one store; False if full.

        The bytes just before TAIL stay whole until that store, also the records total there: a frame is at most half
        the capacity, and padding is only needed when it is smaller than the frame.
        """
        words = self._words
        head, tail = words[HEAD], words[TAIL]
        used = tail - head
        if not 0 <= used <= self.capacity_bytes or (tail | head) & IN_LINE:
            raise self._broken(tail, head)
        size = frames.frame_bytes(len(payload))
        offset = tail & self._mask
        ahead = self.capacity_bytes - offset
        padding = ahead if size > ahead else 0
        if padding + size > self.capacity_bytes - used:
            return False
        total = self._total_at(tail)
        if padding:
            frames.write_padding(self._memory, DATA + offset, padding - FRAME_OVERHEAD_BYTES, tail, total)
            words[(DATA + offset + padding) // WORD_BYTES - 1] = total
            tail += padding
            offset = 0
        total = (total + records) & U64
        frames.write_frame(self._memory, DATA + offset, (tail, total, records, kind), payload)
        words[(DATA + offset + size) // WORD_BYTES - 1] = total
        words[TAIL] = tail + size
        self._next, self._total = tail + size, total
        self._free_until = self._free_from(tail + size, head)
        return True

    # The reader's side.

    def take(self, records_max: int = 4096) -> list[bytes]:
        """Take whole frames, oldest first, until there are `records_max` records or nothing is left.

        The last frame may bring up to 4,095 more. Publishes HEAD once; the records are copies. A batch of `put_frame`
        is one record. Raises StaleEpoch, and RingCorrupt when the first frame is bad; good frames before a bad one are
        returned first.
        """
        self._check_reader_epoch()
        taken: list[bytes] = []
        tail, first = self._span()
        head, total_passed = first, 0
        try:
            while head < tail and len(taken) < records_max:
                offset = head & self._mask
                published = min(tail - head, self.capacity_bytes - offset)
                size, total, records, kind, payload = frames.read_frame(self._memory, DATA + offset, head, published)
                if kind == KIND_BATCH:
                    taken.append(payload)
                elif kind != KIND_PADDING:
                    taken += frames.records_of(kind, records, payload)
                head += size
                total_passed = total
        except frames.FrameBad as seen:
            if head == first:
                raise RingCorrupt(f"ring {self.name} at {head}, tail {tail}: {seen}") from None
        if head > first:
            self._pass(head, total_passed)
        return taken

    def take_frames(self, limit: int, bytes_max: int = TAKE_BYTES_MAX) -> list[bytes]:
        """Take up to `limit` batches of `put_frame`, oldest first, and publish HEAD once. Raises as `take` does.

        It stops behind the frame that reaches `bytes_max`: copies that are freed and made again in small blocks stay
        mapped, where a megabyte at once costs a page fault per 4 KiB (five times the time, measured).
        """
        self._check_reader_epoch()
        tail, first = self._span()
        stop = min(tail, first + bytes_max)
        head, total_passed = first, 0
        lap = min(tail, (head | self._mask) + 1)  # how far frames lie one behind the other
        taken: list[bytes] = []
        memory, mask = self._memory, self._mask
        try:
            while head < stop and len(taken) < limit:
                # `frames.read_frame`, written out as in `put_frame`; what is not as expected is looked at there.
                start = DATA + (head & mask)
                check, length, what, sequence, total = _read_header(memory, start)
                size = (length + _ROUND_UP) & _IN_LINES
                if sequence == head and what & KIND_MASK == KIND_BATCH and size <= lap - head:
                    body = start + FRAME_HEADER_BYTES
                    payload = memory[body : body + length]
                    if _digest(payload, total ^ what) == check:  # the total's copy is the writer's
                        taken.append(payload)
                        head += size
                        total_passed = total
                        continue
                if head == lap:
                    lap = min(tail, head + mask + 1)
                    continue
                size, total, records, kind, payload = frames.read_frame(memory, start, head, lap - head)
                if kind == KIND_BATCH:
                    taken.append(payload)
                elif kind != KIND_PADDING:
                    frames.no_records(kind, records, payload)
                head += size
                total_passed = total
        except frames.FrameBad as problem:
            if head == first:
                raise RingCorrupt(f"ring {self.name} at {head}, tail {tail}: {problem}") from None
        if head > first:
            self._pass(head, total_passed)
        return taken

    def abandon(self) -> int:
        """Drop everything up to the published tail and return how many records that were; the next take goes on.

        For the reader, after RingCorrupt; its owner then reloads from the truth. Raises RingCorrupt when TAIL itself is
        broken: only formatting the ring again helps then.
        """
        self._check_reader_epoch()
        words = self._words
        tail = words[TAIL]
        if tail % FRAME_ALIGN_BYTES:
            raise RingCorrupt(f"ring {self.name}: tail {tail} is no frame's end; the ring must be created again")
        before = words[layout.RECORDS_ABANDONED]
        # Computed, not added up: a reader that is killed here and replaced counts the same records once.
        after = max(before, self._total_at(tail) - words[layout.RECORDS_TAKEN])
        words[layout.RECORDS_ABANDONED] = after
        words[layout.ABANDONS] = (words[layout.ABANDONS] + 1) & U64
        words[HEAD] = tail
        return after - before

    def _check_reader_epoch(self) -> None:
        if self._words[READER_EPOCH] > self._reader_epoch:
            raise StaleEpoch(f"the reader of ring {self.name} with epoch {self._reader_epoch} was replaced")

    def _pass(self, head: int, total: int) -> None:
        """Free what was copied. The count first: it is absolute, so a successor that reads again stores the same."""
        self._words[layout.RECORDS_TAKEN] = (total - self._words[layout.RECORDS_ABANDONED]) & U64
        self._words[HEAD] = head
