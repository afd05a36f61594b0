"""Due instants become lines and jobs, each exactly once, whatever the policies, the clock and the load."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from schedule_desk import MINUTE, NOON, Calendar

pytestmark = pytest.mark.integration

LATER = NOON + 10 * MINUTE + timedelta(seconds=30)


@pytest.fixture
async def calendar(desk) -> AsyncIterator[Calendar]:
    calendar = Calendar(desk)
    await calendar.alone()
    desk.me = await calendar.known(desk.me, f"u{desk.me.user_id:x}")
    yield calendar
    await calendar.clean()


def minutes(*outcomes: str) -> list[tuple[float, str]]:
    return [(float(index), outcome) for index, outcome in enumerate(outcomes, 1)]


async def test_nothing_is_due_before_its_time(calendar):
    schedule = await calendar.add()
    assert (await calendar.turn(NOON + MINUTE - timedelta(milliseconds=1))).schedules == 0
    assert await calendar.outcomes(schedule) == []


async def test_a_fire_is_a_line_a_job_with_its_event_and_the_next_instant(calendar, desk):
    schedule = await calendar.add(job={"image": "alpine", "name": "nightly", "labels": {"a": "b"}, "priority": 70})
    recorded = await calendar.turn(NOON + MINUTE)
    (job,) = await calendar.jobs(schedule)
    (line,) = await calendar.lines(schedule)
    assert (line["outcome"], line["job_id"], line["due_at"]) == ("fired", job["id"], NOON + MINUTE)
    assert (job["state"], job["name"], job["priority"], job["user_id"]) == ("queued", "nightly", 70, desk.me.user_id)
    assert job["labels"] == '{"a": "b"}'
    assert await desk.events(job["id"]) == [("queued", 0)]
    row = await desk.owner.fetchrow("SELECT * FROM schedules WHERE id = $1", schedule)
    assert (row["last_due_at"], row["next_fire_at"]) == (NOON + MINUTE, NOON + 2 * MINUTE)
    assert job["spec_id"] == row["spec_id"]
    assert [waiting.job_id for waiting in recorded.waiting] == [job["id"]]


async def test_a_second_turn_at_the_same_time_does_nothing(calendar):
    schedule = await calendar.add()
    await calendar.turn(NOON + MINUTE)
    assert (await calendar.turn()).schedules == 0
    assert len(await calendar.jobs(schedule)) == 1


async def test_all_runs_every_instant_of_ten_minutes_in_order(calendar):
    schedule = await calendar.add(misfire="all", misfire_window="15m")
    recorded = await calendar.turn(LATER)
    assert await calendar.outcomes(schedule) == minutes(*["late"] * 10)
    lines, jobs = await calendar.lines(schedule), await calendar.jobs(schedule)
    assert [line["job_id"] for line in lines] == [job["id"] for job in jobs]
    assert [waiting.job_id for waiting in recorded.waiting] == [job["id"] for job in jobs]
    assert (await calendar.turn()).schedules == 0


async def test_last_runs_one_of_ten_and_misses_nine(calendar):
    schedule = await calendar.add(misfire="last")
    await calendar.turn(LATER)
    assert await calendar.outcomes(schedule) == minutes(*["missed"] * 9, "late")
    assert len(await calendar.jobs(schedule)) == 1


async def test_none_runs_nothing_late(calendar):
    schedule = await calendar.add(misfire="none")
    await calendar.turn(LATER)
    assert await calendar.outcomes(schedule) == minutes(*["missed"] * 10)


async def test_what_is_older_than_the_window_is_missed(calendar):
    schedule = await calendar.add(misfire="all", misfire_window="3m")
    await calendar.turn(LATER)
    assert await calendar.outcomes(schedule) == minutes(*["missed"] * 7, *["late"] * 3)


async def test_a_clock_that_steps_back_fires_nothing_twice(calendar):
    schedule = await calendar.add(overlap="allow")
    for at in (NOON + MINUTE, NOON, NOON + MINUTE, NOON + 2 * MINUTE, NOON + MINUTE, NOON + 2 * MINUTE):
        await calendar.turn(at)
    assert await calendar.outcomes(schedule) == minutes("fired", "fired")
    assert len(await calendar.jobs(schedule)) == 2


async def test_an_instant_that_has_its_line_gets_no_second_job(calendar, desk):
    schedule = await calendar.add(overlap="allow")
    await calendar.turn(NOON + MINUTE)
    await desk.owner.execute(
        "UPDATE schedules SET last_due_at = NULL, next_fire_at = $2 WHERE id = $1", schedule, NOON + MINUTE
    )
    await calendar.turn()
    assert await calendar.outcomes(schedule) == minutes("fired")
    assert len(await calendar.jobs(schedule)) == 1


async def test_overlap_skip_while_the_job_before_has_not_ended(calendar):
    schedule = await calendar.add(overlap="skip")
    for minute in (1, 2, 3):
        await calendar.turn(NOON + minute * MINUTE)
    (job,) = await calendar.jobs(schedule)
    await calendar.end(job["id"])
    await calendar.turn(NOON + 4 * MINUTE)
    assert await calendar.outcomes(schedule) == minutes("fired", "skipped", "skipped", "fired")
    assert (await calendar.lines(schedule))[1]["reason"] == "overlap"


async def test_overlap_allow_runs_beside_it(calendar):
    schedule = await calendar.add(overlap="allow")
    for minute in (1, 2, 3):
        await calendar.turn(NOON + minute * MINUTE)
    assert await calendar.outcomes(schedule) == minutes("fired", "fired", "fired")
    assert await calendar.states(schedule) == ["queued"] * 3


async def test_overlap_queue_lets_one_wait_and_no_more(calendar):
    schedule = await calendar.add(overlap="queue")
    for minute in (1, 2, 3):
        await calendar.turn(NOON + minute * MINUTE)
    assert await calendar.outcomes(schedule) == minutes("fired", "waiting", "skipped")
    assert (await calendar.start_waiting()).schedules == 0
    (job,) = await calendar.jobs(schedule)
    await calendar.end(job["id"])
    recorded = await calendar.start_waiting()
    assert await calendar.outcomes(schedule) == minutes("fired", "late", "skipped")
    jobs = await calendar.jobs(schedule)
    assert (
        [waiting.job_id for waiting in recorded.waiting]
        == [jobs[1]["id"]]
        == [(await calendar.lines(schedule))[1]["job_id"]]
    )
    assert (await calendar.start_waiting()).schedules == 0


async def test_overlap_replace_cancels_what_waits_and_stops_what_runs(calendar, desk):
    schedule = await calendar.add(overlap="replace")
    await calendar.turn(NOON + MINUTE)
    await calendar.turn(NOON + 2 * MINUTE)
    second = (await calendar.jobs(schedule))[1]["id"]
    await desk.dispatch(second)
    await calendar.turn(NOON + 3 * MINUTE)
    assert await calendar.outcomes(schedule) == minutes("fired", "fired", "fired")
    first, second, third = await calendar.jobs(schedule)
    assert [first["state"], second["state"], third["state"]] == ["cancelled", "stopping", "queued"]
    assert first["reason"] == second["stop_reason"] == "CancelledByPolicy"
    assert [state for state, _ in await desk.events(first["id"])] == ["queued", "cancelled"]
    assert [state for state, _ in await desk.events(second["id"])] == ["queued", "starting", "stopping"]


async def test_overlap_replace_brings_arrays_along(calendar, desk):
    schedule = await calendar.add(overlap="replace", job={"image": "alpine", "array": {"range": "0-2"}})
    recorded = await calendar.turn(NOON + MINUTE)
    assert len(recorded.waiting) == 3
    await calendar.turn(NOON + 2 * MINUTE)
    first, second = await calendar.jobs(schedule)
    assert (first["state"], second["state"]) == ("cancelled", "queued")
    query = "SELECT state, array_index FROM jobs WHERE array_id = $1 ORDER BY id"
    assert [tuple(row) for row in await desk.owner.fetch(query, first["id"])] == [("cancelled", i) for i in range(3)]
    members = await desk.owner.fetch("SELECT id FROM jobs WHERE array_id = $1 ORDER BY id", second["id"])
    await desk.dispatch(members[0]["id"])
    await calendar.turn(NOON + 3 * MINUTE)
    states = [tuple(row) for row in await desk.owner.fetch(query, second["id"])]
    assert states == [("stopping", 0), ("cancelled", 1), ("cancelled", 2)]


async def test_what_is_paused_is_skipped_and_goes_on_afterwards(calendar, desk):
    schedule = await calendar.add()
    await desk.owner.execute("UPDATE schedules SET paused = true WHERE id = $1", schedule)
    await calendar.turn(NOON + 2 * MINUTE)
    await desk.owner.execute("UPDATE schedules SET paused = false WHERE id = $1", schedule)
    await calendar.turn(NOON + 3 * MINUTE)
    assert await calendar.outcomes(schedule) == minutes("skipped", "skipped", "fired")
    assert (await calendar.lines(schedule))[0]["reason"] == "paused"


async def test_jitter_is_a_time_of_the_job_not_of_the_instant(calendar, desk):
    schedule = await calendar.add(jitter="10m", cron="0 * * * *")
    recorded = await calendar.turn(NOON + 60 * MINUTE)
    (job,), (line,) = await calendar.jobs(schedule), await calendar.lines(schedule)
    assert line["due_at"] == NOON + 60 * MINUTE
    assert NOON + 60 * MINUTE <= job["run_at"] <= NOON + 70 * MINUTE
    assert (job["state"], job["reason"], recorded.waiting) == ("scheduled", "StartTime", [])


async def test_a_single_run_is_over_when_it_has_run(calendar, desk):
    schedule = await calendar.add(cron=None, at="2031-05-07T12:05:00Z")
    await desk.owner.execute("UPDATE schedules SET next_fire_at = $2 WHERE id = $1", schedule, NOON + 5 * MINUTE)
    await calendar.turn(NOON + 5 * MINUTE)
    assert await calendar.outcomes(schedule) == [(5.0, "fired")]
    assert await desk.owner.fetchval("SELECT next_fire_at FROM schedules WHERE id = $1", schedule) is None


async def test_a_schedule_that_cannot_be_read_stops_alone(calendar, desk):
    broken, fine = await calendar.add(), await calendar.add()
    await desk.owner.execute("UPDATE schedules SET document = '{\"nme\": 1}' WHERE id = $1", broken)
    await calendar.turn(NOON + MINUTE)
    assert await calendar.outcomes(fine) == minutes("fired")
    (line,) = await calendar.lines(broken)
    assert (line["outcome"], line["reason"]) == ("missed", "broken")
    assert await desk.owner.fetchval("SELECT next_fire_at FROM schedules WHERE id = $1", broken) is None


async def test_a_year_away_is_told_in_a_few_lines(calendar):
    schedule = await calendar.add(misfire="last")
    turns = 0
    while (await calendar.turn(NOON + 20_000 * MINUTE)).more:
        turns += 1
    lines = await calendar.lines(schedule)
    assert len(lines) < 1_010
    assert turns < 10
    assert "stands for 4000 instants" in lines[0]["message"]
    assert [line["outcome"] for line in lines[-2:]] == ["missed", "fired"]


async def test_many_schedules_take_as_many_turns_as_they_need(calendar):
    made = [await calendar.add() for _ in range(7)]
    assert (await calendar.turn(NOON + MINUTE, limit=5)).more
    assert not (await calendar.turn(limit=5)).more
    for schedule in made:
        assert await calendar.outcomes(schedule) == minutes("fired")
