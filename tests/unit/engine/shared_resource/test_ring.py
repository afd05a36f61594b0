import platform
import struct

import pytest

from engine.shared_resource import layout
from engine.shared_resource.ring import RecordTooLarge, Ring
from engine.shared_resource.ring_words import RingCorrupt
from engine.shared_resource.segment import Segment
from swarmsync.errors import ConfigError, StaleEpoch


def test_records_come_out_as_they_went_in(make_ring):
    ring = make_ring(8192)
    assert ring.put([b"one", b"", b"three"]) == 3
    assert ring.put([]) == 0
    assert ring.put([b"four"]) == 1
    assert (ring.records_put, ring.records_taken) == (4, 0)
    assert ring.take() == [b"one", b"", b"three", b"four"]
    assert ring.take() == []
    assert (ring.records_put, ring.records_taken) == (4, 4)
    assert ring.fill() == 0.0


def test_take_stops_after_the_frame_that_reaches_the_limit(make_ring):
    ring = make_ring()
    for first in (0, 3, 6):
        ring.put([bytes([first]), bytes([first + 1]), bytes([first + 2])])
    assert ring.take(4) == [bytes([n]) for n in range(6)]
    assert ring.take(1) == [b"\x06", b"\x07", b"\x08"]
    assert ring.take(0) == []


def test_batches_are_opaque_and_count_their_records(make_ring):
    ring = make_ring()
    assert ring.put_frame(b"batch of five", 5)
    assert ring.put_frame(b"", 0)
    assert ring.put_frame(b"one")
    assert ring.records_put == 6
    assert ring.take_frames(2) == [b"batch of five", b""]
    assert ring.records_taken == 5
    assert ring.take() == [b"one"]


def test_take_frames_stops_behind_the_frame_that_reaches_the_limit_of_bytes(make_ring):
    ring = make_ring(8192)
    batches = [bytes([number]) * 500 for number in range(5)]
    assert all(ring.put_frame(batch) for batch in batches)
    assert ring.take_frames(5, bytes_max=1_000) == batches[:2]
    assert ring.take_frames(5, bytes_max=1) == batches[2:3]
    assert ring.take_frames(5) == batches[3:]


def test_batches_of_every_size_come_out_whole_and_leave_nothing_of_the_lap_before(make_ring):
    """Up to 16 KiB a frame is written by one call, beyond that piece by piece."""
    ring = make_ring(1 << 17)
    sizes = [0, 1, 23, 24, 25, 88, 89, 16_343, 16_344, 16_345, 16_384, 16_408, 16_409, 40_000]
    for lap in range(20):
        for size in sizes:
            payload = bytes([1 + lap]) * size
            assert ring.put_frame(payload, size)
            assert ring.take_frames(1) == [payload]
    assert ring.records_put == ring.records_taken == 20 * sum(sizes)
    assert Ring.attach(ring.segment).put_frame(b"a successor counts on", 7)
    assert ring.records_put == ring.records_taken + 7


def test_take_frames_refuses_a_ring_of_records(make_ring):
    ring = make_ring()
    ring.put([b"a", b"b"])
    with pytest.raises(RingCorrupt, match="where batches travel"):
        ring.take_frames(1)
    assert ring.take() == [b"a", b"b"]


def test_full_is_an_answer_and_is_counted(make_ring):
    ring = make_ring()
    put = 0
    while ring.put_frame(b"x" * 500):
        put += 1
    assert put == 4096 // 576
    assert ring.put([b"y" * 500]) == 0
    assert ring.segment.words[layout.PUTS_REFUSED] == 2
    assert ring.room_bytes() < 500
    assert ring.take_frames(1) == [b"x" * 500]
    assert ring.put([b"y" * 500]) == 1


def test_put_takes_the_leading_records_that_fit(make_ring):
    ring = make_ring()
    records = [bytes([n]) * 100 for n in range(60)]
    first = ring.put(records)
    assert 0 < first < 60
    second = ring.put(records[first:])
    assert ring.take() == records[: first + second]
    rest = records[first + second :]
    while rest:
        taken = ring.put(rest)
        assert taken
        assert ring.take() == rest[:taken]
        rest = rest[taken:]


def test_room_is_what_put_frame_takes(make_ring):
    ring = make_ring()
    for size in range(0, 1500, 37):
        room = ring.room_bytes()
        if room < ring.payload_bytes_max:
            assert not ring.put_frame(b"r" * (room + 1))
        assert ring.put_frame(b"r" * room)
        assert len(ring.take_frames(100)) == 1
        ring.put_frame(b"s" * size)
        if size % 2:
            ring.take_frames(1)
        else:
            ring.take_frames(99)


@pytest.mark.parametrize("place", range(0, 4096, 64))
def test_an_empty_ring_takes_the_largest_record_and_batch_wherever_it_stands(make_ring, place):
    ring = make_ring()
    for _ in range(place // 64):
        ring.put_frame(b"")
        ring.take_frames(1)
    assert ring.put([b"r" * ring.record_bytes_max]) == 1
    assert ring.take() == [b"r" * ring.record_bytes_max]
    assert ring.put_frame(b"p" * ring.payload_bytes_max)
    assert ring.take_frames(1) == [b"p" * ring.payload_bytes_max]


def test_too_large_is_an_error_and_takes_nothing(make_ring):
    ring = make_ring()
    with pytest.raises(RecordTooLarge, match="1024 bytes, not 1025"):
        ring.put([b"fits", b"x" * 1025])
    with pytest.raises(RecordTooLarge):
        ring.put_frame(b"x" * (ring.payload_bytes_max + 1))
    assert ring.records_put == 0
    assert not ring.has_frames()


def test_a_frame_holds_at_most_4096_records(make_ring):
    ring = make_ring(1 << 20)
    assert ring.put([b"."] * 5000) == 4096
    assert ring.put([b"."] * 5000) == 4096
    assert len(ring.take(1)) == 4096
    assert len(ring.take(1)) == 4096


def test_positions_beyond_32_bits_go_on(make_ring):
    ring = make_ring()
    words = ring.segment.words
    words[layout.TAIL] = words[layout.HEAD] = (1 << 33) - 128
    for number in range(100):
        assert ring.put([b"%d" % number, b"x" * 300]) == 2
        assert ring.take()[0] == b"%d" % number


def test_a_replacement_goes_on_where_the_published_words_are(make_ring, instance):
    ring = make_ring()
    ring.put([b"a", b"b"])
    writer = Ring.attach(Segment.attach(instance, "ring"))
    writer.put([b"c"])
    reader = Ring.attach(Segment.attach(instance, "ring"))
    assert reader.take() == [b"a", b"b", b"c"]
    assert (reader.records_put, reader.records_taken) == (3, 3)


def test_an_unpublished_frame_does_not_exist(make_ring):
    ring = make_ring()
    ring.put([b"a"])
    words = ring.segment.words
    tail = words[layout.TAIL]
    ring.put([b"never published"])
    words[layout.TAIL] = tail  # as if the writer had been killed just before its last store
    assert ring.records_put == 1
    assert Ring.attach(ring.segment).put([b"b"]) == 1
    assert ring.take() == [b"a", b"b"]
    assert ring.records_put == 2


def test_a_reader_killed_before_its_last_store_reads_again_and_counts_once(make_ring):
    ring = make_ring()
    ring.put([b"a", b"b"])
    head = ring.segment.words[layout.HEAD]
    assert ring.take() == [b"a", b"b"]
    ring.segment.words[layout.HEAD] = head
    assert Ring.attach(ring.segment).take() == [b"a", b"b"]
    assert ring.records_taken == 2


def test_a_frame_of_an_earlier_lap_is_not_taken_for_a_new_one(make_ring):
    ring = make_ring()
    for _ in range(4096 // 64):
        ring.put_frame(b"old")
        ring.take_frames(1)
    ring.segment.words[layout.TAIL] += 64  # a tail that nobody wrote a frame for
    with pytest.raises(RingCorrupt, match="sequence 0"):
        ring.take_frames(1)


def test_good_frames_before_a_bad_one_are_handed_out_first(make_ring):
    ring = make_ring()
    ring.put([b"good"])
    bad = layout.DATA + ring.segment.words[layout.TAIL] + layout.FRAME_HEADER_BYTES
    ring.put([b"bad", b"worse"])
    ring.segment.memory[bad] ^= 1
    assert ring.take() == [b"good"]
    with pytest.raises(RingCorrupt, match="check"):
        ring.take()
    with pytest.raises(RingCorrupt, match="check"):
        ring.take()


def test_abandon_drops_to_the_tail_counts_and_goes_on(make_ring):
    ring = make_ring()
    ring.put([b"good"])
    ring.take()
    ring.segment.memory[layout.DATA + ring.segment.words[layout.TAIL] + 40] ^= 1
    ring.put([b"bad"])
    ring.put([b"lost", b"too"])
    ring.segment.memory[layout.DATA + 64 + 33] ^= 1
    with pytest.raises(RingCorrupt):
        ring.take()
    assert ring.abandon() == 3
    assert ring.take() == []
    ring.put([b"next"])
    assert ring.take() == [b"next"]
    words = ring.segment.words
    assert (ring.records_put, ring.records_taken, words[layout.RECORDS_ABANDONED]) == (5, 2, 3)
    assert words[layout.ABANDONS] == 1
    assert ring.abandon() == 0


def test_a_reader_killed_in_abandon_counts_once(make_ring):
    ring = make_ring()
    ring.put([b"a", b"b"])
    head = ring.segment.words[layout.HEAD]
    assert ring.abandon() == 2
    ring.segment.words[layout.HEAD] = head
    assert Ring.attach(ring.segment).abandon() == 0
    assert ring.segment.words[layout.RECORDS_ABANDONED] == 2


def test_abandon_heals_a_tail_that_ran_away(make_ring):
    ring = make_ring()
    ring.put([b"a"])
    ring.segment.words[layout.TAIL] += 1 << 40
    for side in (ring.take, ring.abandon, lambda: ring.put([b"b"])):
        if side == ring.abandon:
            ring.abandon()
            break
        with pytest.raises(RingCorrupt):
            side()
    assert ring.put([b"b"]) == 1
    assert ring.take() == [b"b"]


def test_a_tail_inside_a_cache_line_needs_a_new_ring(make_ring):
    ring = make_ring()
    ring.segment.words[layout.TAIL] = 1
    with pytest.raises(RingCorrupt, match="created again"):
        ring.abandon()
    ring = Ring.create(ring.segment, 4096)
    assert ring.put([b"a"]) == 1
    assert ring.take() == [b"a"]


def test_stale_sides_are_refused_each_by_its_own_epoch(make_ring):
    ring = make_ring()
    ring.fence_writer(3)
    ring.fence_reader(4)
    old = Ring.attach(ring.segment, epoch=2)
    for call in (
        lambda: old.put([b"x"]),
        lambda: old.put_frame(b"x"),
        old.take,
        lambda: old.take_frames(1),
        old.abandon,
    ):
        with pytest.raises(StaleEpoch):
            call()
    writer = Ring.attach(ring.segment, epoch=3)
    assert writer.put([b"x"]) == 1
    with pytest.raises(StaleEpoch):
        writer.take()
    assert Ring.attach(ring.segment, epoch=4).take() == [b"x"]


def test_a_stale_writer_hears_it_even_when_the_ring_is_full(make_ring):
    ring = make_ring()
    while ring.put([b"x" * 900]):
        pass
    ring.fence_writer(1)
    with pytest.raises(StaleEpoch):
        ring.put([b"x" * 900])


def test_epochs_never_go_back_and_attach_without_one_takes_the_present(make_ring):
    ring = make_ring()
    ring.fence_writer(7)
    ring.fence_writer(5)
    assert ring.segment.words[layout.WRITER_EPOCH] == 7
    assert Ring.attach(ring.segment).put([b"x"]) == 1


@pytest.mark.parametrize("capacity", [0, 2048, 4097, 12288, 1 << 31])
def test_capacity_is_a_power_of_two_of_4_kib_or_more(instance, capacity):
    segment = Segment.create(instance, "ring", 1 << 16)
    with pytest.raises(ValueError, match="power of two"):
        Ring.create(segment, capacity)


def test_a_segment_that_is_no_ring_is_refused(instance):
    segment = Segment.create(instance, "ring", 1 << 14)
    with pytest.raises(RingCorrupt, match="no ring"):
        Ring.attach(segment)
    with pytest.raises(ValueError, match="too small"):
        Ring.create(segment, 1 << 14)
    Ring.create(segment, 4096)
    segment.words[layout.CAPACITY] = 1 << 20
    with pytest.raises(RingCorrupt, match="capacity"):
        Ring.attach(segment)


def test_rings_refuse_machines_that_reorder_stores(make_ring, monkeypatch):
    ring = make_ring()
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(ConfigError, match="aarch64"):
        Ring.attach(ring.segment)


def test_a_table_that_contradicts_its_payload_is_corrupt_in_spite_of_a_right_check(make_ring):
    ring = make_ring()
    for payload, records in ((struct.pack("<2I", 2, 4) + b"hello", 2), (b"abc", 7), (b"", 0)):
        assert ring._publish(payload, records, layout.KIND_RECORDS)
        with pytest.raises(RingCorrupt, match="records end at"):
            ring.take()
        ring.abandon()
    assert ring._publish(b"", 0, 77)
    with pytest.raises(RingCorrupt, match="kind 77"):
        ring.take()


def test_a_damaged_count_of_records_is_noticed_before_it_spreads(make_ring):
    ring = make_ring()
    ring.put([b"a"])
    ring.segment.words[(layout.DATA + ring.segment.words[layout.TAIL]) // 8 - 1] += 1 << 20
    with pytest.raises(RingCorrupt, match="total 1, again 1048577"):
        ring.take()
