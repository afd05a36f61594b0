import asyncio

import pytest

from swarmsync.seal import new_ring

pytestmark = pytest.mark.integration


async def count(engine, name) -> int:
    return await engine.sql.fetchval("SELECT count(*) FROM jobs WHERE name = $1", name)


async def test_the_same_key_and_body_give_the_first_answer_again(ann, engine, fresh_name):
    spec = {"image": "alpine:3.20", "name": fresh_name}
    first = await ann.post("/v1/jobs", spec, Idempotency_Key=fresh_name)
    await ann.post(f"/v1/jobs/{first.json['id']}/cancel")
    again = await ann.post("/v1/jobs", spec, Idempotency_Key=fresh_name)
    assert (again.status, again.content) == (first.status, first.content)
    assert again.headers["idempotent-replay"] == "true"
    assert again.headers["location"] == first.headers["location"]
    assert await count(engine, fresh_name) == 1


async def test_another_body_under_the_same_key_is_a_conflict(ann, engine, fresh_name):
    await ann.post("/v1/jobs", {"image": "a", "name": fresh_name}, Idempotency_Key=fresh_name)
    answer = await ann.post("/v1/jobs", {"image": "b", "name": fresh_name}, Idempotency_Key=fresh_name)
    assert answer.status == 409
    assert fresh_name in answer.json["detail"]
    assert await count(engine, fresh_name) == 1


async def test_many_requests_with_one_key_at_once_make_one_job(ann, engine, fresh_name):
    spec = {"image": "alpine:3.20", "name": fresh_name}
    answers = await asyncio.gather(*(ann.post("/v1/jobs", spec, Idempotency_Key=fresh_name) for _ in range(20)))
    assert {answer.status for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert await count(engine, fresh_name) == 1


async def test_two_processes_with_one_key_make_one_batch(ann, start_api, people, engine, fresh_name):
    body = {"jobs": [{"image": "a", "name": fresh_name}] * 200}
    other = (await start_api()).by(people.ann)
    answers = await asyncio.gather(
        *(api.post("/v1/jobs", body, Idempotency_Key=fresh_name) for api in (ann, other) * 3)
    )
    assert len({answer.content for answer in answers}) == 1
    assert await count(engine, fresh_name) == 200


@pytest.mark.parametrize("gone", ["secret", "queue", "parent"])
async def test_the_first_answer_is_given_again_when_what_the_request_named_has_gone(
    ann, oscar, fresh_name, gone, start_api, people
):
    spec = {"image": "a", "name": fresh_name}
    if gone == "secret":
        ann = (await start_api(server_id="tests", seal_keys=new_ring())).by(people.ann)
        made = await ann.post("/v1/secrets", {"name": fresh_name, "value": "x"})
        assert made.status == 201, made.text
        spec, path, by = {**spec, "secrets": [fresh_name]}, f"/v1/secrets/{fresh_name}", ann
    elif gone == "queue":
        await oscar.post("/v1/queues", {"name": fresh_name})
        spec, path, by = {**spec, "queue": fresh_name}, f"/v1/queues/{fresh_name}", oscar
    else:
        parent = (await ann.submit())["id"]
        await ann.post(f"/v1/jobs/{parent}/cancel")
        spec, path, by = {**spec, "after": [{"job": parent, "when": "finished"}]}, f"/v1/jobs/{parent}", ann
    first = await ann.post("/v1/jobs", spec, Idempotency_Key=fresh_name)
    assert first.status == 201, first.text
    await ann.post(f"/v1/jobs/{first.json['id']}/cancel")
    await ann.call("DELETE", f"/v1/jobs/{first.json['id']}")
    assert (await by.call("DELETE", path)).status == 204
    again = await ann.post("/v1/jobs", spec, Idempotency_Key=fresh_name)
    assert (again.status, again.content) == (201, first.content)
    assert again.headers["location"] == first.headers["location"]
    assert (await ann.post("/v1/jobs", {**spec, "priority": 9}, Idempotency_Key=fresh_name)).status == 409
    assert (await ann.post("/v1/jobs", spec)).status == 422


async def test_keys_belong_to_their_user(ann, bob, fresh_name):
    first = await ann.post("/v1/jobs", {"image": "a"}, Idempotency_Key=fresh_name)
    second = await bob.post("/v1/jobs", {"image": "b"}, Idempotency_Key=fresh_name)
    assert (first.status, second.status) == (201, 201)


async def test_a_refused_request_leaves_its_key_free(ann, fresh_name):
    assert (await ann.post("/v1/jobs", {"image": ""}, Idempotency_Key=fresh_name)).status == 422
    assert (await ann.post("/v1/jobs", {"image": "a"}, Idempotency_Key=fresh_name)).status == 201


@pytest.mark.parametrize("key", ["", "x" * 256, "caf\u00e9"])
async def test_a_key_that_cannot_be_stored_is_refused(ann, key):
    answer = await ann.post("/v1/jobs", {"image": "a"}, Idempotency_Key=key)
    assert answer.status == 400
    assert answer.wrong_paths == ["Idempotency-Key"]
