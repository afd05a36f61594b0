"""Secrets over HTTP: they go in, names come out, and a job may name only what is there."""

import base64

import pytest

from swarmsync.seal import Sealer, new_ring
from swarmsync.store.secrets import purpose

pytestmark = pytest.mark.integration

RING = new_ring()
VALUE = "canary-5d1e9c"


@pytest.fixture
async def sealing(start_api, people):
    return await start_api(server_id="tests", seal_keys=RING)


@pytest.fixture
def ann(sealing, people):
    return sealing.by(people.ann)


@pytest.fixture
def bob(sealing, people):
    return sealing.by(people.bob)


async def stored(engine, user_id, name):
    return await engine.sql.fetchval("SELECT sealed FROM secrets WHERE user_id = $1 AND name = $2", user_id, name)


async def test_what_is_set_is_sealed_and_never_given_back(ann, people, engine, fresh_name):
    made = await ann.post("/v1/secrets", {"name": fresh_name, "value": VALUE})
    assert (made.status, sorted(made.json)) == (201, ["created_at", "name", "updated_at"])
    sealed = await stored(engine, people.ann.user_id, fresh_name)
    assert VALUE.encode() not in sealed
    assert Sealer.of(RING).unseal(sealed, purpose(people.ann.user_id, fresh_name)) == VALUE.encode()
    listed = await ann.get("/v1/secrets?limit=1000")
    assert fresh_name in [item["name"] for item in listed.json["items"]]
    assert VALUE not in listed.text
    assert (await ann.get(f"/v1/secrets/{fresh_name}")).status == 405


async def test_a_secret_is_replaced_and_deleted(ann, people, engine, fresh_name):
    content = bytes(range(256))
    for value in ({"value": "old"}, {"value_b64": base64.b64encode(content).decode()}):
        assert (await ann.call("PUT", f"/v1/secrets/{fresh_name}", value)).status == 200
    sealed = await stored(engine, people.ann.user_id, fresh_name)
    assert Sealer.of(RING).unseal(sealed, purpose(people.ann.user_id, fresh_name)) == content
    assert (await ann.call("DELETE", f"/v1/secrets/{fresh_name}")).status == 204
    assert (await ann.call("DELETE", f"/v1/secrets/{fresh_name}")).status == 404


async def test_two_people_have_a_secret_of_one_name_each(ann, bob, people, engine, fresh_name):
    for person, value in ((ann, "ann's"), (bob, "bob's")):
        assert (await person.call("PUT", f"/v1/secrets/{fresh_name}", {"value": value})).status == 200
    assert (await bob.call("DELETE", f"/v1/secrets/{fresh_name}")).status == 204
    sealed = await stored(engine, people.ann.user_id, fresh_name)
    assert Sealer.of(RING).unseal(sealed, purpose(people.ann.user_id, fresh_name)) == b"ann's"


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"name": "../x", "value": VALUE}, "$.name"),
        ({"name": "x" * 129, "value": VALUE}, "$.name"),
        ({"name": "x"}, "$.value"),
        ({"name": "x", "value": ""}, "$.value"),
        ({"name": "x", "value": VALUE, "value_b64": "eA=="}, "$.value"),
        ({"name": "x", "value_b64": f"{VALUE}!"}, "$.value_b64"),
        ({"name": "x", "value": VALUE * 6_000}, "$.value"),
        ({"name": "x", "value": [VALUE]}, "$.value"),
        ({"name": "x", "valeu": VALUE}, "$.valeu"),
    ],
)
async def test_a_bad_secret_is_refused_and_not_quoted(ann, body, path):
    refused = await ann.post("/v1/secrets", body)
    assert (refused.status, refused.wrong_paths) == (422, [path])
    assert VALUE not in refused.text


async def test_a_job_names_secrets_of_its_own_user_only(ann, bob, fresh_name):
    await bob.call("PUT", f"/v1/secrets/{fresh_name}", {"value": VALUE})
    spec = {"image": "alpine:3.20", "secrets": [fresh_name]}
    for call in ("/v1/jobs", "/v1/jobs/validate"):
        refused = await ann.post(call, spec)
        assert (refused.status, refused.wrong_paths) == (422, ["$.secrets[0]"])
        assert "consumer secret set" in refused.text
    job = await bob.submit(secrets=[fresh_name, {"name": fresh_name, "env": "PW"}])
    assert job["spec"]["secrets"] == [fresh_name, {"name": fresh_name, "env": "PW"}]
    assert VALUE not in (await bob.get(f"/v1/jobs/{job['id']}")).text


async def test_a_schedule_and_a_rerun_name_secrets_that_exist(ann, engine, fresh_name):
    job = {"image": "alpine:3.20", "secrets": [fresh_name]}
    refused = await ann.post("/v1/schedules", {"name": fresh_name, "cron": "0 1 * * *", "job": job})
    assert (refused.status, refused.wrong_paths) == (422, ["$.job.secrets[0]"])
    await ann.call("PUT", f"/v1/secrets/{fresh_name}", {"value": VALUE})
    made = await ann.submit(secrets=[fresh_name])
    await engine.starts(made["id"])
    await engine.ends(made["id"])
    assert (await ann.post(f"/v1/jobs/{made['id']}/rerun")).status == 202
    await ann.call("DELETE", f"/v1/secrets/{fresh_name}")
    assert (await ann.post(f"/v1/jobs/{made['id']}/rerun")).wrong_paths == ["$.secrets[0]"]


async def test_without_a_seal_key_nothing_is_stored(anonymous, people, fresh_name):
    refused = await anonymous.by(people.ann).post("/v1/secrets", {"name": fresh_name, "value": VALUE})
    assert refused.status == 503
    assert VALUE not in refused.text
