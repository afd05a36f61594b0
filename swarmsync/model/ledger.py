"""The wait ledger: where the time of a job went, from its submission to its end or to now. Pure.

The job's time is cut at its events into stretches that touch each other, and each stretch is cut again by what is
known of it: the reasons of the line a job waited in, the durations that its worker measured. What is left over of a
stretch is given to one of its phases, so the parts always add up to the whole, whatever is missing or wrong.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final

from msgspec import Struct

from swarmsync.model.lifecycle import FINAL, PLACED, JobState, WaitReason

W = WaitReason


class Phase(StrEnum):
    """What a job does with its time, in the order in which a job comes by."""

    HELD = "held"
    SCHEDULED = "scheduled"
    BACKOFF = "backoff"
    DEPENDENCY = "dependency"
    EVALUATING = "evaluating"
    LIMITS = "limits"
    RESOURCES = "resources"
    PLACING = "placing"
    PULL = "pull"
    START = "start"
    RUN = "run"
    STOP = "stop"
    HARVEST = "harvest"


P = Phase
_LIMITS: Final = frozenset(
    {W.QUEUE_PAUSED, W.USER_QUOTA, W.QUEUE_LIMIT, W.CONCURRENCY_LIMIT, W.RATE_LIMIT, W.ARRAY_LIMIT}
)
_PLACED: Final = frozenset(state.value for state in PLACED)
_FINAL: Final = frozenset(state.value for state in FINAL)


class Event(Struct, frozen=True):
    """The job came into this state; times are microseconds of one clock."""

    at_us: int
    state: str
    reason: str = ""
    fence: int = 0


class LineReason(Struct, frozen=True):
    """From here on jobs of the line waited for this; an empty reason means for nothing in particular."""

    since_us: int
    reason: str


class Attempt(Struct, frozen=True):
    """What is known of one assignment beside the job's events; durations are the worker's own, in microseconds.

    `ran_us` is None where the container never started or its end is unknown.
    """

    started_us: int | None = None
    ran_us: int | None = None
    pull_us: int = 0
    start_us: int = 0
    stop_us: int = 0
    collect_us: int = 0


class Part(Struct, frozen=True):
    phase: Phase
    reason: str
    micros: int


def ledger(
    begin_us: int,
    end_us: int,
    events: Sequence[Event],
    line: Sequence[LineReason] = (),
    attempts: Mapping[int, Attempt] | None = None,
) -> list[Part]:
    """Return the parts in order of first appearance; they add up to `end_us - begin_us` exactly.

    `events` are in the order in which they were committed, `line` in the order of time.
    """
    book = _Book()
    known = attempts or {}
    marks = _ordered(begin_us, max(begin_us, end_us), events)
    index = 0
    while index < len(marks) - 1:
        event, start_us = marks[index].event, marks[index].at_us
        last = index + 1
        if event.state in _PLACED:
            while last < len(marks) - 1 and _same_attempt(marks[last].event, event):
                last += 1
            stop = next((mark.at_us for mark in marks[index:last] if mark.event.state == JobState.STOPPING), None)
            _attempt(book, start_us, marks[last].at_us, stop, known.get(event.fence, Attempt()), event)
        else:
            _wait(book, start_us, marks[last].at_us, event, line)
        index = last
    return book.parts()


class _Mark(Struct, frozen=True):
    at_us: int
    event: Event


class _Book:
    """Adds up what is said of one phase and reason."""

    def __init__(self) -> None:
        self._micros: dict[tuple[Phase, str], int] = {}

    def add(self, phase: Phase, reason: str, micros: int) -> None:
        assert micros >= 0, "a stretch of time ends before it begins"
        if micros:
            self._micros[phase, reason] = self._micros.get((phase, reason), 0) + micros

    def parts(self) -> list[Part]:
        return [Part(phase, reason, micros) for (phase, reason), micros in self._micros.items()]


def _ordered(begin_us: int, end_us: int, events: Sequence[Event]) -> list[_Mark]:
    """Return marks that never go back, the first at the beginning and the last at the end of the job's time."""
    marks: list[_Mark] = []
    at_us = begin_us
    for event in events:
        if event.state in _FINAL:
            break
        at_us = min(max(at_us, event.at_us), end_us) if marks else begin_us
        marks.append(_Mark(at_us, event))
    if not marks:
        marks.append(_Mark(begin_us, Event(begin_us, JobState.QUEUED)))
    marks.append(_Mark(end_us, Event(end_us, "")))
    return marks


def _same_attempt(event: Event, first: Event) -> bool:
    return event.state in _PLACED and event.fence == first.fence


def _wait(book: _Book, start_us: int, end_us: int, event: Event, line: Sequence[LineReason]) -> None:
    """A job that is not placed: what its state says, or its line's reasons while it is queued."""
    match event.state:
        case JobState.HELD:
            book.add(P.HELD, W.HELD, end_us - start_us)
        case JobState.SCHEDULED:
            again = event.reason == W.RETRY_BACKOFF
            book.add(P.BACKOFF if again else P.SCHEDULED, event.reason or W.START_TIME, end_us - start_us)
        case JobState.BLOCKED:
            book.add(P.DEPENDENCY, event.reason or W.DEPENDENCY, end_us - start_us)
        case _:
            for from_us, to_us, reason in _cut(start_us, end_us, line):
                book.add(phase_of(reason), reason or W.EVALUATING, to_us - from_us)


def phase_of(reason: str) -> Phase:
    """Return the phase in which a queued job with this reason is."""
    if reason in {"", W.EVALUATING}:
        return P.EVALUATING
    return P.LIMITS if reason in _LIMITS else P.RESOURCES


def _cut(start_us: int, end_us: int, line: Iterable[LineReason]) -> list[tuple[int, int, str]]:
    """Cut a stretch where its line's reason changed; before the first word of the line there is no reason."""
    pieces: list[tuple[int, int, str]] = []
    at_us, reason = start_us, ""
    for entry in line:
        if entry.since_us >= end_us:
            break
        if entry.since_us > at_us:
            pieces.append((at_us, entry.since_us, reason))
            at_us = entry.since_us
        reason = entry.reason
    pieces.append((at_us, end_us, reason))
    return pieces


def _attempt(book: _Book, start_us: int, end_us: int, stop_us: int | None, known: Attempt, first: Event) -> None:
    """One assignment. Before the start the left-over is `placing`, after the container's end it is `harvest`."""
    if first.state == JobState.RUNNING and not first.fence:  # an array's own row: its members run
        book.add(P.RUN, "", end_us - start_us)
        return
    if known.started_us is None and known.ran_us is None:
        down_us = end_us if stop_us is None else stop_us
        _prepare(book, start_us, down_us, known)
        book.add(P.STOP, "", end_us - down_us)
        return
    latest_us = end_us
    if known.ran_us is not None:  # the worker then collected the output: the container ended before that
        latest_us = end_us - known.ran_us - known.collect_us
    begun_us = _clamp(latest_us if known.started_us is None else min(known.started_us, latest_us), start_us, end_us)
    _prepare(book, start_us, begun_us, known)
    over_us = end_us if known.ran_us is None else _clamp(begun_us + known.ran_us, begun_us, end_us)
    down_us = over_us if stop_us is None else _clamp(stop_us, begun_us, over_us)
    down_us = min(down_us, max(begun_us, over_us - known.stop_us))
    book.add(P.RUN, "", down_us - begun_us)
    book.add(P.STOP, "", over_us - down_us)
    book.add(P.HARVEST, "", end_us - over_us)


def _prepare(book: _Book, start_us: int, end_us: int, known: Attempt) -> None:
    whole = end_us - start_us
    start = _clamp(known.start_us, 0, whole)
    pull = _clamp(known.pull_us, 0, whole - start)
    book.add(P.PLACING, "", whole - start - pull)
    book.add(P.PULL, "", pull)
    book.add(P.START, "", start)


def _clamp(value: int, low: int, high: int) -> int:
    return min(max(value, low), high)
