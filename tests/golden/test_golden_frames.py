"""The wire format must not drift: one frame of each word, as bytes and for people."""

from textwrap import wrap
from typing import Any, get_args

import msgspec
import pytest
from golden import HERE, settle
from msgspec import Struct
from samples import SAMPLES

from swarmsync.protocol import codec, messages

UNIONS = {
    codec.decode_to_scheduler: messages.ToScheduler,
    codec.decode_to_dispatcher: messages.ToDispatcher,
    codec.decode_to_harvester: messages.ToHarvester,
}
REPLIES = {codec.decode_from_worker: messages.FromWorker, codec.decode_to_worker: messages.ToWorker}


def picture(word: Struct) -> str:
    """The file of one word: its fields, then its bytes."""
    frame = codec.encode(word)
    fields = [f"  {name} = {getattr(word, name)!r}" for name in word.__struct_fields__]
    lines = [type(word).__name__, *fields, "", f"msgpack, {len(frame)} bytes:", *wrap(frame.hex(" "), 96)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def frame_in(text: str) -> bytes:
    return bytes.fromhex(text.partition("bytes:\n")[2])


@pytest.mark.parametrize("word", SAMPLES, ids=lambda word: type(word).__name__)
def test_the_frame_is_as_it_was(word: Struct):
    kept = settle(HERE / "frames" / f"{type(word).__name__}.txt", picture(word))
    assert picture(word) == kept
    decoded: Any = msgspec.msgpack.decode(frame_in(kept), type=type(word))
    assert decoded == word


@pytest.mark.parametrize("word", SAMPLES, ids=lambda word: type(word).__name__)
def test_no_field_of_a_sample_is_left_at_its_default(word: Struct):
    """A field at its default would not show a change of the default, or of its place."""
    left = [
        entry.name
        for entry in msgspec.structs.fields(type(word))
        if entry.default is not msgspec.NODEFAULT and getattr(word, entry.name) == entry.default
    ]
    assert left == []


@pytest.mark.parametrize("decode", UNIONS, ids=["inbox", "placements", "bounces"])
def test_a_ring_takes_its_own_words_and_no_others(decode):
    own = set(get_args(UNIONS[decode]))
    mine = [word for word in SAMPLES if type(word) in own]
    assert {type(word) for word in mine} == own
    assert decode(codec.encode(mine)) == mine
    for word in SAMPLES:
        if type(word) not in own:
            with pytest.raises(codec.DecodeError):
                decode(codec.encode([word]))


@pytest.mark.parametrize("decode", REPLIES, ids=["from worker", "to worker"])
def test_each_direction_of_the_wire_takes_its_own_words(decode):
    own = set(get_args(REPLIES[decode]))
    for word in SAMPLES:
        if type(word) in own:
            assert decode(codec.encode(word)) == word
        else:
            with pytest.raises(codec.DecodeError):
                decode(codec.encode(word))
