"""The program behind `test_ring_kill`: kill ring readers, say how many records went in and how many takes were cut.

A program of its own because a process as large as pytest takes many times as long to fork.
"""

import os
import random
import signal
import sys
import time

from ring_writer_kills import CAPACITY_BYTES, numbered_record

from engine.shared_resource.ring import Ring
from engine.shared_resource.segment import Segment

TAKE_RECORDS = 50
PUT_RECORDS_MAX = 20
PATIENCE_S = 60.0


def _read_for_ever(segment, seen):
    """Take until killed; store in `seen` the number after the last record of each finished take.

    What was taken may come again only if HEAD was not published, and is missing only if the predecessor had it in hand.
    """
    parent = os.getppid()
    ring = Ring.attach(segment)
    number = None
    while os.getppid() == parent:
        records = ring.take(TAKE_RECORDS)
        if not records:
            continue
        if number is None:
            number = int.from_bytes(records[0][:8], "little")
            assert seen.words[0] <= number <= seen.words[0] + TAKE_RECORDS + PUT_RECORDS_MAX
        assert records == [numbered_record(number + ahead) for ahead in range(len(records))]
        number += len(records)
        seen.words[0] = number


def _fork_reader(segment, seen):
    pid = os.fork()
    if pid == 0:
        try:
            _read_for_ever(segment, seen)
        except BaseException as error:  # noqa: BLE001 the child must not return into the parent's story
            os.write(2, f"reader: {error!r}\n".encode())
        os._exit(1)
    return pid


def main(instance, kills):
    ring = Ring.create(Segment.create(instance, "ring", Ring.segment_bytes(CAPACITY_BYTES)), CAPACITY_BYTES)
    seen = Segment.create(instance, "seen", 8)
    choose = random.Random(29)
    number = in_hand = 0

    def put():
        nonlocal number
        number += ring.put([numbered_record(number + ahead) for ahead in range(choose.choice((1, 5, PUT_RECORDS_MAX)))])

    for _ in range(kills):
        seen_before = seen.words[0]
        pid = _fork_reader(ring.segment, seen)
        give_up_s = time.monotonic() + PATIENCE_S
        while seen.words[0] == seen_before:
            put()
            assert time.monotonic() < give_up_s, "the reader does not read"
            os.sched_yield()
        deadline_ns = time.perf_counter_ns() + choose.randrange(1_000_000)
        while time.perf_counter_ns() < deadline_ns:
            put()
        os.kill(pid, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL, "a reader saw a gap"
        in_hand += ring.records_taken > seen.words[0]
    left = ring.take(number)
    assert left == [numbered_record(at) for at in range(number - len(left), number)]
    assert ring.records_put == ring.records_taken == number
    sys.stdout.write(f"{number} {in_hand}\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
