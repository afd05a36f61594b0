"""Webhooks against a receiver on loopback: what is told, signed, tried again, refused, and what a crash repeats."""

import asyncio
import base64
import json
import time
from contextlib import asynccontextmanager

import asyncpg
import pytest
from aiohttp import web

from conf.settings import WebhookSettings
from engine.logger.webhook_sink import WebhookSink
from swarmsync import ids
from swarmsync.ids import IdSource
from swarmsync.model.webhooks import purpose, signature
from swarmsync.seal import Sealer, new_ring
from swarmsync.store.pool import ENGINE_PLANS, Store

pytestmark = pytest.mark.integration

IDS = IdSource(1_002, lambda: time.time_ns() // 1_000_000)
LOOPBACK = ["127.0.0.0/8", "::1/128"]
SECRET = bytes(range(32))


class Receiver:
    """An HTTP server whose answers the test chooses."""

    def __init__(self):
        self.requests = []
        self.answers = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.inside = self.most = 0

    async def take(self, request):
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.requests.append((request.path, dict(request.headers), await request.read()))
        await self.gate.wait()
        self.inside -= 1
        status, headers = self.answers.pop(0) if self.answers else (204, {})
        return web.Response(status=status, headers=headers)


class Desk:
    def __init__(self, store, owner, url):
        self.store, self.owner, self.url = store, owner, url
        self.sealer = Sealer.of(new_ring())
        self.user_id = IDS.next()
        self.said = []

    def sink(self, **settings):
        given = WebhookSettings(**{"allow_networks": LOOPBACK, "timeout_s": 30, **settings})
        return WebhookSink(self.store, self.sealer, given, lambda level, message, **_: self.said.append(message))

    async def hook(self, path="/hook", url="", states=("succeeded",), **columns):
        hook_id = IDS.next()
        sealed = self.sealer.seal(SECRET, purpose(hook_id))
        values = {"id": hook_id, "user_id": self.user_id, "url": url or self.url + path, "states": list(states)}
        values |= {"sealed": sealed, **columns}
        names = ", ".join(values)
        places = ", ".join(f"${n}" for n in range(1, len(values) + 1))
        await self.owner.execute(f"INSERT INTO webhooks ({names}) VALUES ({places})", *values.values())
        return hook_id

    async def event(self, state="succeeded", name="nightly", queue="default", labels="{}", user_id=None):
        job_id = IDS.next()
        async with self.owner.transaction():
            await self.owner.execute(
                "INSERT INTO jobs (id, user_id, queue, name, state, priority, spec_id, shape, cpus_milli, memory_bytes, labels)"
                " VALUES ($1, $2, $3, $4, 'held', 50, 1, 1, 1, 1, $5::text::jsonb)",
                job_id, user_id or self.user_id, queue, name, labels,
            )  # fmt: skip
            await self.owner.execute(
                "INSERT INTO job_events (job_id, user_id, state, reason, message, fence) VALUES ($1, $2, $3, 'Completed', 'm', 1)",
                job_id, user_id or self.user_id, state,
            )  # fmt: skip
        return ids.encode(job_id)

    async def rows(self, hook_id):
        return await self.owner.fetch("SELECT * FROM webhook_deliveries WHERE webhook_id = $1 ORDER BY id", hook_id)

    async def until(self, sink, condition):
        """Turn until the condition holds; what waits for a later try is due at once."""
        async with asyncio.timeout(60):
            while not await condition():
                await sink.turn()
                await asyncio.sleep(0)  # lets the posts go on

    async def ended(self, sink, hook_id, state, count=1):
        async def enough():
            return [row["state"] for row in await self.rows(hook_id)].count(state) >= count

        await self.until(sink, enough)
        return await self.rows(hook_id)


@pytest.fixture
async def receiver():
    return Receiver()


@pytest.fixture
async def desk(servers, receiver):
    application = web.Application()
    application.router.add_post("/{any:.*}", receiver.take)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    store = await Store.open(servers.engine_url, size=2, application="tests", plans=ENGINE_PLANS)
    owner = await asyncpg.connect(servers.database_url, server_settings={"search_path": "swarmsync"})
    made = Desk(store, owner, f"http://127.0.0.1:{port}")
    await owner.execute("DELETE FROM webhooks")
    await owner.execute("INSERT INTO users (id, username) VALUES ($1, $2)", made.user_id, f"hooks{made.user_id}")
    yield made
    for table in ("webhooks", "jobs", "job_events"):
        await owner.execute(f"DELETE FROM {table} WHERE user_id = $1", made.user_id)
    await owner.execute("DELETE FROM users WHERE id = $1", made.user_id)
    await owner.close()
    await store.close()
    await runner.cleanup()


@asynccontextmanager
async def running(sink):
    try:
        yield sink
    finally:
        await sink.close()


async def test_an_end_is_told_signed_and_once(desk, receiver):
    hook = await desk.hook()
    job = await desk.event()
    async with running(desk.sink()) as sink:
        (row,) = await desk.ended(sink, hook, "delivered")
    ((path, headers, body),) = receiver.requests
    told = json.loads(body)
    assert (path, told["type"], told["data"]["job"], told["data"]["name"]) == ("/hook", "job.succeeded", job, "nightly")
    assert headers["webhook-id"] == ids.encode(row["id"])
    at_s = int(headers["webhook-timestamp"])
    assert abs(time.time() - at_s) < 300
    assert headers["webhook-signature"] == signature(SECRET, headers["webhook-id"], at_s, body)
    assert (row["attempts"], row["status"], row["error"]) == (1, 204, "")
    assert base64.b64encode(SECRET).decode() not in body.decode()


async def test_filters_owners_and_the_past_are_respected(desk, receiver):
    await desk.event(name="before")
    every = await desk.hook("/every")
    some = await desk.hook("/some", states=("failed",), queue="gpu", job_name="etl-*", labels='{"a": "b"}')
    off = await desk.hook("/off", enabled=False)
    await desk.event(name="etl-1", state="failed", queue="gpu", labels='{"a": "b", "c": "d"}')
    for wrong in ({"name": "xetl-1"}, {"queue": "default"}, {"labels": '{"a": "c"}'}, {"state": "cancelled"}):
        right = {"name": "etl-2", "state": "failed", "queue": "gpu", "labels": '{"a": "b"}'}
        await desk.event(**{**right, **wrong})
    await desk.event(user_id=IDS.next())
    await desk.event(name="last")
    async with running(desk.sink()) as sink:
        await desk.ended(sink, every, "delivered")
        await desk.ended(sink, some, "delivered")
    assert [json.loads(row["body"])["data"]["name"] for row in await desk.rows(every)] == ["last"]
    assert [json.loads(row["body"])["data"]["name"] for row in await desk.rows(some)] == ["etl-1"]
    assert await desk.rows(off) == []


async def test_a_failure_waits_longer_each_time_and_is_delivered_in_the_end(desk, receiver):
    hook = await desk.hook()
    await desk.event()
    receiver.answers = [(500, {}), (302, {"Location": f"{desk.url}/elsewhere"})]
    async with running(desk.sink()) as sink:
        for tries in (1, 2):

            async def tried(tries=tries):
                return [row["attempts"] for row in await desk.rows(hook)] == [tries]

            await desk.until(sink, tried)
            (row,) = await desk.rows(hook)
            pause_s = await desk.owner.fetchval("SELECT extract(epoch FROM $1 - clock_timestamp())", row["due_at"])
            assert 0 < pause_s <= 5 * 2 ** (tries - 1) * 1.2
            assert (row["state"], row["error"][:8]) == ("waiting", "answered")
            assert await desk.owner.fetchval("SELECT failing_since IS NOT NULL FROM webhooks WHERE id = $1", hook)
            await desk.owner.execute("UPDATE webhook_deliveries SET due_at = now() WHERE webhook_id = $1", hook)
        (row,) = await desk.ended(sink, hook, "delivered")
    assert row["attempts"] == 3
    assert [path for path, _, _ in receiver.requests] == ["/hook"] * 3
    assert len({headers["webhook-id"] for _, headers, _ in receiver.requests}) == 1
    assert await desk.owner.fetchval("SELECT failing_since IS NULL FROM webhooks WHERE id = $1", hook)


async def test_what_failed_for_too_long_is_given_up_and_the_dead_are_switched_off(desk, receiver):
    hook = await desk.hook()
    await desk.event()
    await desk.owner.execute("UPDATE webhooks SET failing_since = now() - interval '6 days' WHERE id = $1", hook)
    receiver.answers = [(500, {})]
    async with running(desk.sink(retry_hours=0.001)) as sink:
        (row,) = await desk.ended(sink, hook, "failed")
    assert (row["attempts"], row["status"]) == (1, 500)
    found = await desk.owner.fetchrow("SELECT enabled, disabled_reason FROM webhooks WHERE id = $1", hook)
    assert tuple(found) == (False, "nothing was delivered for 5 days")
    assert desk.said == [f"webhook {ids.encode(hook)} was switched off: nothing was delivered for 5 days"]


async def test_gone_switches_off_at_once(desk, receiver):
    hook = await desk.hook()
    await desk.event()
    receiver.answers = [(410, {})]
    async with running(desk.sink()) as sink:
        await desk.ended(sink, hook, "failed")
    assert not await desk.owner.fetchval("SELECT enabled FROM webhooks WHERE id = $1", hook)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("127.0.0.1", "webhooks.allow_networks"),
        ("localhost", "webhooks.allow_networks"),
        ("[::ffff:127.0.0.1]", "webhooks.allow_networks"),
        ("2130706433", "not a canonical"),
    ],
)
async def test_no_way_of_writing_an_address_leads_to_where_nothing_is_allowed(desk, receiver, name, said):
    hook = await desk.hook(url=desk.url.replace("127.0.0.1", name) + "/hook")
    await desk.event()
    async with running(desk.sink(allow_networks=[], retry_hours=0.001)) as sink:
        (row,) = await desk.ended(sink, hook, "failed")
    assert said in row["error"]
    assert receiver.requests == []


async def test_a_slow_receiver_gets_few_at_a_time_and_holds_up_no_other(desk, receiver):
    slow = await desk.hook("/slow")
    for _ in range(6):
        await desk.event()
    receiver.gate.clear()
    async with running(desk.sink(concurrent_max=2)) as sink:

        async def two_inside():
            return receiver.inside == 2

        await desk.until(sink, two_inside)
        for _ in range(5):
            await sink.turn()
        assert receiver.most == 2
        receiver.gate.set()
        await desk.ended(sink, slow, "delivered", count=6)
    assert receiver.most == 2


async def test_what_was_on_its_way_when_the_process_died_is_sent_again(desk, receiver):
    hook = await desk.hook()
    await desk.event()
    receiver.gate.clear()
    dying = desk.sink()

    async def arrived():
        return len(receiver.requests) == 1

    await desk.until(dying, arrived)
    await dying.close()
    receiver.gate.set()
    async with running(desk.sink()) as sink:
        (row,) = await desk.ended(sink, hook, "delivered")
    assert [headers["webhook-id"] for _, headers, _ in receiver.requests] == [ids.encode(row["id"])] * 2


async def test_without_webhooks_the_feed_is_not_read(desk):
    await desk.owner.execute("DELETE FROM webhooks")
    before = await desk.owner.fetchrow("SELECT * FROM webhook_cursor")
    await desk.event()
    async with running(desk.sink()) as sink:
        assert await sink.turn() == 1.0
    assert await desk.owner.fetchrow("SELECT * FROM webhook_cursor") == before


async def test_old_deliveries_are_forgotten(desk, receiver):
    hook = await desk.hook()
    await desk.event()
    async with running(desk.sink()) as sink:
        await desk.ended(sink, hook, "delivered")
    await desk.owner.execute("UPDATE webhook_deliveries SET created_at = now() - interval '8 days'")
    async with running(desk.sink()) as sink:
        await sink.turn()
    assert await desk.rows(hook) == []
