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
from swarmsync.store import details
from swarmsync.store.attempts import ATTEMPTS
from swarmsync.store.details import JobDetail

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ATTEMPTS: Final = f"SELECT fence, started_at, result FROM {ATTEMPTS} a WHERE job_id = $1"  # noqa: S608 constants


class Past(Struct, frozen=True):
    """Where a job's time went, and what was said when its last attempt was asked to stop."""

    parts: list[Part]
    stopped: str


async def read(connection: asyncpg.Connection, detail: JobDetail) -> Past:
    """Return the past of a job that was read with its reasons; while it has not ended, up to now."""
    job, attempts = detail.job, dict[int, Attempt]()
    events = await details.events(connection, job)
    if job["fence"]:
        ended = detail.every_assignment
        for row in await connection.fetch(_ATTEMPTS, job["id"]) if ended is None else ended:
            attempts[row["fence"]] = _attempt(row["started_at"], read_result(row["result"]))
        if job["assignment_state"] is not None and job["started_at"] is not None:
            attempts[job["fence"]] = _attempt(job["started_at"], {"spent": _decoded(job["prepared"])})
    last = [event for event in events if event["fence"] == job["fence"]]
    stops = [event["message"] for event in last if event["state"] == JobState.STOPPING]
    parts = ledger(
        micros(job["submitted_at"]),
        micros(detail.until),
        [Event(micros(row["at"]), row["state"], row["reason"], row["fence"]) for row in events],
        [LineReason(micros(row["since"]), row["reason"]) for row in detail.reasons],
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
