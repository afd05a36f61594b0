import time

import pytest
from fake_core import ID, FakeCore, Hangup, Problem, Stream, job

from swarmsync import errors
from swarmsync.client import Client


@pytest.fixture
def client(core):
    with Client(core.url, "secret", patience_s=5.0, sleep=lambda _: None) as client:
        yield client


def test_submission_carries_token_and_key_and_survives_a_lost_answer(core, client):
    core.on("POST", "/v1/jobs", Hangup(), Problem(503, "the database is away"), (201, job()))
    assert client.submit({"image": "alpine"})["id"] == ID
    asked = core.asked("POST", "/v1/jobs")
    assert len(asked) == 3
    assert len({request.headers["Idempotency-Key"] for request in asked}) == 1
    assert asked[0].headers["Authorization"] == "Bearer secret"
    assert asked[0].body == {"image": "alpine"}


def test_what_must_not_be_repeated_is_not(core, client):
    core.on("POST", "/v1/logs", Hangup())
    with pytest.raises(errors.Unavailable, match="broke"):
        client.call("POST", "/v1/logs", {"message": "x"})
    assert len(core.requests) == 1


@pytest.mark.parametrize(
    ("problem", "kind"),
    [
        (Problem(400, "malformed"), errors.RequestError),
        (Problem(401, "who?"), errors.NotLoggedIn),
        (Problem(403, "no"), errors.NotAllowed),
        (Problem(404, "none"), errors.NotFound),
        (Problem(409, "finished"), errors.Conflict),
        (Problem(413, "9 MiB"), errors.TooLarge),
        (Problem(500, "bug"), errors.SwarmError),
    ],
)
def test_problems_become_exceptions_with_their_detail(core, client, problem, kind):
    core.on("GET", "/v1/jobs/x123", problem)
    with pytest.raises(kind, match=problem.detail) as caught:
        client.job("x123")
    assert type(caught.value) is kind
    assert len(core.requests) == 1


def test_a_spec_error_keeps_its_fields(core, client):
    wrong = [{"path": "$.imge", "message": "is not a known field; did you mean image?"}]
    core.on("POST", "/v1/jobs", Problem(422, "invalid", wrong))
    with pytest.raises(errors.SpecError) as caught:
        client.submit({"imge": "x"})
    assert caught.value.errors == [errors.FieldError(**wrong[0])]


def test_too_many_says_when_to_come_back(core, client):
    core.on("POST", "/v1/auth/login", Problem(429, "slow down", headers={"Retry-After": "17"}))
    with pytest.raises(errors.TooMany) as caught:
        client.login("ann", "x")
    assert caught.value.retry_after_s == 17


def test_an_absent_core_is_tried_until_patience_ends():
    naps = []
    gone = FakeCore()
    gone.close()
    with Client(gone.url, patience_s=0.3, sleep=naps.append) as client:
        started = time.monotonic()
        with pytest.raises(errors.Unavailable, match="cannot reach Core"):
            client.session()
    assert naps[:3] == pytest.approx([0.05, 0.075, 0.1125])
    assert time.monotonic() - started < 5


def test_an_absent_core_breaks_streams_too():
    gone = FakeCore()
    gone.close()
    with Client(gone.url) as client, pytest.raises(errors.Unavailable, match="cannot reach Core"):
        list(client.lines("/v1/events"))


def test_a_refused_token_is_replaced_by_the_one_in_force(core):
    def guarded(request):
        return {"ok": 1} if request.headers["Authorization"] == "Bearer new" else Problem(401, "ended")

    core.on("GET", "/v1/stats", guarded)
    with Client(core.url, "old", fresh_token=lambda: "new") as client:
        assert client.get("/v1/stats") == {"ok": 1}
    with Client(core.url, "old", fresh_token=lambda: "new") as client:
        assert list(client.lines("/v1/stats")) == [b'{"ok": 1}']
    with Client(core.url, "old", fresh_token=lambda: "old") as client, pytest.raises(errors.NotLoggedIn):
        client.get("/v1/stats")


def test_an_answer_that_is_no_json_is_not_core(core, client):
    core.on("GET", "/v1/stats", Stream([b"<html>"]))
    with pytest.raises(errors.Unavailable, match="does not look like Core"):
        client.get("/v1/stats")


@pytest.mark.parametrize("url", ["ftp://x", "localhost:8420", ""])
def test_an_address_must_be_one(url):
    with pytest.raises(errors.RequestError, match="write it like http"):
        Client(url)


def test_lists_are_read_page_by_page_up_to_the_limit(core, client):
    pages = {None: {"items": [{"id": "c"}, {"id": "b"}], "next_cursor": "2"}, "2": {"items": [{"id": "a"}]}}
    core.on("GET", "/v1/jobs", lambda request: pages[request.query.get("cursor", [None])[0]])
    assert [item["id"] for item in client.jobs({"state": "failed"})] == ["c", "b", "a"]
    assert core.requests[1].query == {"state": ["failed"], "limit": ["1000"], "cursor": ["2"]}
    assert [item["id"] for item in client.jobs(limit=1)] == ["c"]


def test_a_connection_that_core_closed_while_idle_is_replaced(core, client):
    core.on("GET", "/v1/stats", Hangup(), {"ok": 1})
    core.on("POST", "/v1/logs", (201, {"id": "r"}))
    assert client.get("/v1/stats") == {"ok": 1}
    assert client.call("POST", "/v1/logs", {"message": "x"}) == {"id": "r"}


def test_waiting_polls_until_the_job_is_final(core, client):
    core.on("GET", f"/v1/jobs/{ID}", job(), job(state="running"), job(state="succeeded", exit_code=0))
    assert client.wait(ID)["state"] == "succeeded"
    assert core.requests[0].query == {"wait": ["60"]}


def test_waiting_ends_at_its_time_out(core, client):
    core.on("GET", f"/v1/jobs/{ID}", job())
    with pytest.raises(TimeoutError, match="is still queued"):
        client.wait(ID, timeout_s=0.0)


def test_a_rejected_stream_raises_what_core_meant(core, client):
    core.on("GET", f"/v1/jobs/{ID}/logs", Problem(404, "no such job"))
    with pytest.raises(errors.NotFound):
        list(client.lines(f"/v1/jobs/{ID}/logs"))
