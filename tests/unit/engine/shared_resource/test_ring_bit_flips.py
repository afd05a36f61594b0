"""Every single bit of a 4 KiB ring and of its header flipped: RingCorrupt or nothing, and never a record nobody put."""

import contextlib
from collections import Counter

import pytest

from engine.shared_resource import layout
from engine.shared_resource.ring import Ring
from engine.shared_resource.ring_words import RingCorrupt
from engine.shared_resource.segment import Segment
from swarmsync.errors import StaleEpoch


@pytest.fixture
def wrapped(instance):
    """A ring in its second lap: taken frames, a padding frame, frames of records, a batch, free bytes."""
    segment = Segment.create(instance, "ring", Ring.segment_bytes(4096))
    ring = Ring.create(segment, 4096)
    put = [b"%d" % number * 320 for number in range(9)]
    assert ring.put(put[:6]) == 6
    assert ring.put(put[6:8]) == 2
    assert ring.put(put[8:]) == 1
    assert ring.take(7) == put[:8]
    ahead = 4096 - ring.segment.words[layout.TAIL] % 4096
    padded = b"p" * ahead  # does not fit before the end
    assert ring.put([padded]) == 1
    assert ring.put([b"q", b"", b"r" * 33]) == 3
    assert ring.put_frame(b"batch" * 20, 7)
    return ring, [*put, padded, b"q", b"", b"r" * 33, b"batch" * 20]


def _flips(ring, first_byte, last_byte):
    """Flip each bit in turn; yield after each flip, and put everything back before the next."""
    memory = ring.segment.memory
    snapshot = memory[:]
    for place in range(first_byte, last_byte):
        for bit in range(8):
            memory[place] = snapshot[place] ^ (1 << bit)
            yield place
            memory[:] = snapshot


def _drain(ring):
    """Take one record's frame at a time until nothing is left or something is wrong."""
    taken = []
    while ring.has_frames():
        records = ring.take(1)
        if not records:
            break
        taken += records
    return taken


def _is_run(part, whole):
    return any(whole[start : start + len(part)] == part for start in range(len(whole) - len(part) + 1))


def test_no_flip_in_the_data_is_believed(wrapped):
    ring, put = wrapped
    unread = put[8:]
    outcomes = Counter()
    for _ in _flips(ring, layout.DATA, layout.DATA + 4096):
        taken = []
        try:
            while ring.has_frames():
                taken += ring.take(1)
        except RingCorrupt:
            outcomes["corrupt"] += 1
            ring.abandon()
        else:
            outcomes["harmless"] += 1
            assert taken == unread
        assert taken == unread[: len(taken)]
        assert ring.put([b"next"]) == 1
        assert ring.take() == [b"next"]
    frame_bits_min = 8 * sum(map(len, unread))
    assert outcomes["corrupt"] >= frame_bits_min
    assert outcomes["harmless"] > 0


def test_no_flip_in_a_batch_is_believed(instance):
    """The way of the engine's words, which reads headers by itself."""
    ring = Ring.create(Segment.create(instance, "ring", Ring.segment_bytes(4096)), 4096)
    for number in range(5):
        assert ring.put_frame(bytes([number]) * 500, 3)
    ring.take_frames(5)
    put = [bytes([number]) * 50 * number for number in range(5, 11)]
    assert all(ring.put_frame(batch, number) for number, batch in enumerate(put, 1))
    outcomes = Counter()
    for _ in _flips(ring, layout.DATA, layout.DATA + 4096):
        taken = []
        try:
            while ring.has_frames():
                taken += ring.take_frames(100)
        except RingCorrupt:
            outcomes["corrupt"] += 1
            assert taken == put[: len(taken)]
        else:
            outcomes["harmless"] += 1
            assert taken == put
            assert ring.records_taken == 5 * 3 + sum(range(1, 7))
    assert outcomes["corrupt"] >= 8 * sum(map(len, put))
    assert outcomes["harmless"] > 0


def test_no_flip_in_the_header_makes_a_record(wrapped):
    ring, put = wrapped
    refused = Counter()
    for place in _flips(ring, 0, 4096):
        for side in (lambda: _drain(ring), lambda: ring.put([b"x" * 900]), lambda: ring.put_frame(b"y" * 900)):
            try:
                answer = side()
            except (RingCorrupt, StaleEpoch) as error:
                refused[type(error), place // 128] += 1
            else:
                if isinstance(answer, list):
                    assert _is_run(answer, put)
        with contextlib.suppress(RingCorrupt, StaleEpoch):
            ring.abandon()
        with contextlib.suppress(RingCorrupt):
            Ring.attach(ring.segment)
    assert {line for error, line in refused if error is StaleEpoch} == {1}
    assert {line for error, line in refused if error is RingCorrupt} == {2, 3}
