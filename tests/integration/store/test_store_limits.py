"""Limits are counted from rows when a job starts: against a plain count in Python, and by two Dispatchers at once."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest

from swarmsync.model.limits import QueueLimits, UserLimits
from swarmsync.model.rules import Rules, read_rules
from swarmsync.store import jobs, limits

pytestmark = pytest.mark.integration

PLACED = ("starting", "running", "stopping")


@pytest.fixture
async def bounds(desk: Any) -> AsyncIterator[Any]:
    """Set limits of queues and of the desk's users; all are gone after the test."""

    async def set_limits(kind: str, name: Any, **columns: Any) -> None:
        table, key = {"queue": ("queues", "name"), "user": ("user_limits", "user_id")}[kind]
        if kind == "user":
            await desk.owner.execute(
                "INSERT INTO users (id, username) VALUES ($1, $2) ON CONFLICT DO NOTHING", name, f"desk-{name}"
            )
        await desk.owner.execute(f"INSERT INTO {table} ({key}) VALUES ($1) ON CONFLICT DO NOTHING", name)
        for column, value in columns.items():
            await desk.owner.execute(f"UPDATE {table} SET {column} = $2 WHERE {key} = $1", name, value)

    yield set_limits
    await desk.owner.execute("DELETE FROM queues WHERE name LIKE 'desk-%'")
    await desk.owner.execute("DELETE FROM user_limits WHERE user_id = ANY ($1::bigint[])", desk.users)
    await desk.owner.execute("DELETE FROM users WHERE id = ANY ($1::bigint[])", desk.users)
    await desk.owner.execute("DELETE FROM rate_starts")


async def over(desk: Any, job_ids: Sequence[int]) -> set[int]:
    """What may not start, with the jobs that have rules named as the Scheduler names them."""
    rules = {row["id"]: read_rules(row["rules"]) for row in await rows_of(desk)}
    limited = [job_id for job_id in job_ids if (rules[job_id] or Rules()).limited]
    return await desk.engine.run(lambda c: limits.over(c, list(job_ids), limited))


async def rows_of(desk: Any) -> list[Any]:
    query = "SELECT * FROM jobs WHERE user_id = ANY ($1::bigint[]) AND (array_size IS NULL OR array_id IS NOT NULL)"
    rows: list[Any] = await desk.owner.fetch(f"{query} ORDER BY id", desk.users)
    return rows


class Oracle:
    """A plain count of what is placed; a job that is looked at counts for those behind it, whatever becomes of it."""

    def __init__(self, rows: Sequence[Any], queues: Mapping[str, Any], users: Mapping[int, Any]) -> None:
        self.rows = {row["id"]: row for row in rows}
        self.queues, self.users = queues, users
        self.used: Counter[Any] = Counter()
        for row in rows:
            if row["state"] in PLACED:
                self.take(row)

    def take(self, row: Any) -> None:
        rules = read_rules(row["rules"]) or Rules()
        self.used["key", row["concurrency_key"]] += 1
        if rules.parallel is not None:
            self.used["array", row["array_id"]] += 1
        self.used["share", row["queue"], row["user_id"]] += 1
        for owner in (("queue", row["queue"]), ("user", row["user_id"])):
            self.used["jobs", owner] += 1
            self.used["cpus", owner] += row["cpus_milli"]
            self.used["memory", owner] += row["memory_bytes"]
            self.used["gpus", owner] += row["gpus"]

    def is_over(self, row: Any) -> bool:
        rules = read_rules(row["rules"]) or Rules()
        queue, user = self.queues.get(row["queue"], {}), self.users.get(row["user_id"], {})
        rate = rules.rate
        pairs = [
            (self.used["key", row["concurrency_key"]], rules.concurrency and rules.concurrency.limit),
            (self.used["array", row["array_id"]], rules.parallel),
            (self.used["rate", rate.key if rate else None], rate and rate.starts),
            (self.used["share", row["queue"], row["user_id"]], queue.get("max_running_per_user")),
        ]
        for owner, most in ((("queue", row["queue"]), queue), (("user", row["user_id"]), user)):
            pairs += [
                (self.used["jobs", owner], most.get("max_running")),
                (self.used["cpus", owner], most.get("max_cpus_milli")),
                (self.used["memory", owner], most.get("max_memory_bytes")),
                (self.used["gpus", owner], most.get("max_gpus")),
            ]
        return bool(queue.get("paused")) or any(limit is not None and count > limit for count, limit in pairs)

    def judge(self, job_ids: Sequence[int]) -> set[int]:
        found = set()
        for job_id in job_ids:
            row = self.rows[job_id]
            if row["state"] != "queued":
                continue
            rules = read_rules(row["rules"])
            if rules is not None and rules.rate is not None:
                self.used["rate", rules.rate.key] += 1
            self.take(row)
            if self.is_over(row):
                found.add(job_id)
        return found


def some_spec(chance: random.Random) -> dict[str, Any]:
    spec: dict[str, Any] = {"queue": chance.choice(["default", "desk-a", "desk-b"])}
    spec["resources"] = {"cpus": chance.choice([0.5, 1, 2]), "memory": "64MiB", "gpus": chance.choice([0, 0, 1])}
    if chance.random() < 0.4:
        spec["concurrency"] = {"key": chance.choice(["desk-x", "desk-y"]), "limit": chance.randint(1, 6)}
    if chance.random() < 0.3:
        spec["rate"] = {"key": "desk-r", "limit": f"{chance.randint(1, 5)}/1m"}
    if chance.random() < 0.2:
        spec["array"] = {"range": "0-5", "max_parallel": chance.randint(1, 4)}
    return spec


def some_limits(chance: random.Random, **names: int) -> dict[str, Any]:
    return {name: chance.randint(1, most) for name, most in names.items() if chance.random() < 0.5}


@pytest.mark.parametrize("seed", range(8))
async def test_what_may_not_start_is_what_a_plain_count_says(desk, bounds, seed):
    chance = random.Random(seed)
    users = [desk.me, desk.user(), desk.user()]
    for _ in range(30):
        await desk.submit(caller=chance.choice(users), **some_spec(chance))
    every = [row["id"] for row in await rows_of(desk)]
    await desk.dispatch(*chance.sample(every, 12))
    of_queue = {"max_running": 8, "max_running_per_user": 4, "max_cpus_milli": 9_000, "max_memory_bytes": 600 << 20}
    queues = {name: some_limits(chance, **of_queue) for name in ("desk-a", "desk-b")}
    queues["desk-b"]["paused"] = chance.random() < 0.3
    of_user = {"max_running": 9, "max_cpus_milli": 12_000, "max_memory_bytes": 900 << 20, "max_gpus": 4}
    quotas = {user.user_id: some_limits(chance, **of_user) for user in users[:2]}
    for name, columns in queues.items():
        await bounds("queue", name, **columns)
    for user_id, columns in quotas.items():
        await bounds("user", user_id, **columns)
    for number in range(chance.randint(0, 3)):
        query = "INSERT INTO rate_starts (key, job_id, fence, at) VALUES ('desk-r', $1, 1, now() - $2 * interval '1 s')"
        await desk.owner.execute(query, number, number * 40)
    oracle = Oracle(await rows_of(desk), queues, quotas)
    oracle.used["rate", "desk-r"] = await desk.owner.fetchval(
        "SELECT count(*) FROM rate_starts WHERE at > now() - interval '1 minute'"
    )
    batch = chance.sample(every, 40)
    assert await over(desk, batch) == oracle.judge(batch)


async def test_what_starts_oversteps_nothing_and_the_rest_may_start_later(desk, bounds, verdict):
    await bounds("queue", "desk-a", max_running=3)
    await bounds("user", desk.me.user_id, max_cpus_milli=4_000)
    waiting = await desk.submit(9, queue="desk-a")
    rounds = []
    while waiting:
        started = await desk.dispatch(*waiting)
        rounds.append(len(started))
        await jobs.settle(desk.engine, [verdict(ref) for ref in started])
        waiting = [job_id for job_id in waiting if job_id not in {ref.job_id for ref in started}]
    assert rounds == [3, 3, 3]


async def test_a_pause_is_in_force_once_it_is_committed(desk, bounds):
    (job_id,) = await desk.submit(queue="desk-a")
    await bounds("queue", "desk-a", paused=True)
    assert await desk.dispatch(job_id) == []
    await bounds("queue", "desk-a", paused=False)
    assert len(await desk.dispatch(job_id)) == 1


@pytest.mark.parametrize("limited_by", ["key", "array", "queue", "user"])
async def test_two_dispatchers_do_not_both_take_the_last_slot(desk, bounds, limited_by):
    spec = {
        "key": {"concurrency": {"key": "desk-z", "limit": 2}},
        "array": {"array": {"range": "0-11", "max_parallel": 2}},
        "queue": {"queue": "desk-a"},
        "user": {},
    }[limited_by]
    await bounds("queue", "desk-a", max_running=2)
    if limited_by == "user":
        await bounds("user", desk.me.user_id, max_running=2)
    await desk.submit(1 if limited_by == "array" else 12, **spec)
    job_ids = [row["id"] for row in await rows_of(desk)]
    limited = job_ids if limited_by in ("key", "array") else []

    async def one(part: Sequence[int], epoch: int) -> int:
        return len(await jobs.dispatch(desk.engine, [(job_id, 1, 1) for job_id in part], epoch, limited))

    won = await asyncio.gather(*(one(job_ids[start::4], start) for start in range(4)))
    assert sum(won) == 2


async def test_a_slot_ends_with_its_assignment_whatever_becomes_of_the_job(desk, verdict):
    key = {"concurrency": {"key": "desk-end", "limit": 1}}
    first, second = await desk.submit(2, **key)
    (ref,) = await desk.dispatch(first)
    assert await over(desk, [second]) == {second}
    await desk.cancel(first)
    assert await over(desk, [second]) == {second}, "its container may live until it is proven gone"
    await jobs.settle(desk.engine, [verdict(ref, "cancelled")])
    assert await over(desk, [second]) == set()
    await jobs.settle(desk.engine, [verdict(ref, "queued")])
    assert await over(desk, [second]) == set(), "late news of the first gives and takes nothing"


async def test_starts_are_forgotten_when_no_rate_can_count_them(desk, bounds):
    for job_id, hours in ((1, 0), (2, 23), (3, 25), (4, 400)):
        await desk.owner.execute(
            "INSERT INTO rate_starts (key, job_id, fence, at) VALUES ('desk-r', $1, 1, now() - $2 * interval '1 h')",
            job_id,
            hours,
        )
    await limits.sweep_rates(desk.engine)
    rows = await desk.owner.fetch("SELECT job_id FROM rate_starts WHERE key = 'desk-r' ORDER BY job_id")
    assert [row["job_id"] for row in rows] == [1, 2]


async def test_the_engine_reads_all_limits_as_they_are_told(desk, bounds):
    await bounds("queue", "desk-a", max_running=3, max_memory_bytes=1 << 30, placement="spread", paused=True)
    await bounds("user", desk.me.user_id, max_gpus=0, weight=5)
    found = await limits.load(desk.engine)
    assert QueueLimits("desk-a", True, 3, None, None, 1 << 30, "spread", 1) in found.queues
    assert UserLimits(desk.me.user_id, max_gpus=0, weight=5) in found.users
    assert "default" in [queue.name for queue in found.queues]
