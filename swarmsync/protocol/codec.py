"""Bytes to words and back: msgpack between processes, JSON towards people and in PostgreSQL.

A decoder is made once per union. Everything that comes from another process may be damaged or forged: `DecodeError` is
what a reader must be ready for; no message of a worker or a client ends a process.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from swarmsync.errors import FieldError, SpecError
from swarmsync.model.fields import dec_hook, enc_hook
from swarmsync.model.schedule import ScheduleSpec
from swarmsync.model.spec import JobSpec
from swarmsync.protocol.messages import (
    Ended,
    FromWorker,
    JournalLine,
    Orders,
    Receipt,
    Reports,
    ToDispatcher,
    ToHarvester,
    ToScheduler,
    ToWorker,
)

T = TypeVar("T")

DecodeError = msgspec.DecodeError  # msgspec.ValidationError is one too
encode: Final[Callable[[Any], bytes]] = msgspec.msgpack.Encoder().encode


def _tolerant(decode: Callable[[bytes], T]) -> Callable[[bytes], T]:
    """Make every complaint about bytes a DecodeError: msgspec lets two kinds out as errors of Python's own."""

    def guarded(data: bytes) -> T:
        try:
            return decode(data)
        except (UnicodeDecodeError, RecursionError) as problem:
            raise DecodeError(f"the bytes are malformed ({type(problem).__name__})") from None

    return guarded


def decoder_of(kind: type[T]) -> Callable[[bytes], T]:
    """Return a decoder of one word, for the hints that have a subject of their own."""
    return _tolerant(msgspec.msgpack.Decoder(kind).decode)


decode_to_scheduler: Final = _tolerant(msgspec.msgpack.Decoder(list[ToScheduler]).decode)
decode_to_dispatcher: Final = _tolerant(msgspec.msgpack.Decoder(list[ToDispatcher]).decode)
decode_to_harvester: Final = _tolerant(msgspec.msgpack.Decoder(list[ToHarvester]).decode)
decode_journal: Final = _tolerant(msgspec.msgpack.Decoder(list[JournalLine]).decode)
decode_orders: Final = _tolerant(msgspec.msgpack.Decoder(Orders).decode)
decode_receipt: Final = _tolerant(msgspec.msgpack.Decoder(Receipt).decode)
_decode_from_worker: Final[Callable[[bytes], FromWorker]] = _tolerant(msgspec.msgpack.Decoder(FromWorker).decode)
decode_to_worker: Final = _tolerant(msgspec.msgpack.Decoder(ToWorker).decode)


def decode_from_worker(data: bytes) -> FromWorker:
    """Read what a worker says. What PostgreSQL does not store is refused: of ends, a NUL in one of the texts here."""
    word = _decode_from_worker(data)
    if isinstance(word, Reports):
        for report in word.reports:
            if isinstance(report, Ended) and "\0" in "".join(report.unchecked()):
                raise DecodeError(f"a text with a NUL in it, in the end of {report.ref}")
    return word


_spec_decoder: Final = msgspec.json.Decoder(JobSpec, dec_hook=dec_hook)
_schedule_decoder: Final = msgspec.json.Decoder(ScheduleSpec, dec_hook=dec_hook)
_json_encoder: Final = msgspec.json.Encoder(enc_hook=enc_hook)


def encode_json(value: Any) -> bytes:
    return _json_encoder.encode(value)


def decode_stored_spec(document: bytes | str) -> JobSpec:
    """Read a spec that was checked before it was stored."""
    try:
        return _spec_decoder.decode(document)
    except (UnicodeDecodeError, RecursionError) as problem:
        raise DecodeError(f"the spec is malformed ({type(problem).__name__})") from None


def convert_spec(document: Any, root: str = "$") -> JobSpec:
    """Read a spec from plain JSON or YAML values. Raises SpecError that names the field and its neighbour."""
    try:
        return msgspec.convert(document, JobSpec, dec_hook=dec_hook, strict=True)
    except msgspec.ValidationError as error:
        raise SpecError([explain(str(error), root, kind=JobSpec)]) from None


def decode_stored_schedule(document: bytes | str) -> ScheduleSpec:
    """Read a schedule that was checked before it was stored."""
    return _schedule_decoder.decode(document)


def convert_schedule(document: Any, root: str = "$") -> ScheduleSpec:
    """Read a schedule from plain JSON or YAML values. Raises SpecError as `convert_spec` does."""
    try:
        return msgspec.convert(document, ScheduleSpec, dec_hook=dec_hook, strict=True)
    except msgspec.ValidationError as error:
        raise SpecError([explain(str(error), root, "schedule", ScheduleSpec)]) from None


def explain(message: str, root: str = "$", top: str = "", kind: Any = None) -> FieldError:
    """Turn msgspec's `... - at `$.a.b`` into a path and a sentence; an unknown key gets its nearest known neighbour.

    `kind` is the type of the whole document: with it a wrong word is answered with those that are known.
    """
    from swarmsync.protocol.neighbours import nearest_key, remedy  # noqa: PLC0415 difflib is slow to import, rarely needed

    text, _, place = message.partition(" - at `")
    place = place.removeprefix("key` in `")
    path = root + place.rstrip("`").removeprefix("$")
    prefix = "Object contains unknown field `"
    if text.startswith(prefix):
        unknown = text.removeprefix(prefix).rstrip("`")
        return FieldError(f"{path}.{unknown}", f"is not a known field{nearest_key(unknown, place.rstrip('`'), top)}")
    return FieldError(path, remedy(text, place.rstrip("`"), kind))
