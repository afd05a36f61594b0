"""Where every byte of a ring lies. Only offsets and their proofs; the behaviour is in `ring`.

One segment holds one ring: a header page, then `capacity` bytes of frames. Every word is 8 bytes, aligned, and has one
writer. Words of different writers are two cache lines apart, because processors fetch lines in pairs.

     byte                                                                      written by
        0  MAGIC      VERSION      CAPACITY                                    the creator, once; MAGIC last
      128  WRITER_EPOCH   READER_EPOCH                                         the supervisor
      256  TAIL   PUTS_REFUSED   RECORDS_DROPPED                               the writer
      384  HEAD   RECORDS_TAKEN   RECORDS_ABANDONED   ABANDONS                 the reader, with each take
      512  SLEEPING                                                            the reader, when it sleeps and wakes
     4096  frames                                                              the writer

TAIL and HEAD count bytes since the ring was made and only grow; the byte of a position is DATA + position % capacity.
SLEEPING only grows, too: it is odd while the reader sleeps.
Bytes from HEAD to TAIL hold whole frames; all others are free, whatever they contain.

A frame never wraps: where it does not fit before the end of the data, a padding frame fills the rest. Frames begin on a
cache line, so a gap at the end always has room for a padding frame.

      0        8        12                 16         24               32                            size - 8
      ├────────┼────────┼──────────────────┼──────────┼────────────────┼──────────────┬──────────────┼──────────────┤
      │ check  │ length │ records and kind │ sequence │ records total  │ payload ...  │ unused       │ records total│
      │ u64    │ u32    │ u24      u8      │ u64      │ u64            │ length bytes │ to 64 bytes  │ u64          │
      └────────┴────────┴──────────────────┴──────────┴────────────────┴──────────────┴──────────────┴──────────────┘

- check is the payload's XXH3 hash, seeded with records total and records and kind (exclusive or). The payload's length
  is part of its hash. Padding has no payload; where others have records it has its size in cache lines.
- sequence is the position of the frame itself. So the one word TAIL says where the next frame goes and which sequence
  it has; there is no second word that a crash could leave behind, and a frame of an earlier lap never passes for new.
- records total counts all records put since the ring was made, this frame included. Its second copy ends the frame:
  it is the word just before TAIL, published by the same store, so a writer that comes back knows the count exactly.
- A RECORDS payload starts with one u32 per record, the running end of it, then the records. A BATCH is opaque.
"""

import struct
from itertools import pairwise
from typing import Final

WORD_BYTES: Final = 8
CACHE_LINE_BYTES: Final = 64
DATA: Final = 4096

#: "SWRMRING", the same in memory and in a hex dump.
RING_MAGIC: Final = int.from_bytes(b"SWRMRING", "little")
RING_VERSION: Final = 6

# Word indices (byte / 8).
MAGIC: Final = 0
VERSION: Final = 1
CAPACITY: Final = 2
WRITER_EPOCH: Final = 16
READER_EPOCH: Final = 17
TAIL: Final = 32
PUTS_REFUSED: Final = 33
RECORDS_DROPPED: Final = 34
HEAD: Final = 48
SLEEPING: Final = 64  # which the writer loads with each put: a line that is rarely stored to
RECORDS_TAKEN: Final = 50
RECORDS_ABANDONED: Final = 51
ABANDONS: Final = 52

CREATOR_WORDS: Final = (MAGIC, VERSION, CAPACITY)
SUPERVISOR_WORDS: Final = (WRITER_EPOCH, READER_EPOCH)
WRITER_WORDS: Final = (TAIL, PUTS_REFUSED, RECORDS_DROPPED)
READER_WORDS: Final = (HEAD, RECORDS_TAKEN, RECORDS_ABANDONED, ABANDONS)
SLEEP_WORDS: Final = (SLEEPING,)

CAPACITY_BYTES_MIN: Final = 4096
CAPACITY_BYTES_MAX: Final = 1 << 30

FRAME_HEADER: Final = struct.Struct("<QIIQQ")  # check, length, records and kind, sequence, records total
KIND_BITS: Final = 8
KIND_MASK: Final = (1 << KIND_BITS) - 1
#: What a frame may count, and more cache lines than the largest padding has.
RECORDS_MAX: Final = (1 << 32 - KIND_BITS) - 1
FRAME_TOTAL: Final = struct.Struct("<Q")  # records total again, at the frame's end; for reading
FRAME_TOTAL_BYTES: Final = FRAME_TOTAL.size
FRAME_HEADER_BYTES: Final = FRAME_HEADER.size
FRAME_ALIGN_BYTES: Final = CACHE_LINE_BYTES
#: What a frame costs beside its payload, before rounding up.
FRAME_OVERHEAD_BYTES: Final = FRAME_HEADER_BYTES + FRAME_TOTAL.size

#: A RECORDS table entry is an `array("I")` item.
TABLE_ENTRY_BYTES: Final = 4
#: Bounds the work of one put, whatever the caller holds.
RECORDS_PER_FRAME_MAX: Final = 4096

KIND_PADDING: Final = 1
KIND_RECORDS: Final = 2
KIND_BATCH: Final = 3


def _prove() -> None:
    """Check the picture above; runs at import, costs microseconds."""
    groups = (CREATOR_WORDS, SUPERVISOR_WORDS, WRITER_WORDS, READER_WORDS, SLEEP_WORDS)
    for earlier, later in pairwise(groups):
        assert later[0] * WORD_BYTES % (2 * CACHE_LINE_BYTES) == 0, "each writer's words begin a pair of cache lines"
        assert max(earlier) < later[0], "words of two writers overlap"
    every = [word for group in groups for word in group]
    assert len(set(every)) == len(every), "two names for one word"
    assert max(every) * WORD_BYTES < DATA, "a word lies in the data"
    assert DATA % FRAME_ALIGN_BYTES == 0
    assert FRAME_HEADER_BYTES == 32, "the payload starts at byte 32 of its frame"
    assert max(KIND_PADDING, KIND_RECORDS, KIND_BATCH) <= KIND_MASK
    assert CAPACITY_BYTES_MAX // 2 // FRAME_ALIGN_BYTES <= RECORDS_MAX, "padding says its size where others say records"
    assert FRAME_OVERHEAD_BYTES <= FRAME_ALIGN_BYTES, "a padding frame must fit into the smallest gap"
    assert CAPACITY_BYTES_MIN & (CAPACITY_BYTES_MIN - 1) == 0


_prove()
