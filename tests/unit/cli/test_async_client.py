"""The client for event loops: the same answers as the one that waits, from the same scripted Core."""

import asyncio

import pytest
from fake_core import ID, FakeCore, Hangup, Problem, Stream, chunk, end, job

from swarmsync import AsyncClient, errors
from swarmsync.client import Client

LOGS = f"/v1/jobs/{ID}/logs"
OTHER = "0an5pah380801"


@pytest.fixture
async def client(core):
    async with AsyncClient(core.url, "secret", patience_s=5.0) as client:
        yield client


async def test_a_submission_carries_token_and_key_and_survives_a_lost_answer(core, client):
    core.on("POST", "/v1/jobs", Hangup(), Problem(503, "the database is away"), (201, job()))
    assert (await client.submit({"image": "alpine"}))["id"] == ID
    asked = core.asked("POST", "/v1/jobs")
    assert len(asked) == 3
    assert len({request.headers["Idempotency-Key"] for request in asked}) == 1
    assert asked[0].headers["Authorization"] == "Bearer secret"
    assert asked[0].body == {"image": "alpine"}


async def test_what_must_not_be_repeated_is_not(core, client):
    core.on("POST", "/v1/logs", Hangup())
    with pytest.raises(errors.Unavailable, match="broke"):
        await client.call("POST", "/v1/logs", {"message": "x"})
    assert len(core.requests) == 1


async def test_a_spec_error_keeps_its_fields(core, client):
    wrong = [{"path": "$.imge", "message": "is not a known field; did you mean image?"}]
    core.on("POST", "/v1/jobs", Problem(422, "invalid", wrong))
    with pytest.raises(errors.SpecError) as caught:
        await client.start("alpine", imge="x")
    assert caught.value.errors == [errors.FieldError(**wrong[0])]


async def test_an_absent_core_is_tried_until_patience_ends():
    gone = FakeCore()
    gone.close()
    async with AsyncClient(gone.url, patience_s=0.2) as client:
        with pytest.raises(errors.Unavailable, match="cannot reach Core"):
            await client.stats()
        with pytest.raises(errors.Unavailable, match="cannot reach Core"):
            _ = [line async for line in client.lines("/v1/events")]


async def test_a_list_goes_over_all_pages(core, client):
    core.on(
        "GET",
        "/v1/jobs",
        (200, {"items": [{"id": "c"}, {"id": "b"}], "next_cursor": "b"}),
        (200, {"items": [{"id": "a"}], "next_cursor": None}),
    )
    assert [item["id"] async for item in client.jobs({"state": "queued"})] == ["c", "b", "a"]
    assert [request.query.get("cursor") for request in core.requests] == [None, ["b"]]


async def test_a_wait_that_takes_too_long_says_so_and_is_a_timeout(core, client):
    core.on("GET", f"/v1/jobs/{ID}", (200, job(state="running")))
    with pytest.raises(errors.WaitTimeout, match="still running"):
        await client.wait(ID, timeout_s=0.1)
    assert issubclass(errors.WaitTimeout, TimeoutError)


async def test_followed_output_is_taken_up_where_it_broke_and_comes_once(core, client):
    core.on(
        "GET",
        LOGS,
        Stream([chunk(b"one ")], broken=True),
        Hangup(),
        Stream([chunk(b"e two", offset=2), chunk(b" three", offset=7), end()]),
    )
    said = [piece async for piece in client.logs(ID, follow=True)]
    assert b"".join(piece.data for piece in said) == b"one two three"
    assert core.asked("GET", LOGS)[-1].query["stdout_from"] == ["4"]


async def test_output_that_ends_without_a_verdict_ends_when_the_job_has_one(core, client):
    core.on("GET", LOGS, Stream([chunk(b"x")]), Stream([]))
    core.on("GET", f"/v1/jobs/{ID}", (200, job(state="failed", reason="ExitCode", exit_code=4)))
    assert [piece.data async for piece in client.logs(ID, follow=True)] == [b"x"]


async def test_events_go_on_after_the_last_one_that_was_seen(core, client):
    first = [b"id: 7-1", b'data: {"state": "queued"}', b""]
    second = [b": quiet", b"id: 8-2", b'data: {"state": "running"}', b""]
    core.on("GET", "/v1/events", Stream(first, broken=True), Stream(second))
    events = client.events()
    assert [(await anext(events))["state"], (await anext(events))["state"]] == ["queued", "running"]
    await events.aclose()
    assert core.asked("GET", "/v1/events")[1].headers["Last-Event-ID"] == "7-1"


async def test_run_raises_for_a_job_that_failed_with_what_it_wrote(core, client):
    core.on("POST", "/v1/jobs", (201, job()))
    core.on("GET", f"/v1/jobs/{ID}", (200, job(state="failed", reason="ExitCode", message="exit code 3", exit_code=3)))
    core.on("GET", LOGS, Stream([b"boom"]))
    with pytest.raises(errors.JobFailed, match="failed: ExitCode: exit code 3") as caught:
        await client.run("alpine", "false", labels={"a": "b"})
    assert caught.value.stderr.strip() == b"boom"
    assert core.asked("POST", "/v1/jobs")[0].body == {"image": "alpine", "command": "false", "labels": {"a": "b"}}
    assert (await client.run("alpine", "false", check=False)).exit_code == 3


async def test_map_submits_all_at_once_and_keeps_the_order(core, client):
    core.on("POST", "/v1/jobs", (201, {"ids": [ID, OTHER]}))
    for job_id in (ID, OTHER):
        core.on("GET", f"/v1/jobs/{job_id}", (200, job(id=job_id, state="succeeded")))
        core.on("GET", f"/v1/jobs/{job_id}/logs", Stream([job_id.encode()]))
    inputs = ["x", {"MODE": "full"}]
    done = [each async for each in client.map("alpine", ["true"], inputs, environment={"A": "1"})]
    assert [each.job["id"] for each in done] == [ID, OTHER]
    sent = core.asked("POST", "/v1/jobs")[0].body["jobs"]
    assert [spec["environment"] for spec in sent] == [{"A": "1", "INPUT": "x"}, {"A": "1", "MODE": "full"}]
    assert [each async for each in client.map("alpine", None, [])] == []


async def test_map_over_a_number_is_an_array_whose_members_come_in_order(core):
    core.on("POST", "/v1/jobs", (201, job()))
    for index in range(2):
        core.on("GET", f"/v1/jobs/{ID}%5B{index}%5D", (200, job(state="succeeded", array_index=index)))
        core.on("GET", f"/v1/jobs/{ID}%5B{index}%5D/logs", Stream([b"x"]))
    with Client(core.url) as client:
        done = list(client.map("alpine", None, 2, array={"max_parallel": 1}))
    async with AsyncClient(core.url) as awaited:
        assert [each async for each in awaited.map("alpine", None, 2)] == done
    assert [each.job["array_index"] for each in done] == [0, 1]
    assert core.asked("POST", "/v1/jobs")[0].body["array"] == {"range": "0-1", "max_parallel": 1}


async def test_many_waits_share_a_few_connections(core):
    core.on("GET", f"/v1/jobs/{ID}", (200, job(state="succeeded")))
    async with AsyncClient(core.url, connections=4) as client:
        found = await asyncio.gather(*(client.wait(ID) for _ in range(100)))
    assert {each["state"] for each in found} == {"succeeded"}


async def test_a_client_without_an_address_is_the_one_of_the_profile(core, monkeypatch):
    monkeypatch.setenv("SWARMSYNC_URL", core.url)
    monkeypatch.setenv("SWARMSYNC_TOKEN", "from the environment")
    core.on("GET", "/v1/stats", (200, {}))
    async with AsyncClient() as client:
        await client.stats()
    with Client() as client:
        client.stats()
    assert {request.headers["Authorization"] for request in core.requests} == {"Bearer from the environment"}


@pytest.mark.parametrize(
    "url", ["ftp://x", "localhost:8420", "", "http://127.0.0.1:99999", "http://127.0.0.1:abc", "http://[::1"]
)
async def test_an_address_must_be_one(url):
    with pytest.raises(errors.RequestError, match="write it like http"):
        AsyncClient(url)
