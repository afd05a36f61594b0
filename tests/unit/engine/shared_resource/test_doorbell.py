import asyncio
import os

import pytest
import uvloop

from engine.shared_resource.doorbell import Doorbell, RingReader, RingWriter, wait_any
from engine.shared_resource.ring import Ring
from engine.shared_resource.segment import Segment

LONG_S = 60.0  # never reached: longer than the suite's own patience would like


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request):
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner.run


@pytest.fixture
def doorbell():
    bell = Doorbell.create()
    yield bell
    bell.close()


@pytest.fixture
def ends(make_ring, doorbell):
    ring = make_ring()
    return RingWriter(ring, doorbell), RingReader(ring, doorbell)


def _rings(doorbell):
    try:
        return os.eventfd_read(doorbell._fd)
    except BlockingIOError:
        return 0


async def _until(condition):
    while not condition():  # noqa: ASYNC110 the condition is a word in shared memory
        await asyncio.sleep(0)


def test_the_bell_is_silent_while_the_reader_is_awake(ends, doorbell):
    writer, reader = ends
    assert writer.put([b"a", b"b"]) == 2
    assert writer.put_frame(b"c")
    assert _rings(doorbell) == 0
    reader.ring.set_reader_sleeps(True)
    writer.put([b"d"])
    writer.put_frame(b"e")
    assert _rings(doorbell) == 1, "one sleep, one ring"
    reader.ring.set_reader_sleeps(False)
    writer.put([b"f"])
    assert _rings(doorbell) == 0
    reader.ring.set_reader_sleeps(True)
    writer.put_frame(b"g")
    assert _rings(doorbell) == 1, "the next sleep is another"


@pytest.mark.parametrize("size", [1, 1_500])
def test_a_batch_wakes_only_who_is_to_be_woken(instance, doorbell, size):
    ring = Ring.create(Segment.create(instance, "large", Ring.segment_bytes(1 << 16)), 1 << 16)
    writer = RingWriter(ring, doorbell)
    ring.set_reader_sleeps(True)
    assert writer.put_frame(b"a" * size, wakes=False)
    assert writer.put_frame(b"b" * size * 20, wakes=False)
    assert _rings(doorbell) == 0
    assert writer.put_frame(b"c" * size * 20)
    assert _rings(doorbell) == 1


def test_a_full_ring_rings_for_nobody(ends, doorbell):
    writer, reader = ends
    while writer.put([b"x" * 1000]):
        pass
    reader.ring.set_reader_sleeps(True)
    assert writer.put([b"x" * 1000]) == 0
    assert not writer.put_frame(b"x" * 1000)
    assert _rings(doorbell) == 0


def test_what_is_there_already_needs_no_sleep(ends, run):
    writer, reader = ends
    writer.put([b"a"])
    assert run(reader.wait(LONG_S))
    assert reader.take() == [b"a"]
    assert not reader.ring.reader_sleeps()


@pytest.mark.parametrize("put", [lambda writer: writer.put([b"a"]), lambda writer: writer.put_frame(b"a")])
def test_a_put_wakes_a_sleeping_reader(ends, run, put):
    writer, reader = ends

    async def story():
        for _ in range(3):
            waiting = asyncio.ensure_future(wait_any([reader], LONG_S, backstop_s=LONG_S))
            await _until(reader.ring.reader_sleeps)
            put(writer)
            assert await waiting
            assert not reader.ring.reader_sleeps()
            assert reader.take() == [b"a"]

    run(story())


def test_nothing_comes_and_the_wait_ends(ends, run):
    _, reader = ends
    assert run(reader.wait(0.0)) is False
    assert run(reader.wait(0.01)) is False
    assert not reader.ring.reader_sleeps()


def test_a_missed_ring_costs_the_backstop_and_no_more(ends, run):
    _, reader = ends

    async def story():
        waiting = asyncio.ensure_future(wait_any([reader], LONG_S, backstop_s=0.01))
        await _until(reader.ring.reader_sleeps)
        Ring.attach(reader.ring.segment).put([b"a"])  # without a bell, as a writer does that is killed before it rings
        return await waiting

    assert run(story())


@pytest.mark.interpreted
def test_a_record_that_comes_while_falling_asleep_is_seen(ends, run, monkeypatch):
    _, reader = ends
    fall_asleep = reader.ring.set_reader_sleeps

    def fall_asleep_late(asleep):
        if asleep:
            reader.ring.put([b"between the first look and the flag"])
        fall_asleep(asleep)

    monkeypatch.setattr(reader.ring, "set_reader_sleeps", fall_asleep_late)
    assert run(wait_any([reader], LONG_S, backstop_s=LONG_S))


def test_a_ring_while_nobody_waits_is_kept_for_the_next_wait(ends, run):
    _, reader = ends
    bell = reader.doorbell

    async def story():
        first = asyncio.ensure_future(wait_any([reader], LONG_S, backstop_s=LONG_S))
        await _until(lambda: bell._waiting)  # from now on the loop watches the bell
        bell.ring()
        assert await first
        bell.ring()
        bell.ring()
        await _until(lambda: bell._rung)
        assert await wait_any([reader], LONG_S, backstop_s=LONG_S)
        assert await reader.wait(0.001) is False

    run(story())


def test_one_wait_for_several_rings_and_bells(instance, run):
    ends = []
    for name in ("inbox", "due"):
        ring = Ring.create(Segment.create(instance, name, Ring.segment_bytes(4096)), 4096)
        bell = Doorbell.create()
        ends.append((RingWriter(ring, bell), RingReader(ring, bell)))
    readers = [reader for _, reader in ends]

    async def story():
        for writer, reader in ends:
            waiting = asyncio.ensure_future(wait_any(readers, LONG_S, backstop_s=LONG_S))
            await _until(lambda: all(one.ring.reader_sleeps() for one in readers))
            writer.put([b"a"])
            assert await waiting
            assert reader.take() == [b"a"]
            assert not any(one.ring.reader_sleeps() for one in readers)

    run(story())
    for reader in readers:
        reader.doorbell.close()


def test_a_cancelled_wait_leaves_the_reader_awake(ends, run):
    _, reader = ends

    async def story():
        waiting = asyncio.ensure_future(reader.wait(LONG_S))
        await _until(reader.ring.reader_sleeps)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not reader.ring.reader_sleeps()
        assert not reader.doorbell._waiting

    run(story())


def test_every_wait_gives_others_a_turn(ends, run):
    writer, reader = ends
    turns = []

    async def other():
        while True:
            turns.append(None)
            await asyncio.sleep(0)

    async def story():
        running = asyncio.ensure_future(other())
        for _ in range(10):
            writer.put([b"a"])
            await reader.wait(LONG_S)
            reader.take()
        running.cancel()

    run(story())
    assert len(turns) >= 9


def test_a_bell_moves_to_another_loop(ends):
    writer, reader = ends

    async def story():
        waiting = asyncio.ensure_future(wait_any([reader], LONG_S, backstop_s=LONG_S))
        await _until(reader.ring.reader_sleeps)
        writer.put([b"a"])
        assert await waiting
        reader.take()

    for factory in (asyncio.new_event_loop, uvloop.new_event_loop, asyncio.new_event_loop):
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(story())


def test_a_new_reader_wakes_up_where_the_old_one_slept(ends):
    writer, reader = ends
    reader.ring.set_reader_sleeps(True)
    assert not RingReader(writer.ring, reader.doorbell).ring.reader_sleeps()


def test_ends_pass_the_ring_through(ends):
    writer, reader = ends
    writer.put_frame(b"a", 3)
    assert reader.take_frames(1) == [b"a"]
    writer.put([b"b", b"c"])
    assert reader.abandon() == 2


def test_ringing_never_blocks_even_when_the_counter_is_full(doorbell):
    os.eventfd_write(doorbell._fd, 2**64 - 2)
    doorbell.ring()
    doorbell.close()
    doorbell.close()
