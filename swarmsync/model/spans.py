"""The trace of a job that has ended: spans made from the times that are stored of it. Pure.

Nobody measures for a trace while a job runs. Ids are hashes of the job's: spans that are sent twice are the same.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Final

from msgspec import Struct, field

_PARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
_SAMPLED: Final = 1
#: What a worker measures before the container runs, the last first.
_BEFORE: Final = ("start", "create", "pull")


class Parent(Struct, frozen=True):
    """The span of the caller (W3C Trace Context)."""

    trace_id: int
    span_id: int
    sampled: bool


class Attempt(Struct, frozen=True):
    """One assignment; times are microseconds since 1970, `spent` the worker's own milliseconds by step."""

    number: int
    worker: str
    outcome: str
    reason: str
    offered_us: int | None
    started_us: int | None
    ended_us: int
    ran_ms: int | None = None
    spent: Mapping[str, int] = field(default_factory=dict)


class Ended(Struct, frozen=True):
    """A job that has ended; `stored_us` is when its first event was."""

    job_id: str
    name: str
    user: str
    queue: str
    image: str
    state: str
    reason: str
    message: str
    exit_code: int | None
    submitted_us: int
    stored_us: int
    finished_us: int
    attempts: Sequence[Attempt]
    parent: Parent | None = None


class Span(Struct, frozen=True):
    trace_id: int
    span_id: int
    parent_id: int | None
    name: str
    began_us: int
    ended_us: int
    attributes: Mapping[str, str | int]
    error: str = ""  # what went wrong; empty where nothing did


def read_parent(text: str) -> Parent | None:
    """Read the header traceparent; None where it says nothing that counts."""
    found = _PARENT.fullmatch(text.strip())
    if found is None:
        return None
    return Parent(int(found[1], 16), int(found[2], 16), bool(int(found[3], 16) & _SAMPLED))


def spans(job: Ended, secret: str) -> list[Span]:
    """Return the job's span, its stretches' and its attempts'. `secret` keeps the traces of two Cores apart."""
    trace_id = job.parent.trace_id if job.parent is not None else _hashed(secret, job.job_id, 16)

    def span(
        name: str, began: int, ended: int, parent: int | None, attributes: Mapping[str, str | int], error: str = ""
    ) -> Span:
        key = f"{job.job_id} {name} {attributes.get('swarmsync.attempt', '')}"
        return Span(trace_id, _hashed(secret, key, 8), parent, name, began, max(began, ended), attributes, error)

    about: dict[str, str | int] = {
        "swarmsync.job.id": job.job_id,
        "swarmsync.job.name": job.name,
        "swarmsync.user": job.user,
        "swarmsync.queue": job.queue,
        "swarmsync.state": job.state,
        "swarmsync.reason": job.reason,
        "container.image.name": job.image,
    }
    if job.exit_code is not None:
        about["process.exit.code"] = job.exit_code
    error = "" if job.state == "succeeded" else job.message or job.reason
    whole = span("job", job.submitted_us, job.finished_us, job.parent.span_id if job.parent else None, about, error)
    made = [whole, span("submit", job.submitted_us, job.stored_us, whole.span_id, {})]
    free_us = job.stored_us
    for attempt in job.attempts:
        number: dict[str, str | int] = {"swarmsync.attempt": attempt.number}
        offered = attempt.ended_us if attempt.offered_us is None else attempt.offered_us
        made.append(span("queue", free_us, offered, whole.span_id, number))
        failed = "" if attempt.outcome == "succeeded" else attempt.reason
        told = {**number, "swarmsync.worker": attempt.worker, "swarmsync.reason": attempt.reason}
        outer = span("attempt", offered, attempt.ended_us, whole.span_id, told, failed)
        made.append(outer)
        made += [span(name, began, ended, outer.span_id, number) for name, began, ended in _steps(attempt, offered)]
        free_us = attempt.ended_us
    if not job.attempts:
        made.append(span("queue", free_us, job.finished_us, whole.span_id, {}))
    return made


def _steps(attempt: Attempt, offered_us: int) -> Iterator[tuple[str, int, int]]:
    """Yield what an attempt consists of; what lies between its order and its worker's first step is the dispatch."""
    if attempt.started_us is None:
        yield "dispatch", offered_us, attempt.ended_us
        return
    edge = attempt.started_us
    before = []
    for name in _BEFORE:
        began = max(offered_us, edge - attempt.spent.get(f"{name}_ms", 0) * 1_000)
        before.append((name, began, edge))
        edge = began
    yield "dispatch", offered_us, edge
    yield from reversed(before)
    ended = attempt.ended_us
    over = ended if attempt.ran_ms is None else min(ended, attempt.started_us + attempt.ran_ms * 1_000)
    yield "run", attempt.started_us, over
    collected = min(ended, over + attempt.spent.get("collect_ms", 0) * 1_000)
    yield "collect", over, collected
    yield "verdict", collected, ended


def _hashed(secret: str, text: str, size: int) -> int:
    return int.from_bytes(blake2b(text.encode(), key=secret.encode()[:64], digest_size=size).digest()) or 1
