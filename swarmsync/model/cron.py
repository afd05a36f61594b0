"""Recurring rules: what a cron text means, and which instants it names. Pure; croniter reads the fields.

A rule matches a set of local times. How they become instants is one of two things (docs/schedules.md):

- a *wall* rule fires once for each matching local time: at its first occurrence; where it does not exist, at the first
  instant after the gap;
- an *elapsed* rule (a `*` or a step in minute or hour) fires at every instant whose local time matches.
"""

import calendar
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from msgspec import Struct

ALIASES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
YEAR_MAX: Final = 2999
_DAYS_MAX: Final = 366 * 9  # 29 February is up to 8 years away
_SECOND: Final = timedelta(seconds=1)
_DAY: Final = timedelta(days=1)
_MONTHS: Final = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_WEEKDAYS: Final = "sun|mon|tue|wed|thu|fri|sat"


class Field(Struct, frozen=True):
    """One column of a cron text; `high_hash` is how far `H` may go, so that it names a day of every month."""

    name: str
    low: int
    high: int
    high_hash: int
    value: str
    words: str
    special: str = ""


_NUMBER: Final = r"\d{1,2}"
SECOND: Final = Field("second", 0, 59, 59, _NUMBER, "0-59")
FIELDS: Final = (
    Field("minute", 0, 59, 59, _NUMBER, "0-59"),
    Field("hour", 0, 23, 23, _NUMBER, "0-23"),
    Field("day of month", 1, 31, 28, _NUMBER, "1-31 or L for the last", r"\?|L"),
    Field("month", 1, 12, 12, rf"{_NUMBER}|{_MONTHS}", "1-12 or jan-dec"),
    Field(
        "day of week", 0, 6, 6, rf"[0-7]|{_WEEKDAYS}", "0-7 or sun-sat, fri#3 or L5",
        rf"\?|(?:[0-7]|{_WEEKDAYS})#[1-5]|L[0-7]",
    ),
)  # fmt: skip
_HASH: Final = re.compile(r"H(?:\((\d{1,2})-(\d{1,2})\))?(?:/(\d{1,2}))?", re.IGNORECASE)


class Rule(Struct, frozen=True):
    """What a cron text matches: local times of day, and days."""

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int] | None  # None: all; 0 stands for the last day of a month
    months: frozenset[int] | None
    weekdays: frozenset[int] | None  # 0 is Sunday
    nth: tuple[tuple[int, frozenset[int]], ...]  # only the n-th such weekday of a month; 0 is the last
    elapsed: bool

    def matches(self, day: date) -> bool:
        """True where a day is named. Where both day fields say something, either will do."""
        if self.months is not None and day.month not in self.months:
            return False
        if self.days is None:
            return self._weekday_matches(day)
        last = 0 in self.days and day.day == calendar.monthrange(day.year, day.month)[1]
        by_day = day.day in self.days or last
        return by_day or (self.weekdays is not None and self._weekday_matches(day))

    def _weekday_matches(self, day: date) -> bool:
        if self.weekdays is None:
            return True
        weekday = day.isoweekday() % 7
        if weekday not in self.weekdays:
            return False
        which = dict(self.nth).get(weekday)
        if which is None:
            return True
        is_last = day.day + 7 > calendar.monthrange(day.year, day.month)[1]
        return (day.day + 6) // 7 in which or (0 in which and is_last)

    def next_local(self, after: datetime) -> datetime | None:
        """Return the first matching local time after this one, or None when none is in sight."""
        begin = after.replace(microsecond=0) + _SECOND
        day, first = begin.date(), self._from(begin.hour, begin.minute, begin.second)
        if first is not None and self.matches(day):
            return datetime(day.year, day.month, day.day, *first)  # noqa: DTZ001 local by design
        limit = day + timedelta(days=_DAYS_MAX)
        day += _DAY
        while day < limit and day.year <= YEAR_MAX:
            if self.months is not None and day.month not in self.months:
                day = (day.replace(day=28) + timedelta(days=4)).replace(day=1)
            elif self.matches(day):
                first = (self.hours[0], self.minutes[0], self.seconds[0])
                return datetime(day.year, day.month, day.day, *first)  # noqa: DTZ001 local by design
            else:
                day += _DAY
        return None

    def _from(self, hour: int, minute: int, second: int) -> tuple[int, int, int] | None:
        """Return the first time of day that is this one or later."""
        if hour in self.hours:
            if minute in self.minutes:
                index = bisect_left(self.seconds, second)
                if index < len(self.seconds):
                    return hour, minute, self.seconds[index]
            index = bisect_right(self.minutes, minute)
            if index < len(self.minutes):
                return hour, self.minutes[index], self.seconds[0]
        index = bisect_right(self.hours, hour)
        return (self.hours[index], self.minutes[0], self.seconds[0]) if index < len(self.hours) else None


class CronError(ValueError):
    """A cron text that cannot be read; the message names the field and what is allowed there."""


@lru_cache(maxsize=8192)
def read_rule(text: str, name: str) -> Rule:
    """Read a cron text; `H` in it becomes a number that depends on `name` only. Raises CronError."""
    from croniter import croniter  # noqa: PLC0415 slow to import, and only schedules need it

    written = text.strip()
    if written.startswith("@"):
        if written.lower() not in ALIASES:
            raise CronError(f"{written[:40]!r} is not known; write one of {', '.join(ALIASES)}, or five fields")
        written = ALIASES[written.lower()]
    columns = written.split()
    if len(columns) not in (5, 6):
        raise CronError(
            f"has {len(columns)} fields; write five (minute hour day-of-month month day-of-week), or six with the"
            " second in front"
        )
    fields = FIELDS if len(columns) == 5 else (SECOND, *FIELDS)
    plain = []
    for field, column in zip(fields, columns, strict=True):
        plain.append(_plain(field, column, name))
        alone = ["*"] * 5
        if field is not SECOND:
            alone[FIELDS.index(field)] = plain[-1]
        if not croniter.is_valid(" ".join([plain[-1] if field is SECOND else "0", *alone]), second_at_beginning=True):
            raise _wrong(field, column)
    expanded, nth = croniter.expand(" ".join(plain), second_at_beginning=True)
    minute, hour = columns[-5], columns[-4]
    return Rule(
        _numbers(expanded[5], SECOND) if len(expanded) == 6 else (0,),
        _numbers(expanded[0], FIELDS[0]),
        _numbers(expanded[1], FIELDS[1]),
        _days(expanded[2]),
        _days(expanded[3]),
        _days(expanded[4]),
        tuple([(day, frozenset(0 if n == "l" else int(n) for n in which)) for day, which in sorted(nth.items())]),
        elapsed=any(sign in minute + hour for sign in "*/"),
    )


def _numbers(expanded: list[int | str], field: Field) -> tuple[int, ...]:
    if "*" in expanded:
        return tuple(range(field.low, field.high + 1))
    return tuple(sorted(int(value) for value in expanded))


def _days(expanded: list[int | str]) -> frozenset[int] | None:
    return None if "*" in expanded else frozenset(0 if value == "l" else int(value) for value in expanded)


def _wrong(field: Field, column: str) -> CronError:
    allowed = f"{field.words}; *, lists 1,2, ranges 1-5, steps */5, H"
    return CronError(f"{field.name} {column[:40]!r} is not allowed; write {allowed}")


def _plain(field: Field, column: str, name: str) -> str:
    """Check a column against what we document (croniter reads more) and put numbers for `H`."""
    step = r"(?:/[1-9]\d?)?"
    single = rf"(?:\*{step}|(?:{field.value})(?:-(?:{field.value}))?{step})"
    pattern = rf"{single}|{field.special}" if field.special else single
    parts = []
    for part in column.split(","):
        hashed = _HASH.fullmatch(part)
        if hashed is not None:
            parts.append(_hashed(field, column, name, hashed))
        elif re.fullmatch(pattern, part, re.IGNORECASE):
            parts.append(part.lower())
        else:
            raise _wrong(field, column)
    return ",".join(parts)


def _hashed(field: Field, column: str, name: str, match: re.Match[str]) -> str:
    low, high = int(match[1] or field.low), int(match[2] or field.high_hash)
    step = int(match[3]) if match[3] is not None else None
    if not field.low <= low <= high <= field.high or step == 0 or (step or 1) > high - low + 1:
        raise _wrong(field, column)
    digest = blake2b(f"{field.name}\0{name}".encode(), digest_size=8).digest()
    start = low + int.from_bytes(digest) % (step or high - low + 1)
    return str(start) if step is None else f"{start}-{high}/{step}"


def instants(rule: Rule, zone: tzinfo, after: datetime) -> Iterator[datetime]:
    """Yield the rule's instants after this one, in UTC, in order, without end or until none is in sight."""
    return _elapsed(rule, zone, after) if rule.elapsed else _wall(rule, zone, after)


def _local(moment: datetime, zone: tzinfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def _wall(rule: Rule, zone: tzinfo, after: datetime) -> Iterator[datetime]:
    last = after
    local = rule.next_local(_local(after, zone))
    while local is not None:
        instant = first_instant(local, zone)
        if instant > last:
            yield instant
            last = instant
        local = rule.next_local(local)


def first_instant(local: datetime, zone: tzinfo) -> datetime:
    """Return the first instant at which the zone's clocks show `local`, or the first after the gap that has it."""
    instant = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if _local(instant, zone) == local:
        return instant
    before = local.replace(tzinfo=zone, fold=1).astimezone(UTC)
    return _change(zone, before, instant)


def _change(zone: tzinfo, before: datetime, after: datetime) -> datetime:
    """Return the first instant in (before, after] that has another offset than `before`, to the second."""
    offset = before.astimezone(zone).utcoffset()
    low, high = 0, int((after - before) / _SECOND)
    while high - low > 1:
        middle = (low + high) // 2
        same = (before + middle * _SECOND).astimezone(zone).utcoffset() == offset
        low, high = (middle, high) if same else (low, middle)
    return before + high * _SECOND


def _elapsed(rule: Rule, zone: tzinfo, after: datetime) -> Iterator[datetime]:
    last = after.replace(microsecond=0)
    local = _local(last, zone)
    while (found := rule.next_local(local)) is not None:
        offset = last.astimezone(zone).utcoffset() or timedelta()
        instant = found.replace(tzinfo=timezone(offset)).astimezone(UTC)
        change = _next_change(zone, last, instant, offset)
        if change is not None:  # go on from where the clocks were set: that second itself may match
            local, last = _local(change, zone) - _SECOND, change
        else:
            yield instant
            local, last = found, instant


def _next_change(zone: tzinfo, begin: datetime, end: datetime, offset: timedelta) -> datetime | None:
    """Return the first instant in (begin, end] with another offset. Two changes are never less than a day apart."""
    low = begin
    while low < end:
        high = min(low + _DAY, end)
        if high.astimezone(zone).utcoffset() != offset:
            return _change(zone, low, high)
        low = high
    return None
