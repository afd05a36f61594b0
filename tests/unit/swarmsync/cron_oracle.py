"""The written rule about clock changes, by brute force: walk every minute, write down what the clocks show, look.

Knows nothing of `swarmsync.model.cron`: it makes its own expressions, whose meaning it knows without reading them.
"""

import calendar
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from msgspec import Struct

MINUTE = timedelta(minutes=1)
REACH = timedelta(hours=5)


class Expression(Struct, frozen=True):
    """A cron text and the sets that it stands for; None is `*` in a day field."""

    text: str
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int] | None
    months: frozenset[int] | None
    weekdays: frozenset[int] | None  # Sunday is 0
    elapsed: bool

    def names(self, local: datetime) -> bool:
        if local.minute not in self.minutes or local.hour not in self.hours:
            return False
        if self.months is not None and local.month not in self.months:
            return False
        by_day = self.days is not None and local.day in self.days
        by_weekday = (
            self.weekdays is not None
            and (calendar.weekday(local.year, local.month, local.day) + 1) % 7 in self.weekdays
        )
        if self.days is not None and self.weekdays is not None:
            return by_day or by_weekday
        return by_day or by_weekday or (self.days is None and self.weekdays is None)


def _column(chance: random.Random, low: int, high: int, star: float) -> tuple[str, frozenset[int], bool]:
    """(text, numbers, whether it says `*` or has a step)."""
    everything = range(low, high + 1)
    if chance.random() < star:
        return "*", frozenset(everything), True
    kind = chance.choice(["one", "one", "list", "range", "step", "range step"])
    first, second = sorted(chance.sample(everything, 2))
    step = chance.randint(2, max(2, min(30, (high - low) // 2)))
    match kind:
        case "one":
            return str(first), frozenset({first}), False
        case "list":
            return f"{second},{first}", frozenset({first, second}), False
        case "range" if (first, second) != (low, high):
            return f"{first}-{second}", frozenset(range(first, second + 1)), False
        case "step":
            return f"*/{step}", frozenset(range(low, high + 1, step)), True
        case _:
            step = min(step, second - first) or 1
            return f"{first}-{second}/{step}", frozenset(range(first, second + 1, step)), True


def expressions(count: int, seed: int) -> list[Expression]:
    """Make rules most of which name some minute of most days: what a clock change can disturb."""
    chance = random.Random(seed)
    made = []
    for _ in range(count):
        minute, minutes, step_minute = _column(chance, 0, 59, 0.15)
        hour, hours, step_hour = _column(chance, 0, chance.choice([3, 4, 23]), 0.0)
        if chance.random() < 0.3:
            hour, hours, step_hour = "*", frozenset(range(24)), True
        elif hour.startswith("*/"):
            hours = frozenset(range(0, 24, int(hour[2:])))
        day, days, _ = _column(chance, 1, 31, 0.8)
        month, months, _ = _column(chance, 1, 12, 0.8)
        weekday, weekdays, _ = _column(chance, 0, 6, 0.7)
        made.append(
            Expression(
                f"{minute} {hour} {day} {month} {weekday}",
                minutes,
                hours,
                None if day == "*" else days,
                None if month == "*" else months,
                None if weekday == "*" else weekdays,
                step_minute or step_hour,
            )
        )
    return made


def changes(zone: ZoneInfo, first_year: int, last_year: int) -> Iterator[datetime]:
    """Yield each minute at which the clocks of a zone are set."""
    at, end = datetime(first_year, 1, 1, tzinfo=UTC), datetime(last_year + 1, 1, 1, tzinfo=UTC)
    offset = at.astimezone(zone).utcoffset()
    while at < end:
        later = at + timedelta(hours=12)
        if later.astimezone(zone).utcoffset() != offset:
            while at.astimezone(zone).utcoffset() == offset:
                at += MINUTE
            offset = at.astimezone(zone).utcoffset()
            yield at
        else:
            at = later


class Window:
    """The minutes around a change: which local times occur when, and which are left out."""

    def __init__(self, zone: ZoneInfo, change: datetime) -> None:
        self.begin, self.end = change - REACH, change + REACH
        self.shown: dict[datetime, list[datetime]] = {}
        self.left_out: dict[datetime, datetime] = {}  # local time -> the first instant after its gap
        at, before = self.begin, None
        while at < self.end:
            local = at.astimezone(zone).replace(tzinfo=None, fold=0)
            self.shown.setdefault(local, []).append(at)
            while before is not None and before + MINUTE < local:
                before += MINUTE
                self.left_out[before] = at
            at, before = at + MINUTE, local

    def instants(self, expression: Expression) -> list[datetime]:
        """Return what the written rule says of (begin, end)."""
        found = set()
        for local, when in self.shown.items():
            if expression.names(local):
                found.update(when if expression.elapsed else when[:1])
        if not expression.elapsed:
            found.update(when for local, when in self.left_out.items() if expression.names(local))
        return sorted(found - {self.begin})
