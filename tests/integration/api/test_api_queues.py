"""`/v1/queues`, limits of users, and who holds the slots of a limit."""

import asyncio

import pytest

from swarmsync import ids

pytestmark = pytest.mark.integration


@pytest.fixture
async def queue(oscar, fresh_name, engine):
    """A queue of this test; it and all that is in it are gone afterwards."""
    assert (await oscar.post("/v1/queues", {"name": fresh_name})).status == 201
    yield fresh_name
    await engine.sql.execute("DELETE FROM jobs WHERE queue = $1", fresh_name)
    await engine.sql.execute("DELETE FROM queues WHERE name = $1", fresh_name)


async def test_a_queue_is_made_shown_changed_and_deleted(oscar, ann, fresh_name):
    body = {"name": fresh_name, "max_running": 5, "max_cpus": 2.5, "max_memory": "8GiB", "placement": "spread"}
    made = await oscar.post("/v1/queues", body)
    assert (made.status, made.headers["location"]) == (201, f"/v1/queues/{fresh_name}")
    assert made.json["max_memory"] == 8 << 30
    assert (made.json["max_running_per_user"], made.json["paused"], made.json["weight"]) == (None, False, 1)
    shown = (await ann.get(f"/v1/queues/{fresh_name}")).json
    assert shown == made.json
    patch = {"max_running": None, "max_waiting": 7, "weight": 3}
    changed = (await oscar.call("PATCH", f"/v1/queues/{fresh_name}", patch)).json
    kept = {"max_running": None, "max_waiting": 7, "weight": 3, "max_cpus": 2.5, "placement": "spread"}
    assert {name: changed[name] for name in kept} == kept
    names = [item["name"] for item in (await ann.get("/v1/queues?limit=1000")).json["items"]]
    assert {"default", fresh_name} <= set(names)
    assert (await oscar.call("DELETE", f"/v1/queues/{fresh_name}")).status == 204
    assert (await oscar.get(f"/v1/queues/{fresh_name}")).status == 404


async def test_pages_of_queues(oscar, queue):
    first = (await oscar.get("/v1/queues?limit=1")).json
    second = (await oscar.get(f"/v1/queues?limit=1&cursor={first['next_cursor']}")).json
    assert first["items"][0]["name"] < second["items"][0]["name"]


async def test_only_operators_change_queues_and_limits(ann, queue, people):
    calls = [
        ("POST", "/v1/queues", {"name": "x"}),
        ("PATCH", f"/v1/queues/{queue}", {"weight": 2}),
        ("DELETE", f"/v1/queues/{queue}", None),
        ("POST", f"/v1/queues/{queue}/pause", None),
        ("POST", f"/v1/queues/{queue}/resume", None),
        ("PATCH", "/v1/users/ann/limits", {"max_running": 1_000}),
        ("DELETE", "/v1/users/ann/limits", None),
    ]
    assert [(await ann.call(*call)).status for call in calls] == [403] * len(calls)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"max_running": 0}, "$.max_running"),
        ({"max_running": "5"}, "$.max_running"),
        ({"max_cpus": 0}, "$.max_cpus"),
        ({"max_memory": "lots"}, "$.max_memory"),
        ({"placement": "random"}, "$.placement"),
        ({"weight": 0}, "$.weight"),
        ({"weight": None}, "$.weight"),
        ({"max_runing": 4}, "$.max_runing"),
        ({"name": "other"}, "$.name"),
    ],
)
async def test_what_a_queue_does_not_take_is_named(oscar, queue, body, path):
    answer = await oscar.call("PATCH", f"/v1/queues/{queue}", body)
    assert (answer.status, answer.wrong_paths) == (422, [path])


@pytest.mark.parametrize("name", ["a b", "-a", "a/b", "ü", "a" * 64])
async def test_a_name_that_is_none(oscar, name):
    answer = await oscar.post("/v1/queues", {"name": name})
    assert (answer.status, answer.wrong_paths) == (422, ["$.name"])


async def test_a_name_that_is_taken_and_queues_that_are_not_there(oscar, queue):
    assert (await oscar.post("/v1/queues", {"name": queue})).status == 409
    for method, path, body in (
        ("GET", "/v1/queues/none", None),
        ("PATCH", "/v1/queues/none", {"weight": 2}),
        ("DELETE", "/v1/queues/none", None),
        ("POST", "/v1/queues/none/pause", None),
        ("GET", "/v1/limits/queue/none/holders", None),
        ("GET", "/v1/limits/nonsense/none/holders", None),
    ):
        assert (await oscar.call(method, path, body)).status == 404, path


async def test_a_queue_is_deleted_only_when_nothing_needs_it(oscar, ann, queue, engine):
    job = await ann.submit(queue=queue)
    refused = await oscar.call("DELETE", f"/v1/queues/{queue}")
    assert (refused.status, "1 waiting and 0 running" in refused.json["detail"]) == (409, True)
    await engine.starts(job["id"])
    assert "0 waiting and 1 running" in (await oscar.call("DELETE", f"/v1/queues/{queue}")).json["detail"]
    await engine.ends(job["id"])
    made = await ann.post("/v1/schedules", {"name": queue, "cron": "@yearly", "job": {"image": "a", "queue": queue}})
    assert made.status == 201
    assert "1 schedules" in (await oscar.call("DELETE", f"/v1/queues/{queue}")).json["detail"]
    await ann.call("DELETE", f"/v1/schedules/{queue}")
    assert (await oscar.call("DELETE", f"/v1/queues/{queue}")).status == 204
    assert (await oscar.call("DELETE", "/v1/queues/default")).status == 409


async def test_pause_and_resume(oscar, ann, queue):
    for verb, paused in (("pause", True), ("pause", True), ("resume", False)):
        answer = await oscar.post(f"/v1/queues/{queue}/{verb}")
        assert (answer.status, answer.json["paused"]) == (202, paused)
        assert (await ann.submit(queue=queue))["state"] == "queued"


async def test_a_new_queue_is_known_to_every_process_at_once(start_api, people, oscar, fresh_name, engine):
    other = (await start_api(server_id="other")).by(people.ann)
    wrong = await other.post("/v1/jobs", {"image": "a", "queue": fresh_name})
    assert (wrong.status, wrong.wrong_paths) == (422, ["$.queue"])
    await oscar.post("/v1/queues", {"name": fresh_name})
    job = await other.submit(queue=fresh_name)
    await engine.sql.execute("DELETE FROM jobs WHERE id = $1", ids.decode(job["id"]))
    assert (await oscar.call("DELETE", f"/v1/queues/{fresh_name}")).status == 204


async def test_a_full_queue_answers_429_and_when_to_come_back(oscar, ann, bob, queue):
    await oscar.call("PATCH", f"/v1/queues/{queue}", {"max_waiting": 2})
    spec = {"image": "a", "queue": queue}
    answers = await asyncio.gather(*((ann, bob)[n % 2].post("/v1/jobs", spec) for n in range(6)))
    assert sorted(answer.status for answer in answers) == [201, 201, 429, 429, 429, 429]
    refused = next(answer for answer in answers if answer.status == 429)
    assert int(refused.headers["retry-after"]) > 0
    assert f"'{queue}' would have 3 waiting jobs, and takes 2" in refused.json["detail"]
    batch = await ann.post("/v1/jobs", {"jobs": [spec]})
    assert batch.status == 429


async def test_limits_of_a_user(oscar, ann, bob, people, engine):
    assert (await ann.get("/v1/users/ann/limits")).json["max_running"] is None
    body = {"max_running": 3, "max_cpus": 1.5, "max_memory": "1GiB", "max_gpus": 0, "weight": 2}
    changed = await oscar.call("PATCH", "/v1/users/ann/limits", body)
    assert changed.status == 200
    job = await ann.submit(resources={"cpus": 0.5, "memory": "64MiB"})
    await engine.starts(job["id"])
    own = (await ann.get("/v1/users/ann/limits")).json
    assert own | {"updated_at": ""} == {
        "user": "ann", "max_running": 3, "max_cpus": 1.5, "max_memory": 1 << 30, "max_gpus": 0, "weight": 2,
        "running": own["running"], "cpus": own["cpus"], "memory": own["memory"], "gpus": own["gpus"], "updated_at": "",
    }  # fmt: skip
    assert own["running"] >= 1
    assert (await bob.get("/v1/users/ann/limits")).status == 404
    assert (await oscar.call("PATCH", "/v1/users/ann/limits", {"max_running": None})).json["max_running"] is None
    assert "ann" in [item["name"] for item in (await oscar.get("/v1/limits?kind=user")).json["items"]]
    assert [item["name"] for item in (await bob.get("/v1/limits?kind=user")).json["items"]] == []
    assert (await oscar.call("DELETE", "/v1/users/ann/limits")).status == 204
    assert (await ann.get("/v1/users/ann/limits")).json["max_cpus"] is None
    await engine.ends(job["id"])
    wrong = await oscar.call("PATCH", "/v1/users/ann/limits", {"max_gpus": -1})
    assert (wrong.status, wrong.wrong_paths) == (422, ["$.max_gpus"])


async def test_holders_of_a_key_with_their_age(ann, bob, oscar, fresh_name, engine):
    key = {"concurrency": {"key": fresh_name, "limit": 2}}
    jobs = [(await who.submit(**key))["id"] for who in (ann, bob, ann)]
    for job in jobs[:2]:
        await engine.starts(job)
    await engine.sql.execute("UPDATE jobs SET offered_at = now() - interval '90 s' WHERE id = $1", ids.decode(jobs[0]))
    seen = (await oscar.get(f"/v1/limits/key/{fresh_name}/holders")).json
    assert (seen["limit"], seen["held"], seen["waiting"]) == (2, 2, 1)
    first, second = seen["items"]
    assert (first["job"], first["user"], first["worker"], first["fence"]) == (jobs[0], "ann", "w1", 1)
    assert (second["job"], second["user"]) == (jobs[1], "bob")
    assert 90 <= first["age_s"] < 100
    own = (await ann.get(f"/v1/limits/key/{fresh_name}/holders")).json
    assert (own["held"], [item["job"] for item in own["items"]]) == (2, jobs[:1]), "others are counted, not shown"
    page = (await oscar.get(f"/v1/limits/key/{fresh_name}/holders?limit=1")).json
    rest = (await oscar.get(f"/v1/limits/key/{fresh_name}/holders?cursor={page['next_cursor']}")).json
    assert [item["job"] for item in (*page["items"], *rest["items"])] == jobs[:2]
    listed = {item["name"]: item for item in (await ann.get("/v1/limits?limit=1000")).json["items"]}
    assert listed[fresh_name] == {"kind": "key", "name": fresh_name, "limit": 2, "held": 2, "waiting": 1}
    for job in jobs[:2]:
        await engine.ends(job)
    gone = (await oscar.get(f"/v1/limits/key/{fresh_name}/holders")).json
    assert (gone["held"], gone["items"]) == (0, [])


async def test_holders_of_a_queue_a_user_an_array_and_a_key_with_a_slash(ann, oscar, queue, engine):
    array = await ann.submit(
        queue=queue, array={"range": "0-2", "max_parallel": 2}, concurrency={"key": "a/b", "limit": 9}
    )
    members = (await ann.get(f"/v1/jobs?array={array['id']}")).json["items"]
    await engine.starts(members[0]["id"])
    for target, limit in (
        (f"/v1/limits/queue/{queue}/holders", None),
        (f"/v1/limits/array/{array['id']}/holders", 2),
        ("/v1/limits/holders?kind=key&name=a/b", 9),
    ):
        seen = (await oscar.get(target)).json
        assert (seen["limit"], seen["held"], seen["waiting"]) == (limit, 1, 2), target
        assert [item["job"] for item in seen["items"]] == [members[0]["id"]]
    mine = (await ann.get("/v1/limits/user/ann/holders")).json
    assert members[0]["id"] in [item["job"] for item in mine["items"]]
    await engine.ends(members[0]["id"])


@pytest.mark.parametrize(
    "target", ["/v1/limits?kind=nonsense", "/v1/limits/holders", "/v1/limits/holders?kind=x&name=y"]
)
async def test_a_wrong_question_is_named(ann, target):
    answer = await ann.get(target)
    assert (answer.status, answer.json["errors"][0]["path"][0]) == (400, "?")


async def test_a_move_to_another_queue_keeps_no_leave_that_only_the_old_one_gave(ada, ann, queue):
    assert (await ada.call("PUT", f"/v1/policies/queue/{queue}", {"capabilities": ["NET_ADMIN"]})).status == 200
    try:
        spec = {"image": "x", "queue": queue, "delay": "1h", "security": {"capabilities": ["NET_ADMIN"]}}
        made = await ann.post("/v1/jobs", spec)
        assert made.status == 201, made.text
        path = f"/v1/jobs/{made.json['id']}"
        moved = await ann.call("PATCH", path, {"queue": "default"})
        assert (moved.status, moved.wrong_paths) == (422, ["$.security.capabilities[0]"]), moved.text
        assert (await ann.get(path)).json["queue"] == queue
    finally:
        await ada.call("DELETE", f"/v1/policies/queue/{queue}")
