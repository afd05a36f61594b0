"""What people do to schedules, and that they do it to their own only."""

from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import msgspec
import pytest
from schedule_desk import IDS, MINUTE, NOON, Calendar

from swarmsync import ids
from swarmsync.errors import Conflict, NotFound, SpecError
from swarmsync.protocol.codec import convert_schedule, decode_stored_schedule
from swarmsync.store import schedules
from swarmsync.store.schedules import HistoryCursor, ScheduleFilter

pytestmark = pytest.mark.integration


@pytest.fixture
async def calendar(desk) -> AsyncIterator[Calendar]:
    calendar = Calendar(desk)
    await calendar.alone()
    desk.me = await calendar.known(desk.me, f"u{desk.me.user_id:x}")
    yield calendar
    await calendar.clean()


def schedule(name: str = "nightly", **fields):
    return convert_schedule({"name": name, "job": {"image": "alpine"}, "cron": "0 2 * * *", **fields})


async def create(desk, **fields):
    return await schedules.create(desk.api, desk.me, IDS.next, schedule(**fields))


async def change(desk, schedule_id: int, **fields):
    return await schedules.update(
        desk.api, desk.me, schedule_id, lambda spec: msgspec.structs.replace(spec, **fields), IDS.next
    )


async def test_a_new_schedule_knows_its_next_fire(desk, calendar):
    row = await create(desk, timezone="Europe/Berlin")
    assert (row["name"], row["username"], row["paused"], row["active_jobs"]) == ("nightly", desk.me.username, False, 0)
    assert row["created_at"] < row["next_fire_at"] <= row["created_at"] + timedelta(days=1, hours=1)
    assert await schedules.one(desk.api, desk.me, row["id"]) == row
    assert await schedules.one(desk.api, desk.me, "nightly") == row
    assert decode_stored_schedule(row["document"]) == schedule(timezone="Europe/Berlin")


async def test_a_name_is_taken_once_per_person(desk, calendar):
    await create(desk)
    with pytest.raises(Conflict, match="there is a schedule 'nightly' already"):
        await create(desk)
    other = await calendar.known(desk.user(), f"v{IDS.next():x}")
    await schedules.create(desk.api, other, IDS.next, schedule())


@pytest.mark.parametrize(
    "fields",
    [{"cron": "61 * * * *"}, {"cron": None, "at": "2020-01-01T00:00:00Z"}, {"end": "2020-01-01T00:00:00Z"}],
)
async def test_what_would_never_fire_is_refused(desk, calendar, fields):
    with pytest.raises(SpecError):
        await create(desk, **fields)
    assert await schedules.list_page(desk.api, desk.me, ScheduleFilter(), 5) == []


async def test_pages_go_from_the_newest_to_the_oldest(desk, calendar):
    made = [(await create(desk, name=f"n{number}"))["id"] for number in range(5)]
    first = await schedules.list_page(desk.api, desk.me, ScheduleFilter(), 2)
    assert [row["id"] for row in first] == [made[4], made[3], made[2]]
    rest = await schedules.list_page(desk.api, desk.me, ScheduleFilter(), 5, cursor=made[3])
    assert [row["id"] for row in rest] == [made[2], made[1], made[0]]
    named = await schedules.list_page(desk.api, desk.me, ScheduleFilter(name="n3"), 5)
    assert [row["id"] for row in named] == [made[3]]
    assert len(await schedules.list_page(desk.api, desk.me, ScheduleFilter(name="n*", paused=False), 9)) == 5


async def test_a_change_of_the_time_moves_the_next_fire(desk, calendar):
    before = await create(desk)
    after = await change(desk, before["id"], cron="* * * * *")
    assert after["next_fire_at"] < before["next_fire_at"] or after["next_fire_at"] <= after["updated_at"] + MINUTE
    same = await change(desk, before["id"], overlap="allow")
    assert same["next_fire_at"] == after["next_fire_at"]


async def test_a_change_of_the_job_makes_a_spec_and_other_changes_do_not(desk, calendar):
    made = await create(desk)
    spec_id = "SELECT spec_id FROM schedules WHERE id = $1"
    first = await desk.owner.fetchval(spec_id, made["id"])
    await change(desk, made["id"], jitter=60_000)
    assert await desk.owner.fetchval(spec_id, made["id"]) == first
    await change(desk, made["id"], job=schedule(job={"image": "busybox"}).job)
    second = await desk.owner.fetchval(spec_id, made["id"])
    assert "busybox" in await desk.owner.fetchval("SELECT document FROM specs WHERE id = $1", second)


async def test_a_change_never_goes_behind_what_has_an_outcome(desk, calendar):
    schedule_id = await calendar.add()
    await calendar.turn(NOON + 5 * MINUTE)
    row = await change(desk, schedule_id, cron="*/2 * * * *")  # the real time is long before NOON
    assert row["next_fire_at"] == NOON + 6 * MINUTE


async def test_a_bad_change_is_refused_and_changes_nothing(desk, calendar):
    made = await create(desk)
    with pytest.raises(SpecError):
        await change(desk, made["id"], cron="nonsense")
    await create(desk, name="other")
    with pytest.raises(Conflict):
        await change(desk, made["id"], name="other")
    assert await schedules.one(desk.api, desk.me, made["id"]) == made


async def test_pause_and_resume_twice_are_once(desk, calendar):
    made = await create(desk)
    for _ in range(2):
        assert (await schedules.pause(desk.api, desk.me, made["id"]))["paused"]
    for _ in range(2):
        assert not (await schedules.resume(desk.api, desk.me, made["id"]))["paused"]


async def test_trigger_makes_a_job_now_and_leaves_the_next_fire(desk, calendar):
    made = await create(desk, job={"image": "alpine", "array": {"range": "0-1"}})
    job_id = await schedules.trigger(desk.api, desk.me, made["id"], IDS.next)
    row = await desk.row(job_id)
    assert (row["state"], row["schedule_id"], row["array_size"]) == ("queued", made["id"], 2)
    now = await schedules.one(desk.api, desk.me, made["id"])
    assert (now["next_fire_at"], now["last_outcome"], now["last_job_id"]) == (made["next_fire_at"], "triggered", job_id)
    assert now["active_jobs"] == 1
    (line, *rest) = await schedules.history(desk.api, desk.me, made["id"], 5)
    assert (line["outcome"], line["job_id"], rest) == ("triggered", job_id, [])


async def test_history_has_pages(desk, calendar):
    schedule_id = await calendar.add(misfire="none")
    await calendar.turn(NOON + 5 * MINUTE + timedelta(seconds=30))
    first = await schedules.history(desk.api, desk.me, schedule_id, 2)
    assert [line["due_at"] for line in first] == [NOON + minute * MINUTE for minute in (5, 4, 3)]
    cursor = HistoryCursor(first[1]["due_at"], first[1]["id"])
    rest = await schedules.history(desk.api, desk.me, schedule_id, 5, cursor)
    assert [line["due_at"] for line in rest] == [NOON + minute * MINUTE for minute in (3, 2, 1)]


async def test_delete_takes_the_history_and_leaves_the_jobs(desk, calendar):
    schedule_id = await calendar.add()
    await calendar.turn(NOON + MINUTE)
    await schedules.delete(desk.api, desk.me, schedule_id)
    assert await calendar.lines(schedule_id) == []
    assert await calendar.states(schedule_id) == ["queued"]
    with pytest.raises(NotFound, match=ids.encode(schedule_id)):
        await schedules.delete(desk.api, desk.me, schedule_id)


async def test_somebody_elses_schedule_does_not_exist(desk, calendar):
    made = await create(desk)
    await schedules.trigger(desk.api, desk.me, made["id"], IDS.next)
    other = await calendar.known(desk.user(), f"v{IDS.next():x}")
    assert await schedules.list_page(desk.api, other, ScheduleFilter(), 5) == []
    for call in (schedules.one, schedules.pause, schedules.resume, schedules.delete):
        with pytest.raises(NotFound):
            await call(desk.api, other, made["id"])
    with pytest.raises(NotFound):
        await schedules.trigger(desk.api, other, made["id"], IDS.next)
    with pytest.raises(NotFound):
        await schedules.history(desk.api, other, made["id"], 5)
    with pytest.raises(NotFound):
        await schedules.update(desk.api, other, made["id"], lambda spec: spec, IDS.next)
    operator = await calendar.known(desk.user("operator"), f"w{IDS.next():x}")
    assert (await schedules.one(desk.api, operator, made["id"]))["username"] == desk.me.username


async def test_an_operators_trigger_makes_a_job_of_the_schedules_owner(desk, calendar):
    made = await create(desk)
    operator = await calendar.known(desk.user("operator"), f"w{IDS.next():x}")
    job_id = await schedules.trigger(desk.api, operator, made["id"], IDS.next)
    assert (await desk.row(job_id))["user_id"] == desk.me.user_id


@pytest.mark.parametrize("table", ["schedules", "schedule_fires"])
async def test_rows_are_hidden_by_postgresql_itself(desk, calendar, table):
    made = await create(desk)
    await schedules.trigger(desk.api, desk.me, made["id"], IDS.next)
    other = desk.user()

    async def count(connection: asyncpg.Connection) -> int:
        return await connection.fetchval(f"SELECT count(*) FROM {table} WHERE user_id = $1", desk.me.user_id)

    assert await desk.api.run(count, **other.settings) == 0
    assert await desk.api.run(count, **desk.me.settings) == 1
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await desk.api.run(lambda c: c.execute(f"UPDATE {table} SET user_id = $1", other.user_id), **desk.me.settings)
