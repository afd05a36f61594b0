"""Schedules as people write them: decoding, checking, previews, jitter."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from swarmsync.errors import SpecError
from swarmsync.model.schedule import check_schedule, jitter_of, next_fires
from swarmsync.protocol.codec import convert_schedule, decode_stored_schedule, encode_json

NOON = datetime(2026, 5, 7, 12, tzinfo=UTC)


def schedule(**fields: Any) -> Any:
    return convert_schedule({"name": "n", "job": {"image": "alpine"}, "cron": "0 2 * * *", **fields})


def problems(**fields: Any) -> dict[str, str]:
    return {error.path: error.message for error in check_schedule(schedule(**fields))}


def preview(zone: str, cron: str, day: datetime, count: int = 5) -> list[str]:
    found = next_fires(schedule(cron=cron, timezone=zone), day, count, name_hash_source="n")
    return [f"{at.astimezone(ZoneInfo(zone)):%d %H:%M%z} {at:%d %H:%M}" for at in found]


def test_a_good_schedule_has_no_problems():
    assert problems(timezone="Europe/Berlin", jitter="5m", overlap="queue", misfire="all", misfire_window="15m") == {}


def test_what_is_stored_reads_the_same():
    spec = schedule(jitter="5m", start="2026-01-01T00:00:00Z")
    assert decode_stored_schedule(encode_json(spec)) == spec


@pytest.mark.parametrize(
    ("fields", "path", "words"),
    [
        ({"cron": None}, "$.cron", "or give at (a time) or delay"),
        ({"at": "2030-01-01T00:00:00Z"}, "$.at", "give cron or at, not both"),
        ({"cron": "0 25 * * *"}, "$.cron", "hour '25'"),
        ({"cron": "0 0 31 2 *"}, "$.cron", "names a day that no year has"),
        ({"timezone": "Europe/Berln"}, "$.timezone", "did you mean Europe/Berlin?"),
        ({"timezone": "berlin"}, "$.timezone", "did you mean Europe/Berlin?"),
        ({"timezone": "../etc/passwd"}, "$.timezone", "is not a time zone"),
        ({"timezone": ""}, "$.timezone", "is not a time zone"),
        ({"start": "2026-01-02T00:00:00Z", "end": "2026-01-01T00:00:00Z"}, "$.end", "before start"),
        ({"end": "2026-01-01T00:00:00"}, "$.end", "has no offset"),
        ({"jitter": "2d"}, "$.jitter", "one day at most"),
        ({"cron": None, "delay": "5m", "end": "2026-01-01T00:00:00Z"}, "$.end", "recurring"),
        ({"job": {"image": "alpine", "delay": "5m"}}, "$.job.delay", "the schedule says when"),
        ({"job": {"image": "alpine", "after": [{"job": "x"}]}}, "$.job.after", "wait for no others"),
        (
            {"job": {"image": "alpine", "concurrency": {"key": "k", "limit": 1, "on_limit": "reject"}}},
            "$.job.concurrency.on_limit",
            "a schedule's jobs queue",
        ),
        ({"job": {"image": "no good"}}, "$.job.image", "is not an image name"),
        ({"job": {"image": "alpine", "array": {"range": "0-200000"}}}, "$.job.array.range", "at most"),
    ],
)
def test_a_problem_has_its_path_and_a_remedy(fields: dict[str, Any], path: str, words: str):
    assert words in problems(**fields)[path]


@pytest.mark.parametrize(
    ("document", "path", "words"),
    [
        ({"crn": "x"}, "$.crn", "did you mean cron?"),
        ({"job": {"image": "a", "env": {}}}, "$.job.env", "did you mean environment?"),
        ({"overlap": "never"}, "$.overlap", "Invalid enum value 'never'; known are allow, queue, replace, skip"),
        ({"misfire_window": "soon"}, "$.misfire_window", "is not a duration"),
    ],
)
def test_what_cannot_be_decoded_names_the_place(document: dict[str, Any], path: str, words: str):
    with pytest.raises(SpecError) as caught:
        schedule(**document)
    (error,) = caught.value.errors
    assert error.path == path
    assert words in error.message


def test_start_and_end_count_themselves():
    spec = schedule(cron="0 * * * *", start="2026-05-07T14:00:00Z", end="2026-05-07T16:00:00Z")
    found = next_fires(spec, NOON, 9, name_hash_source="n")
    assert found == [NOON + timedelta(hours=hour) for hour in (2, 3, 4)]


def test_a_time_and_a_delay_run_once():
    at = schedule(cron=None, at="2026-05-07T14:00:00+02:00")
    assert next_fires(at, NOON - timedelta(seconds=1), 5, name_hash_source="n") == [NOON]
    assert next_fires(at, NOON, 5, name_hash_source="n") == []
    assert next_fires(schedule(cron=None, delay="90s"), NOON, 5, name_hash_source="n") == [NOON + timedelta(seconds=90)]


def test_preview_over_the_spring_of_berlin():
    assert preview("Europe/Berlin", "30 2 * * *", datetime(2026, 3, 27, 12, tzinfo=UTC)) == [
        "28 02:30+0100 28 01:30", "29 03:00+0200 29 01:00", "30 02:30+0200 30 00:30",
        "31 02:30+0200 31 00:30", "01 02:30+0200 01 00:30",
    ]  # fmt: skip


def test_preview_over_the_autumn_of_berlin():
    assert preview("Europe/Berlin", "30 2 * * *", datetime(2026, 10, 23, 12, tzinfo=UTC)) == [
        "24 02:30+0200 24 00:30", "25 02:30+0200 25 00:30", "26 02:30+0100 26 01:30",
        "27 02:30+0100 27 01:30", "28 02:30+0100 28 01:30",
    ]  # fmt: skip


def test_preview_over_both_days_of_lord_howe():
    assert preview("Australia/Lord_Howe", "15 2 * * *", datetime(2026, 10, 2, tzinfo=UTC)) == [
        "03 02:15+1030 02 15:45", "04 02:30+1100 03 15:30", "05 02:15+1100 04 15:15",
        "06 02:15+1100 05 15:15", "07 02:15+1100 06 15:15",
    ]  # fmt: skip
    assert preview("Australia/Lord_Howe", "45 1 * * *", datetime(2026, 4, 3, tzinfo=UTC)) == [
        "04 01:45+1100 03 14:45", "05 01:45+1100 04 14:45", "06 01:45+1030 05 15:15",
        "07 01:45+1030 06 15:15", "08 01:45+1030 07 15:15",
    ]  # fmt: skip


def test_an_hourly_rule_runs_in_both_hours_of_autumn_and_loses_none_in_spring():
    autumn = preview("Europe/Berlin", "0 * * * *", datetime(2026, 10, 24, 23, 30, tzinfo=UTC), 3)
    assert autumn == ["25 02:00+0200 25 00:00", "25 02:00+0100 25 01:00", "25 03:00+0100 25 02:00"]
    spring = preview("Europe/Berlin", "0 * * * *", datetime(2026, 3, 28, 23, 30, tzinfo=UTC), 3)
    assert spring == ["29 01:00+0100 29 00:00", "29 03:00+0200 29 01:00", "29 04:00+0200 29 02:00"]


def test_jitter_is_the_same_for_the_same_instant_and_spreads_over_its_range():
    spread = [jitter_of(7, NOON + timedelta(minutes=n), 60_000) for n in range(500)]
    assert spread == [jitter_of(7, NOON + timedelta(minutes=n), 60_000) for n in range(500)]
    assert timedelta() <= min(spread) < timedelta(seconds=3)
    assert timedelta(seconds=57) < max(spread) <= timedelta(seconds=60)
    assert jitter_of(7, NOON, 0) == timedelta()
