import asyncpg
import pytest

from swarmsync import ids

pytestmark = pytest.mark.integration

ROUTES = [
    ("GET", "", None),
    ("PATCH", "", {"priority": 1}),
    ("DELETE", "", None),
    ("POST", "/cancel", None),
    ("POST", "/kill", None),
    ("POST", "/hold", None),
    ("POST", "/release", None),
    ("POST", "/rerun", None),
    ("GET", "/why", None),
    ("GET", "/logs", None),
    ("GET", "/result", None),
]


@pytest.mark.parametrize(("method", "rest", "body"), ROUTES)
async def test_somebody_elses_job_answers_exactly_as_one_that_does_not_exist(ann, bob, method, rest, body):
    theirs = (await ann.submit())["id"]
    nobodys = ids.encode(ids.decode(theirs) ^ 1)
    refused = await bob.call(method, f"/v1/jobs/{theirs}{rest}", body)
    missing = await bob.call(method, f"/v1/jobs/{nobodys}{rest}", body)
    assert refused.status == missing.status == 404
    assert refused.text.replace(theirs, nobodys) == missing.text
    assert (await ann.get(f"/v1/jobs/{theirs}")).json["state"] == "queued"


async def test_lists_stats_queues_and_events_show_ones_own(ann, bob, fresh_name):
    theirs = (await ann.submit(name=fresh_name))["id"]
    assert (await bob.get(f"/v1/jobs?name={fresh_name}")).json["items"] == []
    assert (await bob.get("/v1/jobs?user=ann")).json["items"] == []
    assert theirs not in (await bob.get("/v1/events?after=0&follow=0")).text
    assert (await bob.get(f"/v1/events?after=0&follow=0&job={theirs}")).text.count("data:") == 0
    assert (await bob.get(f"/v1/jobs?array={theirs}")).json["items"] == []
    assert (await bob.get(f"/v1/jobs/{theirs[:11]}")).status == 404


async def test_row_security_holds_where_a_statement_forgets_to_ask(servers, people, ann):
    """The second wall: as the API's login in a member's role, a bare SELECT sees that member's rows only."""
    await ann.submit()
    connection = await asyncpg.connect(servers.api_url, server_settings={"search_path": "swarmsync"})
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch("SELECT * FROM jobs")
        async with connection.transaction():
            await connection.execute(
                "SELECT set_config('role', 'swarmsync_member', true), set_config('swarmsync.user_id', $1, true)",
                str(people.bob.user_id),
            )
            for table in ("jobs", "specs", "job_events", "assignments", "output_chunks", "idempotency_keys"):
                owners = await connection.fetch(f"SELECT DISTINCT user_id FROM {table}")
                assert {row["user_id"] for row in owners} <= {people.bob.user_id}
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(
                    "INSERT INTO specs (id, user_id, document, sha256) VALUES (1, $1, '{}', $2)",
                    people.ann.user_id,
                    bytes(32),
                )
    finally:
        await connection.close()


async def test_an_operator_works_on_anybodys_job(ann, oscar):
    job = (await ann.submit())["id"]
    held = await oscar.post(f"/v1/jobs/{job}/hold")
    assert held.json["message"] == "held by oscar"
    assert (await oscar.post(f"/v1/jobs/{job}/cancel")).json["user"] == "ann"
    again = (await oscar.post(f"/v1/jobs/{job}/rerun")).json
    assert (again["user"], again["rerun_of"]) == ("oscar", job)
