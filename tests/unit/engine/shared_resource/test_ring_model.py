"""The ring against a deque, in any order of puts, takes, deaths and replacements that Hypothesis can think of."""

import itertools
import os
from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from engine.shared_resource import layout
from engine.shared_resource.ring import Ring
from engine.shared_resource.segment import Segment

_numbers = itertools.count()
_records = st.lists(st.integers(0, 1024), max_size=40)


class RingAndDeque(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.segment = Segment.create(f"model_{os.getpid()}", f"ring{next(_numbers)}", Ring.segment_bytes(4096))
        self.segment.unlink()  # the mapping lives on, and nothing is left behind
        self.writer = self.reader = Ring.create(self.segment, 4096)
        self.frames = deque()  # of lists of records
        self.put_count = self.taken_count = self.abandoned_count = 0

    def teardown(self):
        self.segment.close()

    def _record(self, size):
        return (b"%d:" % self.put_count).ljust(size, b".")[:1024]

    @rule(sizes=_records)
    def put(self, sizes):
        records = []
        for size in sizes:
            records.append(self._record(size))
            self.put_count += 1
        room = self.writer.room_bytes()
        fitting = sum(4 * (last + 1) + end <= room for last, end in enumerate(itertools.accumulate(map(len, records))))
        taken = self.writer.put(records)
        self.put_count -= len(records) - taken
        assert taken == fitting
        if taken:
            self.frames.append(records[:taken])
        assert self.frames or not records, "an empty ring takes at least one record of the largest size"

    @rule(size=st.integers(0, 2008))
    def put_frame(self, size):
        payload = (b"%d:" % self.put_count).ljust(size, b",")[:2008]
        room = self.writer.room_bytes()
        assert self.writer.put_frame(payload) == (len(payload) <= room)
        if len(payload) <= room:
            self.frames.append([payload])
            self.put_count += 1

    @rule(records_max=st.integers(0, 60))
    def take(self, records_max):
        taken = self.reader.take(records_max)
        expected = []
        while self.frames and len(expected) < records_max:
            expected += self.frames.popleft()
        assert taken == expected
        self.taken_count += len(taken)

    @rule(records_max=st.integers(1, 60))
    def take_and_die_before_publishing(self, records_max):
        head = self.segment.words[layout.HEAD]
        taken = self.reader.take(records_max)
        self.segment.words[layout.HEAD] = head
        assert taken == list(itertools.chain.from_iterable(self.frames))[: len(taken)]
        self.reader = Ring.attach(self.segment)
        self.take(records_max)

    @rule(size=st.integers(0, 2008), junk=st.binary(min_size=1, max_size=64))
    def put_and_die_before_publishing(self, size, junk):
        tail = self.segment.words[layout.TAIL]
        if self.writer.put_frame(junk * (size // len(junk))):
            self.segment.words[layout.TAIL] = tail
        self.writer = Ring.attach(self.segment)

    @rule(junk=st.binary(min_size=1, max_size=4096))
    def scribble_into_free_bytes(self, junk):
        words = self.segment.words
        tail, free = words[layout.TAIL], 4096 - (words[layout.TAIL] - words[layout.HEAD])
        # The writer's own promise: the total before TAIL is kept, also where the bytes before it are free again.
        for place in range(tail, tail + min(free - 64, len(junk))):
            self.segment.memory[layout.DATA + place % 4096] = junk[place - tail]

    @rule()
    def abandon(self):
        dropped = sum(map(len, self.frames))
        assert self.reader.abandon() == dropped
        self.abandoned_count += dropped
        self.frames.clear()

    @rule()
    def replace_both(self):
        self.writer = Ring.attach(self.segment)
        self.reader = Ring.attach(self.segment)

    @invariant()
    def counts_agree(self):
        ring = self.reader
        assert (ring.records_put, ring.records_taken) == (self.put_count, self.taken_count)
        assert self.segment.words[layout.RECORDS_ABANDONED] == self.abandoned_count
        assert ring.has_frames() == bool(self.frames)
        assert (ring.fill() > 0) == bool(self.frames)


TestRingAndDeque = RingAndDeque.TestCase
TestRingAndDeque.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
