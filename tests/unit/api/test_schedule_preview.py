from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

from api.resources.schedules import merge_patch
from api.schedule_preview import clock_change_note
from swarmsync.model.cron import instants, read_rule


def notes(text, zone, after, count=3):
    rule, place = read_rule(text, "x"), ZoneInfo(zone)
    found = islice(instants(rule, place, datetime.fromisoformat(after).replace(tzinfo=UTC)), count)
    return [clock_change_note(rule, place, due) for due in found]


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("30 2 * * *", "02:30 does not exist on this day; moved to 03:00"),
        ("0 3 * * *", None),
        ("30 2,3 * * *", "02:30 does not exist on this day; moved to 03:00"),
        ("0 2,3 * * *", "02:00 does not exist on this day; merged into one fire at 03:00 itself"),
        (
            "0,1,2,3,4,5 2 * * *",
            "02:00, 02:01, 02:02, 02:03 and 2 more do not exist on this day; merged into one fire at 03:00",
        ),
        ("15 30 2 * * *", "02:30:15 does not exist on this day; moved to 03:00"),
        ("*/30 2,3 * * *", None),
    ],
)
def test_what_a_gap_does(text, note):
    assert notes(text, "Europe/Berlin", "2027-03-28T00:00", 1) == [note]


def test_only_the_day_of_the_change_has_a_note():
    assert notes("30 2 * * *", "Europe/Berlin", "2027-03-26T12:00")[::2] == [None, None]
    twice = "02:30 occurs twice on this day; it fires at the first only"
    assert notes("30 2 * * *", "Europe/Berlin", "2027-10-29T12:00") == [None, twice, None]
    assert notes("30 2 * * *", "UTC", "2027-03-26T12:00") == [None, None, None]


def test_a_merge_patch_removes_merges_and_replaces():
    target = {"a": {"b": 1, "c": [1, 2]}, "d": 1}
    assert merge_patch(target, {"a": {"c": [3], "b": None}, "e": {"f": None}}) == {"a": {"c": [3]}, "d": 1, "e": {}}
    assert target == {"a": {"b": 1, "c": [1, 2]}, "d": 1}
    assert merge_patch(target, {"d": {"x": 1}, "a": "plain"}) == {"a": "plain", "d": {"x": 1}}
