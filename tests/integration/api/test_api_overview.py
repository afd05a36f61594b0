import base64
import json
from hashlib import sha512

import pytest

from api.app import METHODS, ROUTES
from swarmsync import ids
from swarmsync.protocol import codec, subjects
from swarmsync.protocol.messages import WorkersChanged
from swarmsync.store.sessions import open_redis

pytestmark = pytest.mark.integration


@pytest.fixture
async def redis(servers):
    client = open_redis(servers.redis_url)
    yield client
    await client.aclose()


async def test_a_worker_is_shown_with_what_it_has_and_what_is_used(ann, oscar, engine):
    await engine.worker("shown")
    job = (await ann.submit(resources={"cpus": 1.5, "memory": "1GiB"}))["id"]
    await engine.starts(job, "shown")
    worker = (await oscar.get("/v1/workers/shown")).json
    assert worker["capacity"] == {"cpus": 4.0, "memory": 8 << 30, "gpus": 0, "disk": 0}
    assert worker["used"] == {"cpus": 1.5, "memory": 1 << 30, "gpus": 0, "disk": 0}
    assert (worker["jobs"], worker["liveness"], worker["eligibility"]) == (1, "ready", "open")
    assert (await oscar.get(f"/v1/workers/{worker['id']}")).json["name"] == "shown"
    seen_by_ann = (await ann.get("/v1/workers/shown")).json
    assert (seen_by_ann["used"], seen_by_ann["jobs"]) == (None, None)


async def test_workers_are_listed_by_name_in_pages(oscar, engine):
    for name in ("p1", "p2", "p3"):
        await engine.worker(name)
    names, cursor = [], ""
    while cursor is not None:
        page = (await oscar.get(f"/v1/workers?limit=2&label=zone=eu&cursor={cursor}")).json
        names += [worker["name"] for worker in page["items"]]
        cursor = page["next_cursor"]
    assert names == sorted(set(names))
    assert {"p1", "p2", "p3"} <= set(names)
    assert (await oscar.get("/v1/workers?label=zone=mars")).json["items"] == []


@pytest.mark.parametrize(
    ("liveness", "eligibility", "revoked", "remedy"),
    [
        ("ready", "open", (), "drain it first: consumer worker drain"),
        ("suspect", "cordoned", (False,), "drain it first"),
        ("joining", "draining", (False,), "drain it first"),
        ("ready", "drained", (), "stop its agent first"),
        ("ready", "drained", (False,), ""),
        ("ready", "cordoned", (True,), ""),  # cut off already
        ("offline", "open", (), ""),
        ("lost", "open", (False,), ""),
    ],
)
async def test_a_worker_that_lives_is_deleted_only_when_it_stays_away(
    oscar, engine, fresh_name, liveness, eligibility, revoked, remedy
):
    await engine.worker(fresh_name)
    await engine.sql.execute(
        "UPDATE workers SET liveness = $2, eligibility = $3 WHERE name = $1", fresh_name, liveness, eligibility
    )
    for was_revoked in revoked:
        await engine.sql.execute(
            "INSERT INTO worker_keys (public_key, name, revoked_at) VALUES ($1, $2, CASE WHEN $3 THEN now() END)",
            f"U{base64.b32encode(sha512(fresh_name.encode()).digest()).decode()[:55]}",
            fresh_name,
            was_revoked,
        )
    answer = await oscar.call("DELETE", f"/v1/workers/{fresh_name}")
    assert answer.status == (409 if remedy else 204), answer.text
    assert remedy in answer.text
    assert (await oscar.get(f"/v1/workers/{fresh_name}")).status == (200 if remedy else 404)


async def test_cordon_and_uncordon_tell_the_engine(oscar, engine):
    worker_id = await engine.worker("cordoned")
    heard: list[int] = []

    async def hear(message) -> None:
        heard.append(codec.decoder_of(WorkersChanged)(message.data).worker_id)

    await engine.bus.subscribe(subjects.WORKERS_CHANGED, hear)
    await engine.bus.flush()
    assert (await oscar.post("/v1/workers/cordoned/cordon")).json["eligibility"] == "cordoned"
    assert (await oscar.post("/v1/workers/cordoned/cordon")).json["eligibility"] == "cordoned"
    assert (await oscar.post("/v1/workers/cordoned/uncordon")).json["eligibility"] == "open"
    assert (await oscar.get("/readyz")).status == 200  # flushes what was published
    await engine.bus.flush()
    assert heard == [worker_id, worker_id]
    audited = await engine.sql.fetchval("SELECT count(*) FROM audit_log WHERE subject = 'cordoned'")
    assert audited == 2
    assert (await oscar.post("/v1/workers/nobody/cordon")).status == 404


async def test_modules_show_what_the_supervisor_says(ann, oscar, redis):
    await redis.delete("swarmsync:modules")
    unknown = (await ann.get("/v1/modules")).json["items"]
    assert [module["name"] for module in unknown] == [
        "harvester", "scheduler", "dispatcher", "hibernator", "logger",
    ]  # fmt: skip
    assert {module["state"] for module in unknown} == {"unknown"}
    assert all(module["purpose"] for module in unknown)
    await redis.hset("swarmsync:modules", "scheduler", json.dumps({"state": "running", "pulse_lag_ms": {"fast": 3}}))
    await redis.hset("swarmsync:modules", "broken", "no json")
    one = (await oscar.get("/v1/modules/Scheduler")).json
    assert (one["state"], one["pulse_lag_ms"]) == ("running", {"fast": 3})
    assert isinstance(one["recent_logs"], list)
    assert "recent_logs" not in (await ann.get("/v1/modules/scheduler")).json
    assert (await ann.get("/v1/modules/conductor")).status == 404
    assert 0 < await redis.pttl("swarmsync:modules:watched") <= 5_000  # so the supervisor renews them more often
    await redis.delete("swarmsync:modules")


async def test_modules_show_their_last_error_to_operators(ann, oscar, redis, engine):
    await engine.sql.execute(
        "INSERT INTO log_records (source, level, message) VALUES"
        " ('dispatcher', 'error', 'first'), ('dispatcher', 'error', 'second'), ('dispatcher', 'info', 'third')"
    )
    await redis.delete("swarmsync:errors")
    errors = {m["name"]: m["last_error"] for m in (await oscar.get("/v1/modules")).json["items"]}
    assert errors["dispatcher"]["message"] == "second"
    assert (await oscar.get("/v1/modules/dispatcher")).json["last_error"] == errors["dispatcher"]
    assert {m["last_error"] for m in (await ann.get("/v1/modules")).json["items"]} == {None}


async def test_log_records_are_written_read_changed_and_deleted(ann, oscar, fresh_name):
    job = (await ann.submit())["id"]
    body = {"message": f"replaced {fresh_name}", "level": "warning", "job": job, "fields": {"disk": "sda"}}
    answer = await oscar.post("/v1/logs", body)
    assert answer.status == 201
    record = answer.json
    assert (record["source"], record["level"], record["job"]) == ("operator", "warning", job)
    path = f"/v1/logs/{record['id']}"
    assert (await oscar.get(path)).json == record
    changed = (await oscar.call("PATCH", path, {"message": f"both {fresh_name}"})).json
    assert (changed["message"], changed["level"], changed["fields"]) == (
        f"both {fresh_name}",
        "warning",
        {"disk": "sda"},
    )

    async def found(query: str) -> list[str]:
        return [entry["id"] for entry in (await oscar.get(f"/v1/logs?{query}")).json["items"]]

    assert await found(f"q={fresh_name.upper()}") == [record["id"]]
    assert await found(f"q={fresh_name}&level=info&source=Operator&since=1h&job={job}") == [record["id"]]
    assert await found(f"q={fresh_name}&level=error") == []
    assert await found(f"q={fresh_name}%25") == []
    assert (await oscar.call("DELETE", path)).status == 204
    assert (await oscar.get(path)).status == 404
    assert (await oscar.call("DELETE", path)).status == 404


async def test_pages_of_log_records_are_whole(oscar, fresh_name):
    made = [(await oscar.post("/v1/logs", {"message": f"{fresh_name} {n}"})).json["id"] for n in range(7)]
    seen, cursor = [], ""
    while cursor is not None:
        page = (await oscar.get(f"/v1/logs?q={fresh_name}&limit=3&cursor={cursor}")).json
        seen += [record["id"] for record in page["items"]]
        await oscar.post("/v1/logs", {"message": f"{fresh_name} later"})
        cursor = page["next_cursor"]
    assert seen == made[::-1]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "$"),
        ({"message": ""}, "$.message"),
        ({"message": "x", "level": "loud"}, "$.level"),
        ({"message": "x", "n": 1}, "$.n"),
    ],
)
async def test_a_bad_log_record_is_refused(oscar, body, path):
    answer = await oscar.post("/v1/logs", body)
    assert answer.status == 422
    assert answer.wrong_paths == [path]


async def test_queues(ann, engine):
    before = (await ann.get("/v1/queues")).json["items"][0]
    await ann.submit()
    await ann.submit(array={"range": "0-2"})
    after = (await ann.get("/v1/queues")).json["items"][0]
    assert after["name"] == "default"
    assert after["waiting"] == before["waiting"] + 4


async def _counted(api, redis):
    """The counts of now: what is kept for a second is passed over, what is kept of the past is not."""
    for key in await redis.keys("swarmsync:stats:*"):
        await redis.delete(key)
    answer = await api.get("/v1/stats")
    return answer.json["jobs"]


async def test_what_ended_long_ago_is_counted_once_and_every_count_is_right(ann, bob, ada, engine, redis):
    async def truth(username=None):
        rows = await engine.sql.fetch(
            "SELECT state, count(*) AS jobs FROM jobs j JOIN users u ON u.id = j.user_id"
            " WHERE (array_size IS NULL OR array_id IS NOT NULL) AND ($1::text IS NULL OR username = $1) GROUP BY 1",
            username,
        )
        return {row["state"]: row["jobs"] for row in rows}

    async def all_right():
        for api, who in ((ann, "ann"), (bob, "bob"), (ada, None)):
            shown = await _counted(api, redis)
            assert {state: count for state, count in shown.items() if count} == await truth(who)

    for key in await redis.keys("swarmsync:past:*"):
        await redis.delete(key)
    old = [(await ann.submit())["id"] for _ in range(3)]
    array = await ann.submit(array={"range": "0-2"})
    for job in old:
        await engine.ends(job)
    members = (await ann.get(f"/v1/jobs?array={array['id']}")).json["items"]
    for member in (*members, array):
        await engine.ends(member["id"], "failed", 1)
    await engine.sql.execute(
        "UPDATE jobs SET finished_at = finished_at - interval '1 hour' WHERE id = ANY ($1) OR array_id = $2",
        [ids.decode(job) for job in (*old, array["id"])],
        ids.decode(array["id"]),
    )
    await all_right()
    assert len(await redis.keys("swarmsync:past:*")) == 3
    kept = await redis.get(
        f"swarmsync:past:{await engine.sql.fetchval('SELECT id FROM users WHERE username = $1', 'ann')}"
    )
    assert json.loads(kept)["jobs"]["failed"] >= 3
    running, waiting, fresh = [(await ann.submit())["id"] for _ in range(3)]
    await engine.starts(running)
    await engine.ends(fresh, "cancelled", None)
    await all_right()
    await engine.ends(running)
    assert (await ann.call("DELETE", f"/v1/jobs/{old[0]}")).status == 204
    assert (await ann.call("DELETE", f"/v1/jobs/{array['id']}")).status == 204
    await all_right()
    await ann.post(f"/v1/jobs/{waiting}/cancel")
    await all_right()


async def test_stats_count_jobs_and_are_kept_for_a_second(oscar, ann, engine, redis):
    job = (await ann.submit())["id"]
    await engine.starts(job)
    await engine.ends(job)
    await redis.delete("swarmsync:stats:all")
    first = await oscar.get("/v1/stats")
    stats = first.json
    assert stats["jobs"]["succeeded"] >= 1
    assert stats["jobs"]["expired"] == 0
    assert stats["workers"]["ready"] >= 1
    assert stats["finished_last_minute"] >= 1
    assert sum(stats["waiting"].values()) >= stats["jobs"]["queued"]
    assert stats["submit_to_start_ms"]["jobs"] >= 1
    assert stats["submit_to_start_ms"]["p50"] is not None
    assert await redis.pttl("swarmsync:stats:all") > 0


async def test_metrics(oscar, ann):
    await ann.submit()
    answer = await oscar.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.text.splitlines()
    assert any(line.startswith('swarmsync_jobs{state="queued"} ') for line in lines)
    assert any('method="POST"' in line and 'status="201"' in line for line in lines)


async def test_health_needs_no_token(anonymous):
    assert (await anonymous.get("/healthz")).json == {"status": "ok"}
    ready = await anonymous.get("/readyz")
    assert ready.json == {"status": "ready", "postgresql": "ok", "redis": "ok", "nats": "ok"}
    for path in ("/healthz", "/readyz"):
        assert (await anonymous.call("HEAD", path)).status == 200


async def test_the_description_has_every_route_and_every_type(ann):
    document = (await ann.get("/v1/openapi.json")).json
    assert set(document["paths"]) == {path for path, _, _ in ROUTES}
    methods = {method.lower() for method in METHODS}
    for operations in document["paths"].values():
        assert operations
        assert set(operations) <= methods
    text = json.dumps(document)
    schemas = document["components"]["schemas"]
    for reference in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert reference in schemas
    limit = [p for p in document["paths"]["/v1/jobs"]["get"]["parameters"] if p["name"] == "limit"]
    assert limit[0]["schema"]["maximum"] == 1000
