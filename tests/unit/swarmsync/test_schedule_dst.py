"""Clock changes: our instants against the brute-force oracle, for zones and rules that nobody chose by hand.

By default about 50 zones and 120 rules are compared in four years; SWARMSYNC_ALL_ZONES=1 compares all zones, 200 rules
and the years 2015 to 2035 (this takes some minutes).
"""

import os
import random
import zoneinfo
from datetime import UTC, datetime, timedelta
from itertools import takewhile

import pytest
from cron_oracle import Window, changes, expressions

from swarmsync.model.cron import instants, read_rule

ALL = "SWARMSYNC_ALL_ZONES" in os.environ
SEED = 20_151_035
RULES = expressions(200 if ALL else 120, SEED)
#: Half an hour, two hours, back and forth in a month, at midnight, a change of the standard time.
ODD = ("Australia/Lord_Howe", "Antarctica/Troll", "Africa/Casablanca", "America/Asuncion", "Asia/Pyongyang",
       "Europe/Berlin", "Europe/Dublin", "America/New_York", "Pacific/Chatham", "America/Santiago", "Asia/Beirut",
       "America/Scoresbysund")  # fmt: skip


def between(text: str, zone: zoneinfo.ZoneInfo, begin: datetime, end: datetime) -> list[datetime]:
    return list(takewhile(lambda at: at < end, instants(read_rule(text, "x"), zone, begin)))


def zones() -> list[str]:
    known = sorted(zoneinfo.available_timezones() - {"localtime", "Factory"})
    if ALL:
        return known
    return sorted({*ODD, *random.Random(SEED).sample(known, 40)} & set(known))


def years() -> list[tuple[int, int]]:
    return [(2015, 2035)] if ALL else [(2015, 2015), (2018, 2018), (2026, 2026), (2035, 2035)]


@pytest.mark.timeout(7_200 if ALL else 120)
def test_no_instant_deviates_from_the_written_rule(record_property):
    compared = wrong = 0
    first_wrong = None
    for name in zones():
        zone = zoneinfo.ZoneInfo(name)
        for first, last in years():
            for change in changes(zone, first, last):
                window = Window(zone, change)
                for rule in RULES:
                    ours = between(rule.text, zone, window.begin, window.end)
                    compared += 1
                    if ours != window.instants(rule):
                        wrong += 1
                        first_wrong = first_wrong or (name, change, rule.text, ours, window.instants(rule))
    record_property("comparisons", compared)
    print(f"{compared} comparisons of {len(zones())} zones and {len(RULES)} rules, {wrong} deviations")  # noqa: T201
    assert (wrong, first_wrong) == (0, None)
    assert compared > (1_000_000 if ALL else 10_000)


@pytest.mark.parametrize("text", ["*/20 30 2 * * *", "10,40 0-59 2 * * *", "*/7 */13 * * * *", "0 0 * * * *"])
@pytest.mark.parametrize("name", ["Europe/Berlin", "Australia/Lord_Howe"])
def test_seconds_follow_the_same_rule(name: str, text: str):
    zone = zoneinfo.ZoneInfo(name)
    second, minute, hour = text.split()[:3]
    for change in changes(zone, 2026, 2026):
        begin, seen, expected, gone = change - timedelta(hours=2), set(), set(), None
        for step in range(1, 4 * 3600):
            at = begin + timedelta(seconds=step)
            local = at.astimezone(zone).replace(tzinfo=None, fold=0)
            skipped = []
            while gone is not None and gone + timedelta(seconds=1) < local:
                gone += timedelta(seconds=1)
                skipped.append(gone)
            gone = local
            if "*" in minute + hour:
                if _named(local, second, minute, hour):
                    expected.add(at)
            elif any(_named(one, second, minute, hour) and one not in seen for one in [*skipped, local]):
                expected.add(at)
            seen.update([*skipped, local])
        assert between(text, zone, begin, begin + timedelta(hours=4)) == sorted(expected)


def _named(local: datetime, *columns: str) -> bool:
    for value, column in zip((local.second, local.minute, local.hour), columns, strict=True):
        if column == "*":
            continue
        if column.startswith("*/"):
            fits = value % int(column[2:]) == 0
        elif "-" in column:
            low, high = column.split("-")
            fits = int(low) <= value <= int(high)
        else:
            fits = str(value) in column.split(",")
        if not fits:
            return False
    return True


def test_a_long_look_ahead_passes_changes_on_its_way():
    """Sparse rules jump over clock changes instead of walking through them."""
    zone = zoneinfo.ZoneInfo("Europe/Berlin")
    found = instants(read_rule("*/30 2 25 10 *", "x"), zone, datetime(2025, 10, 26, tzinfo=UTC))
    shown = [f"{at.astimezone(zone):%Y-%m-%d %H:%M %Z}" for _, at in zip(range(5), found, strict=False)]
    assert shown == ["2026-10-25 02:00 CEST", "2026-10-25 02:30 CEST", "2026-10-25 02:00 CET", "2026-10-25 02:30 CET",
                     "2027-10-25 02:00 CEST"]  # fmt: skip
