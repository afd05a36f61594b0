"""Webhooks over HTTP: made, shown, changed, tested, replayed; a key is shown once and stored sealed."""

import base64

import pytest

from swarmsync import ids
from swarmsync.model.webhooks import purpose
from swarmsync.seal import Sealer, new_ring

pytestmark = pytest.mark.integration
RING = new_ring()
URL = "https://hooks.example/swarm"


@pytest.fixture
async def me(start_api, people, engine):
    api = (await start_api(server_id="tests", seal_keys=RING)).by(people.ann.token)
    yield api
    await engine.sql.execute("DELETE FROM webhooks WHERE user_id = $1", people.ann.user_id)


async def test_a_key_is_shown_once_and_sealed(me, engine):
    made = (await me.post("/v1/webhooks", {"url": URL})).json
    sealed = await engine.sql.fetchval("SELECT sealed FROM webhooks WHERE id = $1", ids.decode(made["id"]))
    key = base64.b64decode(made["secret"].removeprefix("whsec_"))
    assert Sealer.of(RING).unseal(sealed, purpose(ids.decode(made["id"]))) == key
    shown = (await me.get(f"/v1/webhooks/{made['id']}")).json
    assert shown == {name: value for name, value in made.items() if name != "secret"}
    assert shown["states"] == ["succeeded", "failed", "timed_out", "cancelled", "expired"]
    renewed = (await me.call("PATCH", f"/v1/webhooks/{made['id']}", {"new_secret": True})).json
    assert renewed["secret"].startswith("whsec_")
    assert renewed["secret"] != made["secret"]


async def test_what_is_absent_stays_and_null_takes_a_filter_away(me):
    body = {"url": URL, "states": ["failed", "failed"], "queue": "default", "name": "etl-*", "labels": {"a": "b"}}
    made = (await me.post("/v1/webhooks", body)).json
    assert (made["states"], made["queue"], made["name"], made["labels"]) == (["failed"], "default", "etl-*", {"a": "b"})
    changed = (await me.call("PATCH", f"/v1/webhooks/{made['id']}", {"queue": None, "labels": {}})).json
    assert (changed["states"], changed["queue"], changed["name"], changed["labels"]) == (["failed"], None, "etl-*", {})
    assert (await me.call("PATCH", f"/v1/webhooks/{made['id']}", {})).json["name"] == "etl-*"


async def test_switched_off_and_on_it_tells_of_what_comes_then(me, engine):
    made = (await me.post("/v1/webhooks", {"url": URL})).json
    since = "SELECT since_xid::text::bigint FROM webhooks WHERE id = $1"
    before = await engine.sql.fetchval(since, ids.decode(made["id"]))
    off = (await me.call("PATCH", f"/v1/webhooks/{made['id']}", {"enabled": False})).json
    assert (off["enabled"], off["disabled_reason"]) == (False, "switched off")
    on = (await me.call("PATCH", f"/v1/webhooks/{made['id']}", {"enabled": True})).json
    assert (on["enabled"], on["disabled_reason"]) == (True, "")
    after = await engine.sql.fetchval(since, ids.decode(made["id"]))
    assert after > before
    await me.call("PATCH", f"/v1/webhooks/{made['id']}", {"enabled": True})
    assert await engine.sql.fetchval(since, ids.decode(made["id"])) == after


async def test_a_test_is_a_delivery_and_a_delivery_can_be_replayed(me, engine):
    made = (await me.post("/v1/webhooks", {"url": URL})).json
    first, second = [(await me.post(f"/v1/webhooks/{made['id']}/test", {})).json for _ in range(2)]
    assert (first["type"], first["state"], first["webhook"]) == ("webhook.test", "waiting", made["id"])
    page = (await me.get(f"/v1/webhooks/{made['id']}/deliveries?limit=1")).json
    assert [item["id"] for item in page["items"]] == [second["id"]]
    rest = (await me.get(f"/v1/webhooks/{made['id']}/deliveries?cursor={page['next_cursor']}")).json
    assert ([item["id"] for item in rest["items"]], rest["next_cursor"]) == ([first["id"]], None)
    await engine.sql.execute(
        "UPDATE webhook_deliveries SET state = 'failed', attempts = 9, ended_at = now() WHERE id = $1",
        ids.decode(first["id"]),
    )
    failed = (await me.get(f"/v1/webhooks/{made['id']}/deliveries?state=failed")).json["items"]
    assert [item["attempts"] for item in failed] == [9]
    again = await me.post(f"/v1/deliveries/{first['id']}/replay", {})
    assert (again.status, again.json["state"], again.json["attempts"]) == (202, "waiting", 0)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "$"),
        ({"url": "http://127.0.0.1:1/"}, "$.url"),
        ({"url": "http://169.254.169.254/"}, "$.url"),
        ({"url": "gopher://x"}, "$.url"),
        ({"url": URL, "states": []}, "$.states"),
        ({"url": URL, "states": ["ended"]}, "$.states"),
        ({"url": URL, "queue": ""}, "$.queue"),
        ({"url": URL, "name": "a\nb"}, "$.name"),
        ({"url": URL, "secret": "mine"}, "$.secret"),
    ],
)
async def test_what_is_wrong_is_named(me, body, path):
    refused = await me.post("/v1/webhooks", body)
    assert (refused.status, refused.wrong_paths) == (422, [path])


async def test_there_is_a_limit(me, people, engine):
    await engine.sql.execute(
        "INSERT INTO webhooks (id, user_id, url, states, sealed)"
        " SELECT g, $1, 'https://a.example', '{failed}', 'x' FROM generate_series(1, 100) AS g",
        people.ann.user_id,
    )
    refused = await me.post("/v1/webhooks", {"url": URL})
    assert (refused.status, refused.wrong_paths) == (422, ["$.url"])
    assert "100 webhooks already" in refused.text
