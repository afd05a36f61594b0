"""What crosses a process boundary comes back as it was, and damage is a DecodeError and nothing else."""

import contextlib
import typing
from functools import cache

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmsync.model.fields import Duration, Environment, Size, Words
from swarmsync.model.job import JobRef
from swarmsync.model.lifecycle import AssignmentState, EndReason
from swarmsync.model.resources import Need
from swarmsync.protocol import codec, messages, subjects
from swarmsync.protocol.messages import (
    Changed,
    Ended,
    Holding,
    JournalLine,
    Orders,
    Pulse,
    Receipt,
    Reports,
    RunJob,
    StopJob,
    WorkersChanged,
)

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
LISTS = {
    "decode_to_scheduler": messages.ToScheduler,
    "decode_to_dispatcher": messages.ToDispatcher,
    "decode_to_harvester": messages.ToHarvester,
    "decode_journal": JournalLine,
}
SINGLE = {
    "decode_orders": Orders,
    "decode_receipt": Receipt,
    "decode_from_worker": messages.FromWorker,
    "decode_to_worker": messages.ToWorker,
}
DECODERS = sorted({*LISTS, *SINGLE})

st.register_type_strategy(int, INT64)
st.register_type_strategy(str, st.text(max_size=20))
st.register_type_strategy(bytes, st.binary(max_size=40))


def kinds(union):
    return typing.get_args(union) or (union,)


@cache
def words(kind):
    """Any value of a message type, built from its annotations."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return st.builds(kind, **{name: _values(hint) for name, hint in hints.items()})


def _values(hint):
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _bounded(*arguments)
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return words(hint)
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(_values(arguments[0]), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*map(_values, arguments))
    if origin is dict:
        return st.dictionaries(_values(arguments[0]), _values(arguments[1]), max_size=2)
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    if arguments:
        return st.one_of(*map(_values, arguments))
    return st.from_type(hint)


def _bounded(hint, meta):
    if hint is int:
        return st.integers(meta.ge, meta.le)
    if hint is str:
        return st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
    return _values(hint)


@pytest.mark.parametrize(("decoder", "kind"), [(name, kind) for name, union in LISTS.items() for kind in kinds(union)])
@given(st.data())
def test_every_word_of_a_ring_comes_back(decoder, kind, data):
    batch = data.draw(st.lists(words(kind), max_size=2))
    assert getattr(codec, decoder)(codec.encode(batch)) == batch


@pytest.mark.parametrize(("decoder", "kind"), [(name, kind) for name, union in SINGLE.items() for kind in kinds(union)])
@given(st.data())
def test_every_word_on_nats_comes_back(decoder, kind, data):
    word = data.draw(words(kind))
    assert getattr(codec, decoder)(codec.encode(word)) == word


@pytest.mark.parametrize("kind", [Changed, WorkersChanged, list[JournalLine]])
def test_hints_have_decoders_of_their_own(kind):
    word = [JournalLine(1, "a", "info", "b")] if kind == list[JournalLine] else kind((5,) if kind is Changed else 5)
    assert codec.decoder_of(kind)(codec.encode(word)) == word


@pytest.mark.parametrize("decoder", DECODERS)
@given(data=st.binary(max_size=200))
def test_garbage_is_a_decode_error_and_nothing_else(decoder, data):
    with contextlib.suppress(codec.DecodeError):
        getattr(codec, decoder)(data)


SAMPLE = codec.encode(
    Reports(
        "s",
        7,
        (Ended(JobRef(1, 2), EndReason.EXIT_CODE, "exit code 1", 3), Ended(JobRef(4, 5), EndReason.SIGNAL, "é", 6)),
    )
)


@given(st.integers(0, len(SAMPLE) - 1), st.binary(min_size=1, max_size=4), st.booleans())
def test_a_damaged_message_is_a_decode_error_or_another_message(place, junk, cut):
    damaged = SAMPLE[:place] + junk + (b"" if cut else SAMPLE[place + len(junk) :])
    try:
        word = codec.decode_from_worker(damaged)
    except codec.DecodeError:
        return
    assert isinstance(word, kinds(messages.FromWorker))


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x91" * 100_000,
        b"\x95\xa7Receipt\x01\x02\x90" + b"\x91" * 100_000,
        b"\x97\xa7Receipt\x01\x02\x90\xc2\x90" + b"\x91" * 100_000 + b"\xc0",
        b"\x91\x95\xabJournalLine\x01\xa1a\xa2\xff\xfe\xa1a",
        b"\x95\xa4\xff\xfe\xfd\xfc",
        b"\xdd\xff\xff\xff\xff",
        b"\x85" * 10,
    ],
    ids=[
        "empty",
        "never used",
        "deep",
        "deep end",
        "deep extra field",
        "no UTF-8",
        "no UTF-8 tag",
        "huge array",
        "maps",
    ],
)
def test_known_ways_to_break_a_decoder(decoder, data):
    with pytest.raises(codec.DecodeError):
        getattr(codec, decoder)(data)


def test_a_decoder_takes_only_the_words_of_its_union():
    order = codec.encode(RunJob(JobRef(1, 1), 1, "x", 1))
    with pytest.raises(codec.DecodeError, match="RunJob"):
        codec.decode_from_worker(order)
    with pytest.raises(codec.DecodeError):
        codec.decode_to_scheduler(codec.encode([Receipt(1, 1)]))


def test_a_newer_sender_may_add_fields():
    frame = msgspec.msgpack.encode(["Receipt", 1, 2, [], True, [], "a field of tomorrow"])
    assert codec.decode_receipt(frame) == Receipt(1, 2, (), stale=True)


def test_an_older_sender_may_leave_out_the_last_fields():
    frame = msgspec.msgpack.encode(["Pulse", "s", 1, 2, 3])
    assert codec.decode_from_worker(frame) == Pulse("s", 1, 2, 3)


def test_refs_and_needs_travel_as_arrays():
    word = Holding(JobRef(1, 2), AssignmentState.RUNNING, Need(1, 2, 3, 4))
    assert msgspec.msgpack.decode(codec.encode(word)) == ["Holding", [1, 2], "running", [1, 2, 3, 4]]
    assert msgspec.msgpack.decode(codec.encode(StopJob(JobRef(1, 2)))) == ["StopJob", [1, 2], False, "CancelledByUser"]


@pytest.mark.parametrize(
    "document", [b"", b"{", b"\xff\xfe", b'{"image":"\xff"}', b"[" * 200_000, b'{"image":"a","x":1}']
)
def test_a_stored_spec_that_is_damaged_is_a_decode_error(document):
    with pytest.raises(codec.DecodeError):
        codec.decode_stored_spec(document)


def test_values_for_people_are_written_as_people_write_them():
    value = {"a": Duration(5_400_000), "b": Size(1 << 20), "c": Words(("x", "y z")), "d": Environment(A="1")}
    assert msgspec.json.decode(codec.encode_json(value)) == {
        "a": "1h30m",
        "b": "1MiB",
        "c": ["x", "y z"],
        "d": {"A": "1"},
    }


@pytest.mark.parametrize("name", ["w1", "a-b_C", "9", "x" * 63])
def test_a_workers_name_is_one_token_of_its_subjects(name):
    assert subjects.WORKER_NAME.fullmatch(name)
    assert subjects.worker_of(subjects.up(name, "pulse")) == name
    assert subjects.orders(name).split(".")[1] == name


@pytest.mark.parametrize("name", ["", "a.b", "*", ">", "a b", "-a", "_a", "x" * 64, "a\n"])
def test_what_would_reach_into_other_subjects_is_no_workers_name(name):
    assert not subjects.WORKER_NAME.fullmatch(name)
