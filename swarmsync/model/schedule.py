"""A schedule: a job's spec and when it runs, again and again or once. Pure; the words are in docs/schedules.md."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import blake2b
from itertools import islice, takewhile
from typing import Final, Literal
from zoneinfo import ZoneInfo

from msgspec import Struct

from swarmsync.errors import FieldError
from swarmsync.model import spec as jobs
from swarmsync.model.cron import CronError, Rule, instants, read_rule
from swarmsync.model.fields import Duration
from swarmsync.model.spec import JobSpec, Name

Overlap = Literal["allow", "skip", "queue", "replace"]
Misfire = Literal["none", "last", "all"]

JITTER_MAX_MS: Final = 86_400_000
_YEARS: Final = range(1970, 3000)
#: Any day from which each rule that matches at all does so within nine years.
_SOME_DAY: Final = datetime(2024, 1, 1)  # noqa: DTZ001 a local time


class Outcome(StrEnum):
    """What became of one due instant. `waiting` turns into `late` when the job in front of it has ended."""

    FIRED = "fired"
    LATE = "late"
    SKIPPED = "skipped"
    MISSED = "missed"
    WAITING = "waiting"
    TRIGGERED = "triggered"


class ScheduleSpec(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What users write. Exactly one of `cron`, `at` and `delay` says when."""

    name: Name
    job: JobSpec
    cron: str | None = None
    at: datetime | None = None
    delay: Duration | None = None  # counted from the schedule's creation
    timezone: str = "UTC"
    overlap: Overlap = "skip"
    misfire: Misfire = "last"
    misfire_window: Duration = Duration(3_600_000)
    jitter: Duration = Duration(0)
    start: datetime | None = None
    end: datetime | None = None

    @property
    def once(self) -> bool:
        return self.cron is None


def check_schedule(spec: ScheduleSpec, root: str = "$") -> list[FieldError]:
    """Return what is wrong with a decoded schedule, each with its path and the remedy; empty when it can run."""
    found = [FieldError(root + path, message) for path, message in _problems(spec)]
    return found + jobs.check(spec.job, root + ".job")


def _problems(spec: ScheduleSpec) -> Iterator[tuple[str, str]]:
    forms = [name for name in ("cron", "at", "delay") if getattr(spec, name) is not None]
    if not forms:
        yield ".cron", "says when the job runs, like 'H 2 * * *'; or give at (a time) or delay (a duration) for once"
    for name in forms[1:]:
        yield f".{name}", f"give {forms[0]} or {name}, not both"
    zone_known = _zone_or_none(spec.timezone) is not None
    if not zone_known:
        yield ".timezone", f"{spec.timezone[:60]!r} is not a time zone{_nearest_zone(spec.timezone)}"
    if spec.cron is not None:
        yield from _cron_problems(spec.cron, spec.name)
    for name in ("at", "start", "end"):
        moment = getattr(spec, name)
        if moment is not None and moment.tzinfo is None:
            yield f".{name}", "has no offset; write it like 2026-11-24T02:00:00+01:00"
        elif moment is not None and moment.year not in _YEARS:
            yield f".{name}", f"lies outside the years {_YEARS[0]} to {_YEARS[-1]}"
        elif moment is not None and name != "at" and spec.cron is None:
            yield f".{name}", "is for recurring schedules; a single run needs none"
    if spec.start and spec.end and spec.start.tzinfo and spec.end.tzinfo and spec.end < spec.start:
        yield ".end", "lies before start"
    if spec.jitter > JITTER_MAX_MS:
        yield ".jitter", "one day at most"
    for name in ("run_at", "delay"):
        if getattr(spec.job, name) is not None:
            yield f".job.{name}", "the schedule says when its jobs run; remove it"
    if spec.job.concurrency is not None and spec.job.concurrency.on_limit != "queue":
        yield ".job.concurrency.on_limit", "is for submissions; a schedule's jobs queue, and overlap says what else"
    if spec.job.after:
        yield ".job.after", "names jobs that end once; a schedule's jobs wait for no others: remove it"


def _cron_problems(text: str, name: str) -> Iterator[tuple[str, str]]:
    try:
        rule = read_rule(text, name)
    except CronError as error:
        yield ".cron", str(error)
        return
    if rule.next_local(_SOME_DAY) is None:
        yield ".cron", f"{text[:60]!r} names a day that no year has"


def _zone_or_none(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None


def _nearest_zone(name: str) -> str:
    import difflib  # noqa: PLC0415 slow to import, rarely needed
    import zoneinfo  # noqa: PLC0415 it is the module that knows them all

    by_lower = {known.lower(): known for known in zoneinfo.available_timezones()}
    wanted = name[:60].strip().lower().replace(" ", "_")
    cities = {lower.rpartition("/")[2]: lower for lower in sorted(by_lower)}
    close = difflib.get_close_matches(wanted, by_lower, n=1, cutoff=0.6)
    close = close or [cities[city] for city in difflib.get_close_matches(wanted, cities, n=1, cutoff=0.75)]
    return f"; did you mean {by_lower[close[0]]}?" if close else "; write an IANA name like Europe/Berlin"


def rule_of(spec: ScheduleSpec, name: str) -> Rule | None:
    return None if spec.cron is None else read_rule(spec.cron, name)


def fires(spec: ScheduleSpec, after: datetime, *, name_hash_source: str) -> Iterator[datetime]:
    """Yield the due instants after this one, in UTC and in order, without jitter; there may be no end.

    A schedule that runs once yields its time; one with a delay counts it from `after`.
    """
    if spec.cron is None:
        moment = spec.at.astimezone(UTC) if spec.at is not None else after + timedelta(milliseconds=spec.delay or 0)
        return iter([moment] if spec.at is None or moment > after else [])
    begin = after
    if spec.start is not None and spec.start > after:
        begin = spec.start - timedelta(microseconds=1)  # an instant at the start itself counts
    found = instants(read_rule(spec.cron, name_hash_source), ZoneInfo(spec.timezone), begin.astimezone(UTC))
    end = spec.end
    return found if end is None else takewhile(lambda moment: moment <= end, found)


def next_fires(spec: ScheduleSpec, after: datetime, count: int, *, name_hash_source: str) -> list[datetime]:
    """Return up to `count` due instants after this one; `name_hash_source` (the schedule's name) decides `H`."""
    return list(islice(fires(spec, after, name_hash_source=name_hash_source), count))


def jitter_of(schedule_id: int, due_at: datetime, jitter_ms: int) -> timedelta:
    """Return how much later than its instant a job starts: always the same for one instant, from 0 to `jitter_ms`."""
    if jitter_ms == 0:
        return timedelta()
    text = f"{schedule_id}:{due_at.astimezone(UTC).isoformat()}"
    number = int.from_bytes(blake2b(text.encode(), digest_size=8).digest())
    return timedelta(milliseconds=number % (jitter_ms + 1))


def seconds_text(late: timedelta) -> str:
    """Write how late something is, for people: `7 s`, `12 min`, `3.5 h`."""
    seconds = late.total_seconds()
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3600:.1f} h"
