"""The program behind `test_ring_kill`: kill ring writers, say how many records came through and how many puts were cut.

A program of its own because a process as large as pytest takes three times as long to fork. Writers take the number of
their next record from the ring's own count, which is part of what is tested: it must be right at whatever instruction
the predecessor died.
"""

import os
import random
import signal
import sys
import time

from engine.shared_resource import layout
from engine.shared_resource.ring import Ring
from engine.shared_resource.segment import Segment

CAPACITY_BYTES = 1 << 14  # small: many laps, and often full
_filler = bytes(range(256)) * 4


def numbered_record(number):
    length = number * 2654435761 % 400
    start = number % 256
    return number.to_bytes(8, "little") + _filler[start : start + length]


def _write_for_ever(segment, seed):
    """Put numbered records in batches of several sizes until killed, or until the parent is gone."""
    parent = os.getppid()
    ring = Ring.attach(segment)
    choose = random.Random(seed)
    number = ring.records_put
    while os.getppid() == parent:
        batch = [numbered_record(number + ahead) for ahead in range(choose.choice((1, 2, 7, 25)))]
        number += ring.put(batch)
        assert ring.records_put == number


def _begun_frame(ring):
    """Whether the bytes after TAIL are those of a frame that its writer had begun, and will never publish."""
    tail = ring.segment.words[layout.TAIL]
    header = layout.FRAME_HEADER.unpack_from(ring.segment.memory, layout.DATA + tail % CAPACITY_BYTES)
    return header[3] == tail


def _fork_writer(segment, seed):
    pid = os.fork()
    if pid == 0:
        try:
            _write_for_ever(segment, seed)
        except BaseException as error:  # noqa: BLE001 the child must not return into the parent's story
            os.write(2, f"writer: {error!r}\n".encode())
        os._exit(1)
    return pid


def main(instance, kills):
    ring = Ring.create(Segment.create(instance, "ring", Ring.segment_bytes(CAPACITY_BYTES)), CAPACITY_BYTES)
    choose = random.Random(20_240_229)
    expected = begun = 0

    def take(records_max):
        nonlocal expected
        records = ring.take(records_max)
        assert records == [numbered_record(expected + ahead) for ahead in range(len(records))]
        expected += len(records)
        return len(records)

    for kill in range(kills):
        put_before = ring.records_put
        pid = _fork_writer(ring.segment, kill)
        give_up_s = time.monotonic() + 60
        while kill % 10 and ring.records_put == put_before:  # every tenth may die before its first put
            take(10)
            assert time.monotonic() < give_up_s, "the writer does not write"
            os.sched_yield()
        deadline_ns = time.perf_counter_ns() + choose.randrange(400_000)
        while time.perf_counter_ns() < deadline_ns:
            take(20)
        os.kill(pid, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL, "a writer saw a wrong count"
        begun += _begun_frame(ring)
        while kill % 3 and take(1000):  # every third successor finds a ring that is not empty
            pass
    while take(1000):
        pass
    assert ring.records_put == ring.records_taken == expected
    sys.stdout.write(f"{expected} {begun}\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
