"""Rings between real processes, one of which is killed -9 again and again at moments nobody chose.

Every record is computed from its number, so the survivor knows what each one must be: a torn, invented, lost or
reordered record shows at once.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count

import pytest
import ring_reader_kills
import ring_writer_kills
import uvloop
from ring_writer_kills import CAPACITY_BYTES
from ring_writer_kills import numbered_record as _record

from engine.shared_resource.doorbell import Doorbell, RingReader, RingWriter, wait_any
from engine.shared_resource.ring import Ring
from engine.shared_resource.segment import Segment, leftovers, unlink_leftovers
from swarmsync.errors import StaleEpoch

pytestmark = pytest.mark.process

WRITER_KILLS = 10_000
READER_KILLS = 500
FAILED = 9
PATIENCE_S = 60.0

_numbers = count()


@pytest.fixture
def instance() -> Iterator[str]:
    name = f"kill_{os.getpid()}_{next(_numbers)}"
    yield name
    unlink_leftovers(name)


@pytest.fixture
def ring(instance) -> Ring:
    return Ring.create(Segment.create(instance, "ring", Ring.segment_bytes(CAPACITY_BYTES)), CAPACITY_BYTES)


@pytest.fixture
def fork() -> Iterator[Callable[[Callable[[], None]], int]]:
    """Run a function in a child, which ends with 0, or with FAILED where it raised; none outlives the test."""
    children = set()

    def fork(body):
        pid = os.fork()
        if pid == 0:
            try:
                body()
                os._exit(0)
            except BaseException as error:  # noqa: BLE001 whatever it was, the child must not return into pytest
                os.write(2, f"child: {error!r}\n".encode())
            finally:
                os._exit(FAILED)
        children.add(pid)
        return pid

    yield fork
    for pid in children:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass  # reaped by the test


def _ended(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _spin_until(condition: Callable[[], bool]) -> None:
    give_up_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up_s, "the other process did not get there"
        os.sched_yield()


@pytest.mark.timeout(600)  # 20 s on two cores of one's own
def test_a_writer_killed_anywhere_leaves_only_whole_records(instance):
    done = subprocess.run(
        [sys.executable, ring_writer_kills.__file__, instance, str(WRITER_KILLS)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    records, begun = map(int, done.stdout.split())
    assert records > WRITER_KILLS
    assert begun > WRITER_KILLS // 1000, "too few writers died inside a put: this run proved nothing"


def test_a_reader_killed_anywhere_is_replaced_without_a_gap(instance):
    done = subprocess.run(
        [sys.executable, ring_reader_kills.__file__, instance, str(READER_KILLS)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    records, in_hand = map(int, done.stdout.split())
    assert records > READER_KILLS
    assert in_hand > 0, "no reader died inside a take: this run proved nothing"


def test_a_sleeping_reader_is_woken_across_fork(ring, fork):
    doorbell = Doorbell.create()
    rounds = 200

    def read():
        async def story():
            reader = RingReader(ring, doorbell)
            for number in range(rounds):
                while not (records := reader.take()):
                    # Without a back-stop, only the bell can end this wait.
                    assert await wait_any([reader], PATIENCE_S, backstop_s=PATIENCE_S)
                assert records == [_record(number)]

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(story())

    pid = fork(read)
    writer = RingWriter(ring, doorbell)
    for number in range(rounds):
        _spin_until(ring.reader_sleeps)
        assert writer.put([_record(number)]) == 1
        _spin_until(lambda: not ring.has_frames())
    assert _ended(pid) == 0
    doorbell.close()


def test_a_writer_outlives_its_reader_and_the_next_reader_gets_everything(ring, fork):
    doorbell = Doorbell.create()

    def sleep_for_ever():
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(RingReader(ring, doorbell).wait(PATIENCE_S))

    pid = fork(sleep_for_ever)
    _spin_until(ring.reader_sleeps)
    os.kill(pid, signal.SIGKILL)
    assert _ended(pid) == -signal.SIGKILL
    writer = RingWriter(ring, doorbell)
    number = 0
    while writer.put([_record(number)]):  # nobody hears the bell; full is the answer, and nothing blocks
        number += 1
    assert number > 10
    assert ring.reader_sleeps()

    def read():
        async def story():
            reader = RingReader(ring, doorbell)
            assert not ring.reader_sleeps()
            assert await reader.wait(PATIENCE_S)
            assert reader.take() == [_record(at) for at in range(number)]

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(story())

    assert _ended(fork(read)) == 0
    doorbell.close()


def test_a_reader_outlives_its_writer_and_hears_the_next_one(ring, fork):
    doorbell = Doorbell.create()

    def die_before_ringing():
        ring.put([_record(0)])
        os.kill(os.getpid(), signal.SIGKILL)

    def write():
        RingWriter(Ring.attach(ring.segment), doorbell).put([_record(1)])

    async def story():
        reader = RingReader(ring, doorbell)
        for number, (body, exit_code) in enumerate([(die_before_ringing, -signal.SIGKILL), (write, 0)]):
            waiting = asyncio.ensure_future(reader.wait(PATIENCE_S))
            while not ring.reader_sleeps():  # noqa: ASYNC110 it is a word in shared memory
                await asyncio.sleep(0)
            assert _ended(fork(body)) == exit_code
            assert await waiting
            assert reader.take() == [_record(number)]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(story())
    doorbell.close()


def test_a_stopped_writer_that_was_replaced_changes_nothing(ring, fork):
    def write_until_stale():
        old = Ring.attach(ring.segment, epoch=1)
        old.put([_record(0)])
        os.kill(os.getpid(), signal.SIGSTOP)
        try:
            old.put([b"late"])
        except StaleEpoch:
            os._exit(7)

    pid = fork(write_until_stale)
    assert os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1])
    ring.fence_writer(2)
    assert Ring.attach(ring.segment, epoch=2).put([_record(1)]) == 1
    os.kill(pid, signal.SIGCONT)
    assert _ended(pid) == 7
    assert ring.take() == [_record(0), _record(1)]


def test_segments_outlive_every_process_that_was_killed_and_are_found_again(instance, ring, fork):
    def die():
        Ring.attach(Segment.attach(instance, "ring")).put([_record(0)])
        os.kill(os.getpid(), signal.SIGKILL)

    assert _ended(fork(die)) == -signal.SIGKILL
    assert leftovers(instance) == ["ring"]
    assert Ring.attach(Segment.attach(instance, "ring")).take() == [_record(0)]
    assert unlink_leftovers(instance) == ["ring"]
    assert leftovers(instance) == []
