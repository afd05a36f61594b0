import pytest

pytestmark = pytest.mark.integration


async def events_of(engine, job) -> list[str]:
    from swarmsync import ids

    rows = await engine.sql.fetch("SELECT state FROM job_events WHERE job_id = $1 ORDER BY seq", ids.decode(job))
    return [row["state"] for row in rows]


async def test_cancelling_a_waiting_job_ends_it(ann, engine):
    job = (await ann.submit())["id"]
    answer = await ann.post(f"/v1/jobs/{job}/cancel", {"reason": "not needed"})
    assert answer.status == 202
    assert answer.json["state"] == "cancelled"
    assert answer.json["reason"] == "CancelledByUser"
    assert answer.json["message"] == "cancelled by ann: not needed"
    assert answer.json["finished_at"] is not None
    assert await events_of(engine, job) == ["queued", "cancelled"]
    again = await ann.post(f"/v1/jobs/{job}/cancel")
    assert again.status == 409


async def test_cancelling_a_running_job_asks_for_its_stop_and_a_kill_hurries_it(ann, engine):
    job = (await ann.submit())["id"]
    await engine.starts(job)
    answer = await ann.post(f"/v1/jobs/{job}/cancel")
    assert (answer.status, answer.json["state"], answer.json["stop_reason"]) == (202, "stopping", "CancelledByUser")
    since = answer.json["since"]
    again = await ann.post(f"/v1/jobs/{job}/cancel")
    assert (again.status, again.json["since"]) == (202, since)
    assert await events_of(engine, job) == ["queued", "stopping"]
    kill = "SELECT stop_kill FROM jobs WHERE state = 'stopping' ORDER BY id DESC LIMIT 1"
    assert await engine.sql.fetchval(kill) is False
    assert (await ann.post(f"/v1/jobs/{job}/kill")).status == 202
    assert await engine.sql.fetchval(kill) is True
    assert await events_of(engine, job) == ["queued", "stopping", "stopping"]
    await engine.ends(job, "cancelled", None)
    assert (await ann.post(f"/v1/jobs/{job}/kill")).status == 409


async def test_hold_and_release(ann, engine):
    job = (await ann.submit())["id"]
    held = await ann.post(f"/v1/jobs/{job}/hold")
    assert (held.status, held.json["state"], held.json["reason"]) == (202, "held", "Held")
    assert (await ann.post(f"/v1/jobs/{job}/hold")).status == 202
    why = (await ann.get(f"/v1/jobs/{job}/why")).json
    assert why["blockers"][0]["message"] == "held by ann"
    released = await ann.post(f"/v1/jobs/{job}/release")
    assert (released.status, released.json["state"]) == (202, "queued")
    assert released.json["message"] == "the Scheduler has not looked at it yet"
    told = (await ann.get(f"/v1/events/history?job={job}")).json["items"]
    assert told[-1]["message"] == "released by ann"
    assert await events_of(engine, job) == ["queued", "held", "queued"]
    await engine.starts(job)
    assert (await ann.post(f"/v1/jobs/{job}/hold")).status == 409
    assert (await ann.post(f"/v1/jobs/{job}/release")).status == 409


async def test_a_release_before_the_time_is_scheduled_again(ann):
    job = (await ann.submit(delay="1h"))["id"]
    await ann.post(f"/v1/jobs/{job}/hold")
    released = (await ann.post(f"/v1/jobs/{job}/release")).json
    assert (released["state"], released["reason"]) == ("scheduled", "StartTime")
    assert released["message"] == f"starts at {released['run_at']}"


async def test_cancelling_an_array_that_has_not_begun_ends_it_whole(ann):
    array = (await ann.submit(array={"range": "0-4"}))["id"]
    answer = await ann.post(f"/v1/jobs/{array}/cancel")
    assert answer.json["state"] == "cancelled"
    assert answer.json["array"]["by_state"] == {"cancelled": 5}


async def test_cancelling_an_array_stops_what_runs_and_leaves_the_verdict_to_the_engine(ann, engine):
    array = (await ann.submit(array={"range": "0-2"}))["id"]
    member = (await ann.get(f"/v1/jobs/{array}[1]")).json["id"]
    await engine.starts(member)
    answer = await ann.post(f"/v1/jobs/{array}/cancel")
    assert answer.json["array"]["by_state"] == {"cancelled": 2, "stopping": 1}
    assert (answer.json["state"], answer.json["stop_reason"]) == ("queued", "CancelledByUser")


async def test_cancelling_a_running_array_is_stopping(ann, engine):
    from swarmsync import ids

    array = (await ann.submit(array={"range": "0-1"}))["id"]
    member = (await ann.get(f"/v1/jobs/{array}[0]")).json["id"]
    await engine.starts(member)
    await engine.sql.execute("UPDATE jobs SET state = 'running', started_at = now() WHERE id = $1", ids.decode(array))
    answer = await ann.post(f"/v1/jobs/{array}/cancel")
    assert answer.json["state"] == "stopping"


async def test_holding_an_array_holds_its_members_and_itself_only_when_none_runs(ann, engine):
    array = (await ann.submit(array={"range": "0-2"}))["id"]
    held = (await ann.post(f"/v1/jobs/{array}/hold")).json
    assert (held["state"], held["array"]["by_state"]) == ("held", {"held": 3})
    free = (await ann.post(f"/v1/jobs/{array}/release")).json
    assert (free["state"], free["array"]["by_state"]) == ("queued", {"queued": 3})
    await engine.starts((await ann.get(f"/v1/jobs/{array}[0]")).json["id"])
    held = (await ann.post(f"/v1/jobs/{array}/hold")).json
    assert (held["state"], held["array"]["by_state"]) == ("queued", {"held": 2, "running": 1})


async def test_patch_changes_what_may_change(ann, engine):
    job = (await ann.submit(labels={"a": "1", "b": "2"}, name="old"))["id"]
    changes = {"priority": 90, "labels": {"a": "3", "b": None, "c": "4"}, "name": "new", "timeout": "5m"}
    answer = await ann.call("PATCH", f"/v1/jobs/{job}", changes)
    assert answer.status == 200
    changed = answer.json
    assert (changed["priority"], changed["labels"], changed["name"]) == (90, {"a": "3", "c": "4"}, "new")
    assert changed["spec"]["timeout"] == "5m"
    assert await events_of(engine, job) == ["queued", "queued"]
    await engine.starts(job)
    assert (await ann.call("PATCH", f"/v1/jobs/{job}", {"priority": 1})).status == 409
    assert (await ann.call("PATCH", f"/v1/jobs/{job}", {"labels": {"d": "5"}})).json["labels"]["d"] == "5"


async def test_a_changed_timeout_leaves_the_other_jobs_of_the_batch_alone(ann):
    first, second = (await ann.post("/v1/jobs", {"jobs": [{"image": "a"}] * 2})).json["ids"]
    await ann.call("PATCH", f"/v1/jobs/{first}", {"timeout": 30})
    assert (await ann.get(f"/v1/jobs/{first}")).json["spec"]["timeout"] == "30s"
    assert "timeout" not in (await ann.get(f"/v1/jobs/{second}")).json["spec"]


async def test_a_timeout_of_null_is_none(ann, engine):
    job = (await ann.submit(timeout="5m"))["id"]
    changed = (await ann.call("PATCH", f"/v1/jobs/{job}", {"timeout": None})).json
    assert "timeout" not in changed["spec"]
    assert await events_of(engine, job) == ["queued", "queued"]
    await engine.starts(job)
    assert (await ann.call("PATCH", f"/v1/jobs/{job}", {"timeout": None})).status == 409


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"image": "b"}, "$.image"),
        ({"priority": 101}, "$.priority"),
        ({"priority": True}, "$.priority"),
        ({"queue": "nowhere"}, "$.queue"),
        ({"timeout": "soon"}, "$.timeout"),
        ({"labels": {"": "x"}}, "$.labels"),
    ],
)
async def test_patch_names_what_may_not_change(ann, changes, path):
    job = (await ann.submit())["id"]
    answer = await ann.call("PATCH", f"/v1/jobs/{job}", changes)
    assert answer.status == 422
    assert answer.wrong_paths == [path]


async def test_rerun_makes_a_new_job_of_one_that_has_ended(ann, engine):
    job = (await ann.submit(command="date", delay="1ms", name="again"))["id"]
    assert (await ann.post(f"/v1/jobs/{job}/rerun")).status == 409
    await ann.post(f"/v1/jobs/{job}/cancel")
    answer = await ann.post(f"/v1/jobs/{job}/rerun", Idempotency_Key="rerun-1")
    assert answer.status == 202
    assert answer.json["rerun_of"] == job
    assert answer.json["state"] == "queued"
    assert answer.json["spec"]["command"] == ["date"]
    replay = await ann.post(f"/v1/jobs/{job}/rerun", Idempotency_Key="rerun-1")
    assert replay.json == answer.json


async def test_rerun_of_a_member_is_an_array_of_one(ann):
    array = (await ann.submit(array={"range": "0-9"}))["id"]
    await ann.post(f"/v1/jobs/{array}/cancel")
    answer = (await ann.post(f"/v1/jobs/{array}[7]/rerun")).json
    assert answer["array"]["total"] == 1
    assert (await ann.get(f"/v1/jobs/{answer['id']}[7]")).status == 200


async def test_only_what_has_ended_is_deleted_with_all_that_belongs_to_it(ann, engine):
    from swarmsync import ids

    job = (await ann.submit())["id"]
    assert (await ann.call("DELETE", f"/v1/jobs/{job}")).status == 409
    await engine.starts(job)
    await engine.writes(job, b"out")
    await engine.fails_once(job)
    await ann.post(f"/v1/jobs/{job}/cancel")
    answer = await ann.call("DELETE", f"/v1/jobs/{job}")
    assert (answer.status, answer.content) == (204, b"")
    assert (await ann.get(f"/v1/jobs/{job}")).status == 404
    for table in ("output_chunks", "assignments"):
        assert await engine.sql.fetchval(f"SELECT count(*) FROM {table} WHERE job_id = $1", ids.decode(job)) == 0


async def test_a_member_is_deleted_with_its_array_only(ann):
    array = (await ann.submit(array={"range": "0-1"}))["id"]
    await ann.post(f"/v1/jobs/{array}/cancel")
    assert (await ann.call("DELETE", f"/v1/jobs/{array}[0]")).status == 409
    assert (await ann.call("DELETE", f"/v1/jobs/{array}")).status == 204
    assert (await ann.get(f"/v1/jobs?array={array}")).json["items"] == []
