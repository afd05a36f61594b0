"""Numbers and texts from workers that no column of PostgreSQL holds are refused when they are decoded."""

from enum import StrEnum

import msgspec
import pytest

from swarmsync.model.job import JobRef
from swarmsync.model.lifecycle import EndReason
from swarmsync.model.resources import Need
from swarmsync.model.worker import WorkerOffer
from swarmsync.protocol import codec
from swarmsync.protocol.messages import (
    CheckOutput,
    Ended,
    Holding,
    Join,
    LogChunk,
    LogChunks,
    OutputSum,
    Pulse,
    Reports,
    Started,
    StreamSum,
)

REF = JobRef(7, 1)
HUGE = (1 << 64) - 1


def ended(**changes):
    return Reports("s", 1, (msgspec.structs.replace(Ended(REF, EndReason.EXIT_CODE, "exit code 1", 5, 1), **changes),))


def chunk(**changes):
    return LogChunks("s", (msgspec.structs.replace(LogChunk(REF, 1, 0, 5, b"x"), **changes),))


def join(**changes):
    return Join("s", msgspec.structs.replace(WorkerOffer("w1", Need()), **changes), ())


def texts_of(word):
    """Every text in a word, however deep."""
    if isinstance(word, str):
        return [] if isinstance(word, StrEnum) else [word]
    if isinstance(word, msgspec.Struct):
        return [text for name in word.__struct_fields__ for text in texts_of(getattr(word, name))]
    return [text for part in word for text in texts_of(part)] if isinstance(word, tuple) else []


def test_an_end_names_all_of_its_texts_that_no_pattern_looks_at():
    streams = {"stdout": StreamSum(2, 1, "a", "b"), "stderr": StreamSum(2, 1, "c", "d")}
    (end,) = ended(message="m", outputs=(OutputSum("o", 1, "p"),), **streams).reports
    assert sorted((*end.unchecked(), "o", "p")) == sorted(texts_of(end))


@pytest.mark.parametrize(
    "word",
    [
        CheckOutput("s", REF, 3, OutputSum("a\0")),
        ended(at_ms=HUGE),
        ended(at_ms=-1),
        ended(started_ms=1 << 50),
        ended(exit_code=1 << 31),
        ended(cpu_ms=HUGE),
        ended(memory_peak_bytes=-5),
        ended(message="a\0b"),
        ended(message="x" * 20_000),
        ended(ref=JobRef(HUGE, 1)),
        ended(ref=JobRef(1, -1)),
        ended(stdout=StreamSum(HUGE, 0, "")),
        ended(stdout=StreamSum(1, 1, "\0")),
        ended(stderr=StreamSum(2, 1, "a", "b\0")),
        ended(outputs=(OutputSum("a\0b"),)),
        ended(outputs=(OutputSum("ab"), OutputSum("a", 1, "\0"))),
        Reports("s", 1, (Started(REF, 5), ended(message="\0").reports[0])),
        Reports("s", HUGE, ()),
        Reports("s", 1, (Started(REF, HUGE),)),
        Reports("s", 1, (Started(REF, 5, "image\0"),)),
        Pulse("s", 1, HUGE, 1),
        Pulse("s", 1, 1, HUGE),
        Pulse("s", 1, 1, 1, (Holding(REF, "running", Need(HUGE)),)),
        chunk(stream=0),
        chunk(stream=19),
        chunk(offset=HUGE),
        chunk(at_ms=HUGE),
        join(capacity=Need(1 << 31)),
        join(capacity=Need(1, HUGE)),
        join(labels={str(number): "" for number in range(65)}),
        join(labels={"a": "b\0"}),
        join(version="v" * 300),
    ],
)
def test_beyond_the_columns(word):
    with pytest.raises(codec.DecodeError):
        codec.decode_from_worker(codec.encode(word))


@pytest.mark.parametrize(
    "word",
    [
        ended(),
        ended(exit_code=-1, at_ms=1 << 43),
        chunk(offset=1 << 62),
        join(),
        CheckOutput("s", REF, 3, OutputSum("a")),
    ],
)
def test_within(word):
    assert codec.decode_from_worker(codec.encode(word)) == word
