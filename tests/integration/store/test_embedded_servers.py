"""The servers that Core brings along: they keep their data, their passwords are private, and Core outlives them."""

import asyncio
import json
import stat
from contextlib import contextmanager
from urllib.parse import urlsplit

import asyncpg
import nats
import pytest
import redis

from swarmsync import embedded
from swarmsync.errors import ConfigError, Unavailable
from swarmsync.store.pool import Store

pytestmark = pytest.mark.integration


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_passwords_are_made_once_and_are_private(tmp_path):
    first = embedded.load_secrets(tmp_path)
    assert mode(tmp_path / "secrets.json") == 0o600
    assert embedded.load_secrets(tmp_path) == first
    assert len(set(first.values())) == len(first)
    assert all(len(value) >= 32 and value.isascii() and value.replace("_", "a").isalnum() for value in first.values())


def test_a_password_that_a_new_version_needs_is_added_and_the_others_stay(tmp_path):
    (tmp_path / "secrets.json").write_text(json.dumps({"redis": "old", "of_yesterday": "kept"}))
    known = embedded.load_secrets(tmp_path)
    assert (known["redis"], known["of_yesterday"]) == ("old", "kept")
    assert known["nats_engine"]
    assert mode(tmp_path / "secrets.json") == 0o600


async def test_a_second_start_on_the_same_directory_finds_everything_again(tmp_path):
    """And while PostgreSQL is away a store says so, and works again once it is back."""
    with embedded.running(tmp_path) as plans:
        urls = {name: plan.url for name, plan in plans.items()}
        store = await Store.open(urls["postgres"], size=1, application="tests", acquire_timeout_s=1)
        await store.execute("CREATE SCHEMA swarmsync")
        await store.execute("CREATE TABLE kept AS SELECT 42 AS value")
        session = redis.Redis.from_url(urls["valkey"])
        session.set("kept", "yes")
        session.close()
    with pytest.raises(Unavailable, match="PostgreSQL does not answer"):
        await store.fetchval("SELECT 1")
    with embedded.running(tmp_path) as plans:
        assert {name: plan.url for name, plan in plans.items()} == urls  # workers find NATS again
        assert await store.fetchval("SELECT value FROM kept") == 42
        session = redis.Redis.from_url(plans["valkey"].url)
        assert session.get("kept") == b"yes"
        session.close()
        await store.close()
    for name in ("nats/nats.conf", "valkey/valkey.conf"):
        assert mode(tmp_path / name) == 0o600
    assert mode(tmp_path / "postgres") == 0o700


async def test_nobody_gets_in_without_the_password(servers):
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(servers.database_url.replace(servers.secrets["swarmsync_owner"], "guessed"))
    with pytest.raises(redis.AuthenticationError):
        redis.Redis.from_url(servers.redis_url.replace(servers.secrets["redis"], "guessed")).ping()
    address = urlsplit(servers.nats_url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(b'CONNECT {"user":"engine","pass":"guessed","verbose":false}\r\nPING\r\n')
    assert b"Authorization Violation" in await asyncio.wait_for(reader.read(), 30)
    writer.close()
    await writer.wait_closed()


@contextmanager
def told_of_errors():
    errors: asyncio.Queue[Exception] = asyncio.Queue()

    async def error(problem):
        errors.put_nowait(problem)

    yield error, errors


@pytest.mark.parametrize(
    ("login", "subject"),
    [
        ("worker", "w.*.up.*"),
        ("worker", "core.changed"),
        ("api", "w.*.down.*"),
        ("api", "w.*.up.*"),
    ],
)
async def test_a_login_hears_only_what_its_work_needs(servers, login, subject):
    url = servers.nats_worker_url if login == "worker" else servers.nats_api_url
    with told_of_errors() as (error, errors):
        client = await nats.connect(url, error_cb=error, allow_reconnect=False)
        await client.subscribe(subject)
        assert "permissions violation" in str(await asyncio.wait_for(errors.get(), 30)).lower()
        await client.close()


@pytest.mark.parametrize(
    ("login", "subject"), [("worker", "w.x.down.orders"), ("worker", "core.changed"), ("api", "w.x.down.orders")]
)
async def test_a_login_says_only_what_its_work_needs(servers, login, subject):
    url = servers.nats_worker_url if login == "worker" else servers.nats_api_url
    with told_of_errors() as (error, errors):
        client = await nats.connect(url, error_cb=error, allow_reconnect=False)
        await client.publish(subject, b"forged")
        assert "permissions violation" in str(await asyncio.wait_for(errors.get(), 30)).lower()
        await client.close()


def test_a_server_that_does_not_come_up_shows_the_end_of_its_log(tmp_path):
    embedded.make_directories(tmp_path)
    plan = embedded.ServerPlan(
        "valkey", ("/bin/sh", "-c", "echo out of luck; exit 7"), tmp_path / "logs" / "x.log", "", 15, lambda: False
    )
    process = embedded.start(plan)
    with pytest.raises(ConfigError, match=r"embedded valkey did not start \(exit code 7\):\nout of luck"):
        embedded.wait_ready(plan, process)
