"""Decisions about due instants, without a database: every policy, alone and together, and the limits."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.hibernator.schedules import JOBS_MAX, LATE, LATE_RUNS_MAX, LINES_MAX, decide, take
from swarmsync.model.fire import DueSchedule, Turn
from swarmsync.protocol.codec import convert_schedule

MINUTE = timedelta(minutes=1)
NOON = datetime(2026, 5, 7, 12, tzinfo=UTC)


def due(*, paused: bool = False, active: bool = False, waiting: bool = False, **fields: Any) -> DueSchedule:
    document = {"name": "n", "job": {"image": "alpine"}, "cron": "* * * * *", **fields}
    return DueSchedule(1, 2, 3, convert_schedule(document), NOON, paused, active, waiting)


def outcomes(turn: Turn) -> str:
    """The first letters of the outcomes, oldest first."""
    return "".join(fire.outcome[0] for fire in turn.fires)


def runs(turn: Turn) -> int:
    return sum(1 for fire in turn.fires if fire.run_at is not None)


@pytest.mark.parametrize(("late", "letter"), [(timedelta(), "f"), (LATE, "f"), (LATE + timedelta(milliseconds=1), "l")])
def test_an_instant_is_late_after_five_seconds(late: timedelta, letter: str):
    assert outcomes(take(due(), NOON + late)) == letter


@pytest.mark.parametrize(("misfire", "expected"), [("none", "mmmmf"), ("last", "mmmmf"), ("all", "llllf")])
def test_misfire_with_an_instant_on_time_behind_the_late_ones(misfire: str, expected: str):
    assert outcomes(take(due(misfire=misfire, overlap="allow"), NOON + 4 * MINUTE)) == expected


@pytest.mark.parametrize(
    ("overlap", "active", "expected"),
    [
        ("allow", False, "lllf"), ("allow", True, "lllf"),
        ("skip", False, "llls"), ("skip", True, "ssss"),
        ("queue", False, "lllw"), ("queue", True, "wsss"),
        ("replace", False, "sssf"), ("replace", True, "sssf"),
    ],
)  # fmt: skip
def test_overlap_of_instants_of_one_turn(overlap: str, active: bool, expected: str):
    turn = take(due(misfire="all", overlap=overlap, active=active), NOON + 3 * MINUTE)
    assert outcomes(turn) == expected
    assert turn.replaces is (overlap == "replace" and active)


def test_queue_lets_nothing_wait_behind_what_waits():
    assert outcomes(take(due(overlap="queue", active=True, waiting=True), NOON)) == "s"


def test_only_the_newest_late_instants_run():
    turn = take(due(misfire="all", misfire_window="10h", overlap="allow"), NOON + 500 * MINUTE + LATE + MINUTE / 2)
    assert runs(turn) == LATE_RUNS_MAX
    assert turn.fires[-1].run_at is not None
    assert turn.fires[0].reason == "limit"


def test_a_turn_writes_a_bounded_number_of_lines():
    turn = take(due(paused=True), NOON + 3_000 * MINUTE)
    assert len(turn.fires) == LINES_MAX + 1
    assert "stands for 2001 instants, the last at" in turn.fires[0].message
    assert turn.next_fire_at == NOON + 3_001 * MINUTE


def test_a_year_is_worked_off_in_pieces():
    turn = take(due(), NOON + 500_000 * MINUTE)
    assert len(turn.fires) == 1
    assert turn.next_fire_at == turn.last_due_at + MINUTE


def test_a_zone_that_is_gone_stops_its_schedule_only():
    spec = due().spec
    lost = DueSchedule(1, 2, 3, type(spec)(name="n", job=spec.job, cron="@daily", timezone="Mars/Olympus"), NOON)
    first, second = decide([lost, due()], NOON)
    assert (first.next_fire_at, first.fires[0].reason) == (None, "broken")
    assert outcomes(second) == "f"


def test_large_arrays_run_fewer_late_instants():
    large = due(misfire="all", overlap="allow", job={"image": "alpine", "array": {"range": "0-9998"}})
    turn = take(large, NOON + 9 * MINUTE + LATE * 2)
    assert (runs(turn), outcomes(turn)) == (2, "mmmmmmmmll")


def test_jobs_of_one_transaction_are_bounded():
    large = due(job={"image": "alpine", "array": {"range": f"0-{JOBS_MAX - 1}"}})
    assert len(decide([large, large, large], NOON)) == 1
    assert len(decide([due()] * 100, NOON)) == 100


@given(
    minutes=st.integers(0, 150),
    seconds=st.integers(0, 59),
    overlap=st.sampled_from(["allow", "skip", "queue", "replace"]),
    misfire=st.sampled_from(["none", "last", "all"]),
    window=st.integers(0, 200),
    flags=st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_every_instant_has_one_line_in_order_and_the_next_is_ahead(minutes, seconds, overlap, misfire, window, flags):
    paused, active, waiting = flags
    fields = {"overlap": overlap, "misfire": misfire, "misfire_window": f"{window}m"}
    now = NOON + minutes * MINUTE + timedelta(seconds=seconds)
    turn = take(due(paused=paused, active=active, waiting=waiting, **fields), now)
    assert [fire.due_at for fire in turn.fires] == [NOON + n * MINUTE for n in range(minutes + 1)]
    assert turn.next_fire_at == NOON + (minutes + 1) * MINUTE > now
    assert turn.last_due_at == turn.fires[-1].due_at
    ran = [fire for fire in turn.fires if fire.run_at is not None]
    assert all(fire.outcome in ("fired", "late") for fire in ran)
    assert sum(fire.outcome == "waiting" for fire in turn.fires) <= (0 if waiting else 1)
    assert not (paused and ran)
    if overlap == "skip" and active:
        assert not ran
    if overlap == "replace":
        assert len(ran) <= 1
