"""Schedules, their history and their next fires as the JSON documents of the contract."""

from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from api.answers.system import FireDocument, NextFire, PreviewDocument, ScheduleDocument
from api.schedule_preview import clock_change_note
from swarmsync import ids
from swarmsync.clock import rfc3339
from swarmsync.model.schedule import ScheduleSpec, next_fires, rule_of
from swarmsync.protocol.codec import decode_stored_schedule, encode_json
from swarmsync.store.lists import Row

Document = dict[str, Any]
_RAN: Final = frozenset({"fired", "late", "triggered"})
_MILLISECOND: Final = timedelta(milliseconds=1)


def schedule(row: Row) -> ScheduleDocument:
    """One schedule: what its user wrote with the defaults filled in, and what the engine knows of it."""
    spec = decode_stored_schedule(row["document"])
    return {
        "id": ids.encode(row["id"]),
        "name": row["name"],
        "user": row["username"],
        "paused": row["paused"],
        "next_fire_at": rfc3339(row["next_fire_at"]),
        "next_fire_local": _local(row["next_fire_at"], ZoneInfo(spec.timezone)),
        "last_due_at": rfc3339(row["last_fire_due_at"]),
        "last_outcome": row["last_outcome"],
        "last_job_id": _job_id(row["last_job_id"]),
        "active_jobs": row["active_jobs"],
        "created_at": rfc3339(row["created_at"]),
        "updated_at": rfc3339(row["updated_at"]),
        "cron": spec.cron,
        "at": rfc3339(spec.at),
        "delay": spec.delay,
        "timezone": spec.timezone,
        "overlap": spec.overlap,
        "misfire": spec.misfire,
        "misfire_window": spec.misfire_window,
        "jitter": spec.jitter,
        "start": rfc3339(spec.start),
        "end": rfc3339(spec.end),
        "job": spec.job,
    }


def outcome(row: Row) -> FireDocument:
    """What became of one due instant. `lateness_ms` is how long after it the job was made."""
    ran = row["outcome"] in _RAN
    return {
        "due_at": rfc3339(row["due_at"]),
        "outcome": row["outcome"],
        "reason": row["reason"],
        "message": row["message"],
        "job_id": _job_id(row["job_id"]),
        "fired_at": rfc3339(row["at"]) if ran else None,
        "lateness_ms": max(0, (row["at"] - row["due_at"]) // _MILLISECOND) if ran else None,
    }


def preview(spec: ScheduleSpec, after: datetime, count: int) -> PreviewDocument:
    """The next instants of a checked schedule. With jitter a job starts up to `latest` in place of `at`."""
    zone = ZoneInfo(spec.timezone)
    rule = rule_of(spec, spec.name)
    items: list[NextFire] = [
        {
            "at": rfc3339(due),
            "local": _local(due, zone),
            "latest": rfc3339(due + timedelta(milliseconds=spec.jitter)) if spec.jitter else None,
            "note": clock_change_note(rule, zone, due) if rule is not None else None,
        }
        for due in next_fires(spec, after, count, name_hash_source=spec.name)
    ]
    return {"name": spec.name, "timezone": spec.timezone, "from": rfc3339(after), "items": items}


def written(spec: ScheduleSpec) -> Document:
    """The document as its user could have written it, without what is at its default."""
    document: Document = msgspec.json.decode(encode_json(spec))
    return document


def _local(moment: datetime | None, zone: ZoneInfo) -> str | None:
    return None if moment is None else moment.astimezone(zone).isoformat()


def _job_id(number: int | None) -> str | None:
    return None if number is None else ids.encode(number)
