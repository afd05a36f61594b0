"""A job's past: its events, the reasons of its line and what its workers measured, as ledger and obituary need them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg
import msgspec
from msgspec import Struct

from swarmsync.model.ledger import Attempt, Event, LineReason, Part, ledger
from swarmsync.model.lifecycle import JobState
from swarmsync.model.result import read_result
from swarmsync.store.lists import Row

EVENTS_MAX: Final = 4_000
REASONS_MAX: Final = 4_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: Events are looked for in the partitions of the job's life and in one before: the row's `submitted_at` is of the API's
#: clock, and a clock may be set back.
_EVENTS: Final = """
SELECT at, state, reason, message, fence FROM job_events
WHERE job_id = $1 AND at >= $2::timestamptz - interval '1 day' ORDER BY seq LIMIT $3
"""
_REASONS: Final = """
(SELECT since, reason FROM line_reasons WHERE line = $1 AND since <= $2 ORDER BY since DESC LIMIT 1)
UNION ALL
(SELECT since, reason FROM line_reasons WHERE line = $1 AND since > $2 AND since < $3 ORDER BY since LIMIT $4)
"""
_ATTEMPTS: Final = "SELECT fence, started_at, result FROM assignments WHERE job_id = $1"


class Past(Struct, frozen=True):
    """Where a job's time went, and what was said when its last attempt was asked to stop."""

    parts: list[Part]
    stopped: str


async def read(connection: asyncpg.Connection, job: Row, known: Sequence[Row] | None = None) -> Past:
    """Return the past of a job that `lists.detail` has read; while it has not ended, up to now.

    `known` are its assignments that have ended, where all of them were read already.
    """
    now = job["finished_at"] or await connection.fetchval("SELECT clock_timestamp()")
    events = await connection.fetch(_EVENTS, job["id"], job["submitted_at"], EVENTS_MAX)
    reasons = await connection.fetch(_REASONS, job["line"], job["submitted_at"], now, REASONS_MAX)
    attempts: dict[int, Attempt] = {}
    if job["fence"]:
        for row in await connection.fetch(_ATTEMPTS, job["id"]) if known is None else known:
            attempts[row["fence"]] = _attempt(row["started_at"], read_result(row["result"]))
        if job["assignment_state"] is not None and job["started_at"] is not None:
            attempts[job["fence"]] = _attempt(job["started_at"], {"spent": _decoded(job["prepared"])})
    stops = [row["message"] for row in events if row["state"] == JobState.STOPPING and row["fence"] == job["fence"]]
    parts = ledger(
        micros(job["submitted_at"]),
        micros(now),
        [Event(micros(row["at"]), row["state"], row["reason"], row["fence"]) for row in events],
        [LineReason(micros(row["since"]), row["reason"]) for row in reasons],
        attempts,
    )
    return Past(parts, stops[-1] if stops else "")


def micros(moment: datetime) -> int:
    """Return microseconds since 1970, exactly."""
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def documents(parts: Sequence[Part]) -> list[dict[str, Any]]:
    """Return the parts as the API shows them."""
    return [{"phase": part.phase.value, "reason": part.reason, "seconds": part.micros / 1e6} for part in parts]


def _decoded(text: str | None) -> Mapping[str, Any]:
    found: Mapping[str, Any] = msgspec.json.decode(text) if text else {}
    return found


def _attempt(started_at: datetime | None, result: Mapping[str, Any]) -> Attempt:
    """`result` is what `settlements.result_of` wrote; older rows have no measurements."""
    spent, ran_ms = result.get("spent") or {}, result.get("ran_ms")
    return Attempt(
        None if started_at is None else micros(started_at),
        None if ran_ms is None else ran_ms * 1000,
        spent.get("pull_ms", 0) * 1000,
        (spent.get("create_ms", 0) + spent.get("start_ms", 0)) * 1000,
        spent.get("stop_ms", 0) * 1000,
        spent.get("collect_ms", 0) * 1000,
    )
