import asyncio

import pytest

pytestmark = pytest.mark.integration


async def test_a_submitted_job_reads_back_as_it_was_answered(ann):
    answer = await ann.post("/v1/jobs", {"image": "alpine:3.20", "command": "echo hi", "labels": {"team": "ml"}})
    job = answer.json
    assert answer.status == 201
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    shown = (await ann.get(f"/v1/jobs/{job['id']}")).json
    assert [part["phase"] for part in shown.pop("ledger")] == ["evaluating"]  # it grows with time: only a GET has it
    assert shown.pop("obituary") is None
    assert shown == job
    assert job["state"] == "queued"
    assert job["reason"] == "Evaluating"
    assert job["attempt"] == 0
    assert job["assignments"] == []
    assert job["labels"] == {"team": "ml"}
    assert job["spec"]["command"] == ["echo", "hi"]


async def test_a_batch_answers_ids_in_order_and_shares_equal_specs(ann, engine, fresh_name):
    specs = [{"image": "alpine:3.20", "name": fresh_name}] * 3 + [{"image": "busybox", "name": fresh_name}]
    ids = (await ann.post("/v1/jobs", {"jobs": specs})).json["ids"]
    assert ids == sorted(ids)
    images = [(await ann.get(f"/v1/jobs/{job}")).json["spec"]["image"] for job in ids]
    assert images == ["alpine:3.20"] * 3 + ["busybox"]
    shared = await engine.sql.fetchval("SELECT count(DISTINCT spec_id) FROM jobs WHERE name = $1", fresh_name)
    assert shared == 2
    told = await engine.sql.fetchval(
        "SELECT count(*) FROM job_events e JOIN jobs j ON j.id = e.job_id WHERE j.name = $1 AND e.state = 'queued'",
        fresh_name,
    )
    assert told == 4


async def test_a_batch_with_one_wrong_spec_makes_nothing(ann, engine, fresh_name):
    specs = [{"image": "alpine:3.20", "name": fresh_name}] * 17 + [{"image": "not an image", "name": fresh_name}]
    answer = await ann.post("/v1/jobs", {"jobs": specs})
    assert answer.status == 422
    assert answer.wrong_paths == ["$.jobs[17].image"]
    assert await engine.sql.fetchval("SELECT count(*) FROM jobs WHERE name = $1", fresh_name) == 0


async def test_delay_and_run_at_begin_scheduled(ann):
    delayed = await ann.submit(delay="15m", queue_timeout="1h")
    assert delayed["state"] == "scheduled"
    assert delayed["reason"] == "StartTime"
    assert delayed["run_at"] > delayed["submitted_at"]
    assert delayed["expires_at"] > delayed["run_at"]
    past = await ann.submit(run_at="2026-01-01T00:00:00+01:00")
    assert past["state"] == "queued"


async def test_an_array_is_a_parent_and_hidden_members(ann, fresh_name):
    parent = await ann.submit(name=fresh_name, array={"range": "3-6"})
    assert parent["array"] == {"total": 4, "by_state": {"queued": 4}}
    assert parent["array_size"] == 4
    listed = (await ann.get(f"/v1/jobs?name={fresh_name}")).json["items"]
    assert [job["id"] for job in listed] == [parent["id"]]
    members = (await ann.get(f"/v1/jobs?array={parent['id']}")).json["items"]
    assert [job["array_index"] for job in members] == [6, 5, 4, 3]
    assert {job["array_id"] for job in members} == {parent["id"]}
    assert {job["name"] for job in members} == {fresh_name}
    one = (await ann.get(f"/v1/jobs/{parent['id']}[5]")).json
    assert one["id"] == members[1]["id"]
    assert (await ann.get(f"/v1/jobs/{parent['id']}[7]")).status == 404


async def test_the_live_attempt_stands_last(ann, engine):
    job = (await ann.submit())["id"]
    await engine.starts(job)
    await engine.fails_once(job)
    await engine.starts(job, "w2")
    await engine.writes(job, b"12345", fence=2)
    shown = (await ann.get(f"/v1/jobs/{job}")).json
    assert [(a["attempt"], a["state"], a["worker"]) for a in shown["assignments"]] == [
        (1, "ended", "w1"),
        (2, "running", "w2"),
    ]
    assert shown["worker"] == "w2"
    assert shown["attempt"] == shown["fence"] == 2
    assert shown["output_bytes"] == {"stdout": 5, "stderr": None}


async def test_the_reason_of_a_queued_job_is_its_lines(ann, engine):
    job = (await ann.submit(resources={"cpus": 900.25}))["id"]
    await engine.sql.execute(
        "INSERT INTO waiting_lines (line, reason, message) SELECT line, 'Unsatisfiable', 'no worker has 900.25 cpus'"
        " FROM jobs WHERE cpus_milli = 900250 LIMIT 1 ON CONFLICT DO NOTHING"
    )
    shown = (await ann.get(f"/v1/jobs/{job}")).json
    assert (shown["reason"], shown["message"]) == ("Unsatisfiable", "no worker has 900.25 cpus")
    why = (await ann.get(f"/v1/jobs/{job}/why")).json
    assert why["blockers"][0]["reason"] == "Unsatisfiable"
    assert "900.25 cpus" in why["would_start_if"][0]
    assert why["position"] >= 1


async def test_a_wait_is_woken_by_the_hint(ann, engine):
    job = (await ann.submit())["id"]
    await engine.starts(job)
    waiting = asyncio.create_task(ann.get(f"/v1/jobs/{job}?wait=30"))
    await engine.ends(job)
    async with asyncio.timeout(60):
        assert (await waiting).json["state"] == "succeeded"


async def test_a_wait_ends_with_its_time(ann):
    job = (await ann.submit())["id"]
    async with asyncio.timeout(60):
        assert (await ann.get(f"/v1/jobs/{job}?wait=1")).json["state"] == "queued"


async def test_the_result_of_a_job(ann, engine):
    job = (await ann.submit())["id"]
    early = await ann.get(f"/v1/jobs/{job}/result")
    assert early.status == 409
    await engine.starts(job)
    streams = {"stdout": {"size": 10, "kept": 4, "sha256": "ab"}, "stderr": {"size": 0, "kept": 0, "sha256": ""}}
    await engine.ends(job, "failed", 3, {**streams, "cpu_ms": 12, "memory_peak_bytes": 99})
    result = (await ann.get(f"/v1/jobs/{job}/result")).json
    assert result["exit_code"] == 3
    assert result["stdout"] == {"size": 10, "kept": 4, "truncated": True, "sha256": "ab"}
    assert result["cpu_ms"] == 12
    assert result["duration_s"] >= 0
    shown = (await ann.get(f"/v1/jobs/{job}")).json
    assert shown["output_bytes"] == {"stdout": 10, "stderr": 0}


async def test_a_unique_beginning_of_an_id_is_enough(ann, oscar, servers):
    job = (await ann.submit())["id"]
    other = (await ann.submit())["id"]
    assert (await ann.get(f"/v1/jobs/{job[:12]}")).status in (200, 409)
    ambiguous = await ann.get(f"/v1/jobs/{job[:4]}")
    assert ambiguous.status == 409
    assert other in ambiguous.json["detail"]
    assert (await ann.get(f"/v1/jobs/{job[:3]}")).status == 404


@pytest.mark.parametrize("text", ["nothere", "0000000000000", "UPPERCASE0000", "x" * 40, "%00%00%00%00", "a[1]"])
async def test_what_is_no_id_is_not_found(ann, text):
    assert (await ann.get(f"/v1/jobs/{text}")).status == 404


async def test_validate_fills_in_the_defaults_and_makes_nothing(ann, engine, fresh_name):
    answer = await ann.post("/v1/jobs/validate", {"image": "alpine", "name": fresh_name, "command": "a 'b c'"})
    assert answer.status == 200
    assert answer.json["command"] == ["a", "b c"]
    assert answer.json["resources"] == {"cpus": 1.0, "memory": "512MiB", "pids": 1024, "gpus": 0, "disk": None}
    assert await engine.sql.fetchval("SELECT count(*) FROM jobs WHERE name = $1", fresh_name) == 0


async def test_lists_filter(ann, engine, fresh_name):
    plain = await ann.submit(name=fresh_name)
    labelled = await ann.submit(name=f"{fresh_name}-b", labels={"team": fresh_name, "size": "x"})
    await engine.starts(plain["id"], "w9")

    async def found(query: str) -> set[str]:
        answer = await ann.get(f"/v1/jobs?{query}")
        assert answer.status == 200, answer.text
        return {job["id"] for job in answer.json["items"]}

    assert await found(f"name={fresh_name}") == {plain["id"]}
    assert await found(f"name={fresh_name}*") == {plain["id"], labelled["id"]}
    assert await found(f"label=team%3D{fresh_name}") == {labelled["id"]}
    assert await found(f"label=team={fresh_name}&label=size=y") == set()
    assert await found(f"name={fresh_name}*&state=running,starting") == {plain["id"]}
    assert await found(f"name={fresh_name}*&state=waiting") == {labelled["id"]}
    assert await found(f"name={fresh_name}*&state=active") == {plain["id"], labelled["id"]}
    assert await found(f"name={fresh_name}*&state=finished") == set()
    assert await found(f"name={fresh_name}*&worker=w9") == {plain["id"]}
    assert await found(f"name={fresh_name}*&queue=default&user=ann&since=1h") == {plain["id"], labelled["id"]}
    assert await found(f"name={fresh_name}*&since=2099-01-01T00:00:00Z") == set()
    assert await found(f"name={fresh_name}*&schedule=0000000000001") == set()


async def test_pages_are_whole_and_without_repeats_while_jobs_come_in(ann, fresh_name):
    made = (await ann.post("/v1/jobs", {"jobs": [{"image": "a", "name": fresh_name}] * 25})).json["ids"]
    seen, cursor = [], ""
    while True:
        page = (await ann.get(f"/v1/jobs?name={fresh_name}&limit=4&cursor={cursor}")).json
        seen += [job["id"] for job in page["items"]]
        await ann.submit(name=fresh_name)
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == sorted(made, reverse=True)


async def test_operators_see_everybodys_and_filter_by_user(ann, bob, oscar, fresh_name):
    of_ann, of_bob = (await ann.submit(name=fresh_name))["id"], (await bob.submit(name=fresh_name))["id"]
    everybody = (await oscar.get(f"/v1/jobs?name={fresh_name}")).json["items"]
    assert {job["id"]: job["user"] for job in everybody} == {of_ann: "ann", of_bob: "bob"}
    only = (await oscar.get(f"/v1/jobs?name={fresh_name}&user=bob")).json["items"]
    assert [job["id"] for job in only] == [of_bob]


async def test_one_request_makes_no_more_rows_than_an_array_may_have(ann):
    specs = [{"image": "a", "array": {"range": "0-59999"}}] * 2
    answer = await ann.post("/v1/jobs", {"jobs": specs})
    assert answer.status == 422
    assert "120002 jobs" in answer.json["errors"][0]["message"]


async def test_a_very_large_spec_is_shown_with_its_job_alone(ann, fresh_name):
    job = await ann.submit(name=fresh_name, command=["x" * 20_000])
    (listed,) = (await ann.get(f"/v1/jobs?name={fresh_name}")).json["items"]
    assert listed["spec"] is None
    assert (await ann.get(f"/v1/jobs/{job['id']}")).json["spec"]["command"] == ["x" * 20_000]
