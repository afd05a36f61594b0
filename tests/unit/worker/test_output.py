"""Output on its way: what counts, what is kept, and that every kept byte arrives once whatever the network does."""

import asyncio
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmsync.errors import Unavailable
from swarmsync.model.job import JobRef
from swarmsync.model.lifecycle import EndReason
from swarmsync.protocol import codec
from swarmsync.protocol.messages import AskLogEnds, Ended, LogsAck, ReportsAck, StreamSum
from worker import output
from worker.output import AHEAD_MAX, MESSAGE_MAX, PIECE_MAX, OutputSender, Stream

REF, OTHER = JobRef(7, 2), JobRef(8, 1)


# ------------------------------------------------ one stream's books


@given(st.lists(st.binary(max_size=9), max_size=12), st.integers(0, 40), st.integers(0, 60))
def test_the_books_of_a_stream(pieces, limit, stored):
    """Hash and size are over everything; what is sent is the kept part that is not stored yet, each byte once."""
    stream, sent, whole = Stream(REF, 1, stored), {}, b"".join(pieces)
    for piece in pieces:
        offset, fresh = stream.add(piece, limit - stream.kept)
        sent |= {offset + place: byte for place, byte in enumerate(fresh)}
    kept = whole[:limit]
    cut = sha256(kept).hexdigest() if len(kept) < len(whole) else ""
    assert stream.sum == StreamSum(len(whole), len(kept), sha256(whole).hexdigest(), cut)
    assert sent == dict(enumerate(kept[stored:], stored))
    assert stream.sum.truncated == (len(whole) > limit)


def test_once_something_was_left_out_all_that_follows_is_too():
    stream = Stream(REF, 1, 0)
    assert stream.add(b"abcdef", 4) == (0, b"abcd")
    assert stream.add(b"gh", 100) == (4, b"")
    assert stream.sum == StreamSum(8, 4, sha256(b"abcdefgh").hexdigest(), sha256(b"abcd").hexdigest())


def test_an_adopted_stream_sends_only_what_core_lacks():
    stream = Stream(REF, 1, stored=5)
    assert stream.add(b"abc", 100) == (3, b"")
    assert stream.add(b"defg", 97) == (5, b"fg")


# ------------------------------------------------ the sender and its Logger


class Logger:
    """A bus with a Logger behind it that keeps bytes as the real one does: no gaps, nothing twice."""

    def __init__(self):
        self.stored = {}  # (ref, stream) -> bytes
        self.asked, self.was_asked = [], asyncio.Event()
        self.faults = []  # per request: None, "lost question", "lost answer", "no answer" or bytes to answer with

    async def request(self, subject, payload, timeout_s):
        assert subject == "w.w1.up.logs"
        word = codec.decode_from_worker(payload)
        self.asked.append(word)
        self.was_asked.set()
        fault = self.faults.pop(0) if self.faults else None
        await asyncio.sleep(0)
        if fault == "lost question":
            raise Unavailable("no answer")
        if isinstance(word, AskLogEnds):
            ends = [(ref, stream, len(self.stored.get((ref, stream), b""))) for ref in word.refs for stream in (1, 2)]
        else:
            ends = self._store(word.chunks)
        if fault == "lost answer":
            raise Unavailable("no answer")
        return fault if isinstance(fault, bytes) else codec.encode(LogsAck(tuple(ends)))

    def _store(self, chunks):
        ends = {}
        for chunk in chunks:
            key = (chunk.ref, chunk.stream)
            have = self.stored.get(key, b"")
            if chunk.offset <= len(have):
                have += chunk.data[len(have) - chunk.offset :]
            self.stored[key] = have
            ends[key] = len(have)
        return [(*key, end) for key, end in ends.items()]

    def text(self, stream, ref=REF):
        return self.stored.get((ref, stream), b"")


@pytest.fixture
def no_pauses(monkeypatch):
    """The sender's pauses between two tries take no time."""
    real = asyncio.sleep
    monkeypatch.setattr(output.asyncio, "sleep", lambda _seconds: real(0))


@pytest.fixture
async def rig(no_pauses):
    logger = Logger()
    sender = OutputSender.create(logger, "w1", "s1")
    sending = asyncio.create_task(sender.run())
    yield logger, sender
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)


async def written(sender, pair, *pieces, limit=1 << 30):
    for stream, data in pieces:
        allowance = limit - sum(entry.kept for entry in pair)
        await sender.send(pair[stream - 1], data, 0, allowance)
    await sender.flush(pair)


FAULTS = [
    [], ["lost question"] * 3, ["lost answer"] * 3, ["lost answer", "lost question", "lost answer"],
    [b"garbage", b"", codec.encode(ReportsAck(1)), codec.encode(LogsAck(()))],
]  # fmt: skip


@pytest.mark.parametrize("faults", FAULTS, ids=["fine", "lost questions", "lost answers", "both", "odd answers"])
async def test_every_byte_arrives_once_and_in_order_whatever_gets_lost(rig, faults):
    logger, sender = rig
    logger.faults = list(faults)
    pair = await sender.open(REF, adopted=False)
    await written(sender, pair, (1, b"one"), (2, b"two"), (1, b"three"), (2, b"four" * 1000))
    assert (logger.text(1), logger.text(2)) == (b"onethree", b"two" + b"four" * 1000)
    assert [stream.stored for stream in pair] == [8, 4003]


@pytest.mark.parametrize("left", [b"", b"one"])
async def test_a_core_that_has_less_than_it_had_stored_is_noticed_when_it_acknowledges(rig, left):
    logger, sender = rig
    pair = await sender.open(REF, adopted=False)
    await written(sender, pair, (1, b"onetwo"))
    assert not sender.lost.is_set()
    logger.stored[REF, 1] = left
    await sender.send(pair[0], b"three", 0, 1 << 20)
    await asyncio.wait_for(sender.lost.wait(), 60)
    assert logger.text(1) == left


async def test_a_core_that_has_less_than_it_had_stored_is_noticed_when_it_is_asked(rig):
    logger, sender = rig
    pair = await sender.open(REF, adopted=False)
    await written(sender, pair, (1, b"onetwo"))
    await sender.compare([])
    assert not sender.lost.is_set()
    logger.stored[REF, 1] = b"one"
    await sender.compare([])
    assert sender.lost.is_set()


@pytest.mark.parametrize(("stored", "lost"), [(b"all of it", False), (b"a part", True)])
async def test_ends_that_wait_for_their_acknowledgement_count_too(rig, stored, lost):
    logger, sender = rig
    logger.stored[OTHER, 1] = stored
    logger.faults = ["lost question"]
    whole = StreamSum(len(b"all of it"), len(b"all of it"))
    await sender.compare([Ended(OTHER, EndReason.COMPLETED, "", 1, 0, stdout=whole)])
    assert sender.lost.is_set() == lost


async def test_two_assignments_do_not_disturb_each_other(rig):
    logger, sender = rig
    mine, theirs = await sender.open(REF, adopted=False), await sender.open(OTHER, adopted=False)
    logger.faults = ["lost answer"]
    await asyncio.gather(written(sender, mine, (1, b"mine")), written(sender, theirs, (1, b"theirs")))
    assert (logger.text(1), logger.text(1, OTHER)) == (b"mine", b"theirs")


async def test_a_logger_that_stored_only_a_part_gets_the_rest_again(rig):
    logger, sender = rig
    pair = await sender.open(REF, adopted=False)
    logger.faults = [codec.encode(LogsAck(((REF, 1, 2),)))]
    await written(sender, pair, (1, b"abcdef"))
    assert [chunk.data for word in logger.asked for chunk in word.chunks] == [b"abcdef", b"abcdef"]


async def test_what_is_sent_again_goes_before_what_came_meanwhile(rig):
    """Behind a gap the Logger stores nothing: out of order, each chunk would travel many times."""
    logger, sender = rig
    logger.faults = ["lost question"]
    pair = await sender.open(REF, adopted=False)
    await sender.send(pair[0], b"ab", 0, 100)
    await logger.was_asked.wait()
    await written(sender, pair, (1, b"cd"))
    assert [[chunk.offset for chunk in word.chunks] for word in logger.asked] == [[0], [0, 2]]


async def test_an_adopted_assignment_asks_until_it_knows_and_goes_on_from_there(rig):
    logger, sender = rig
    logger.stored = {(REF, 1): b"abc"}
    logger.faults = ["lost question", "lost answer", b"garbage"]
    pair = await sender.open(REF, adopted=True)
    await written(sender, pair, (1, b"abcde"), (2, b"x"))
    assert (logger.text(1), logger.text(2)) == (b"abcde", b"x")
    assert pair[0].sum == StreamSum(5, 5, sha256(b"abcde").hexdigest())
    assert b"".join(chunk.data for word in logger.asked[4:] for chunk in word.chunks if chunk.stream == 1) == b"de"


async def test_a_limit_counts_both_streams_together(rig):
    logger, sender = rig
    pair = await sender.open(REF, adopted=False)
    await written(sender, pair, (1, b"a" * 6), (2, b"b" * 6), (1, b"c"), limit=10)
    assert (logger.text(1), logger.text(2)) == (b"aaaaaa", b"bbbb")
    assert [stream.sum.size for stream in pair] == [7, 6]


async def test_a_large_piece_travels_in_bounded_chunks_and_messages(rig):
    logger, sender = rig
    pair = await sender.open(REF, adopted=False)
    data = b"x" * (3 * MESSAGE_MAX + 5)
    await written(sender, pair, (1, data), limit=3 * MESSAGE_MAX + 1)
    assert logger.text(1) == data[:-4]
    assert max(len(chunk.data) for word in logger.asked for chunk in word.chunks) <= PIECE_MAX
    assert max(sum(len(chunk.data) for chunk in word.chunks) for word in logger.asked) < MESSAGE_MAX + PIECE_MAX


async def test_a_stream_that_is_far_ahead_of_the_logger_waits(no_pauses):
    logger = Logger()
    sender = OutputSender.create(logger, "w1", "s1")
    (stream, _), data = await sender.open(REF, adopted=False), b"x" * (3 * AHEAD_MAX)
    writing = asyncio.create_task(sender.send(stream, data, 0, 1 << 30))
    for _ in range(50):
        await asyncio.sleep(0)
    assert not writing.done()
    assert stream.kept <= AHEAD_MAX + PIECE_MAX
    sending = asyncio.create_task(sender.run())
    await writing
    sending.cancel()
    assert stream.kept == len(data)


async def test_output_of_an_assignment_that_is_over_is_not_sent_again(rig):
    logger, sender = rig
    (stream, _) = await sender.open(REF, adopted=False)
    logger.faults = ["lost question"]
    await sender.send(stream, b"abc", 0, 100)
    sender.close(REF)
    pair = await sender.open(OTHER, adopted=False)
    await written(sender, pair, (1, b"other"))
    assert (logger.text(1), logger.text(1, OTHER)) == (b"", b"other")
    assert not sender.waiting
