"""Guessing passwords: how many tries reach the hash, whatever is tried against the count."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmsync.store import throttle
from swarmsync.store.sessions import open_redis
from swarmsync.store.throttle import FAILURES_MAX, Throttle, delay_s, kept

pytestmark = pytest.mark.integration
PASSWORD = "a password of its own"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
async def carl(ada, fresh_name):
    assert (await ada.post("/v1/users", {"username": fresh_name, "password": PASSWORD})).status == 201
    return fresh_name


@pytest.fixture
async def redis(servers):
    client = open_redis(servers.redis_url)
    yield client
    await client.aclose()


@pytest.fixture
def forget_delays(redis, carl):
    """Let the present delay of carl's account pass, and with `everything` what Redis knows of it at all."""

    async def forget(*, everything=False):
        name = sha256(carl.encode()).hexdigest()[:32]
        await redis.delete(f"swarmsync:throttle:{{{name}}}:delay")
        if everything:
            await redis.delete(f"swarmsync:throttle:{{{name}}}:failures")

    return forget


async def guess(api, username, password="wrong password"):
    return await api.post("/v1/auth/login", {"username": username, "password": password})


async def failures(engine, name):
    # the engine has no business with this table; the owner looks
    return await engine.fetchval(
        "SELECT failures FROM login_failures WHERE name_sha256 = $1", sha256(name.encode()).digest()
    )


@pytest.fixture
async def owner(servers):
    import asyncpg

    connection = await asyncpg.connect(servers.database_url, server_settings={"search_path": "swarmsync"})
    yield connection
    await connection.close()


@pytest.fixture
def hashes(anonymous, monkeypatch):
    """Count the passwords that reach the hash, without paying for it."""
    desk = anonymous.life_span.services().passwords
    seen = []

    async def verify(stored, password):
        seen.append(password)
        return password == PASSWORD and stored is not None, None

    monkeypatch.setattr(desk, "verify", verify)
    return seen


async def test_of_ten_thousand_guesses_from_a_hundred_addresses_a_handful_reach_the_hash(anonymous, carl, hashes):
    crowd = [anonymous.at(f"10.0.0.{number}") for number in range(100)]
    statuses = set()
    for start in range(0, 10_000, 50):
        group = [guess(crowd[number % 100], carl) for number in range(start, start + 50)]
        statuses |= {answer.status for answer in await asyncio.gather(*group)}
    assert statuses <= {401, 429}
    assert len(hashes) <= 20


async def test_who_waits_out_every_delay_has_a_hundred_tries_and_then_none(
    anonymous, carl, hashes, forget_delays, owner, ada
):
    for _ in range(FAILURES_MAX):
        assert (await guess(anonymous, carl)).status == 401
        await forget_delays()
    for password in ("wrong password", PASSWORD):
        refused = await guess(anonymous, carl, password)
        assert refused.status == 429
        assert int(refused.headers["retry-after"]) >= 1
    assert len(hashes) == FAILURES_MAX
    assert await failures(owner, carl) == FAILURES_MAX
    await forget_delays(everything=True)
    assert (await guess(anonymous, carl, PASSWORD)).status == 429
    assert (await ada.call("PATCH", f"/v1/users/{carl}", {"password": f"{PASSWORD}!"})).status == 200
    assert (await guess(anonymous, carl)).status == 401
    assert await failures(owner, carl) is None


async def test_emptying_redis_gives_nobody_fresh_tries(anonymous, carl, hashes, forget_delays, owner):
    for _ in range(25):
        assert (await guess(anonymous, carl)).status == 401
        await forget_delays()
    assert await failures(owner, carl) == 25
    await forget_delays(everything=True)
    refused = await guess(anonymous, carl)
    assert refused.status == 429
    assert int(refused.headers["retry-after"]) > 800
    assert len(hashes) == 25


async def test_a_success_begins_again_at_zero(anonymous, carl, hashes, forget_delays, owner):
    for _ in range(22):
        await guess(anonymous, carl)
        await forget_delays()
    assert (await guess(anonymous, carl, PASSWORD)).status == 200
    assert await failures(owner, carl) is None
    assert [(await guess(anonymous, carl)).status for _ in range(5)] == [401] * 5


async def test_names_that_nobody_has_are_slowed_down_alike(anonymous, carl, hashes):
    known = [(await guess(anonymous, carl)).status for _ in range(8)]
    unknown = [(await guess(anonymous, f"{carl}x")).status for _ in range(8)]
    assert known == unknown
    assert known[5:] == [401, 429, 429]


async def test_an_address_has_its_tries_and_gets_them_back_one_by_one(redis, anonymous, fresh_name):
    limit = Throttle(redis, anonymous.life_span.services().store)
    waits = [await limit.try_address("password", fresh_name, burst=3, interval_ms=60_000) for _ in range(5)]
    assert waits[:3] == [0, 0, 0]
    assert all(59_000 < wait <= 60_000 for wait in waits[3:])
    assert await limit.try_address("key", fresh_name, burst=3, interval_ms=60_000) == 0


async def test_an_address_that_tries_too_often_is_told_when_to_come_back(start_api, redis, carl):
    api = await start_api(tries_per_address=2)
    async for name in redis.scan_iter("swarmsync:tries:*"):
        await redis.delete(name)
    statuses = [(await guess(api, f"{carl}{number}")).status for number in range(3)]
    assert statuses == [401, 401, 429]


async def test_the_line_for_the_hash_is_bounded(anonymous, carl, monkeypatch):
    from api import access

    monkeypatch.setattr(access, "HASHES_WAITING_MAX", 2)
    open_, check = threading.Event(), access.users.verify_password

    def slow(stored, password):
        assert open_.wait(60)  # the first two are at it until the others were answered
        return check(stored, password)

    monkeypatch.setattr(access.users, "verify_password", slow)
    guesses = [asyncio.ensure_future(guess(anonymous, f"{carl}{number}")) for number in range(8)]
    left = set(guesses)
    while len(left) > 2:
        _, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
    open_.set()
    answers = await asyncio.gather(*guesses)
    refused = [answer for answer in answers if answer.status == 429]
    assert len(refused) == 6
    assert all("retry-after" in answer.headers for answer in refused)


@given(st.integers(0, 10_000))
def test_delays_double_and_have_an_end(count):
    assert delay_s(count) <= delay_s(count + 1) <= throttle.DELAY_MAX_S
    assert delay_s(5) == 0
    assert [delay_s(number) for number in range(6, 17)] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900]


def test_what_postgresql_keeps_is_over_after_a_day_but_not_at_the_stop():
    assert kept(20, NOW, NOW).wait_ms == 900_000
    assert kept(20, NOW, NOW + timedelta(seconds=899)).wait_ms == 1_000
    assert kept(20, NOW, NOW + timedelta(seconds=901)) == throttle.Kept(20, 0)
    assert kept(99, NOW, NOW + timedelta(days=2)) == throttle.Kept()
    assert kept(100, NOW, NOW + timedelta(days=2_000)).failures == 100
    assert kept(20, NOW, NOW - timedelta(days=1)).wait_ms == 900_000  # a clock that went back
