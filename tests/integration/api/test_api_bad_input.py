"""Nothing that a client sends is answered with a 500, and what is wrong is named."""

import logging

import pytest

pytestmark = pytest.mark.integration

BODIES = [
    (b"", 400, "$"),
    (b"   ", 400, "$"),
    (b"{", 400, "$"),
    (b"null", 422, "$"),
    (b"[]", 422, "$"),
    (b'"text"', 422, "$"),
    (b"\xef\xbb\xbf{}", 400, "$"),
    (b"[" * 200_000, 400, "$[0][0][0][0][0][0][0][0]..."),
    (b'{"image":' + b"[" * 200_000, 400, "$.image[0][0][0][0][0][0][0]..."),
    (b'{"image": NaN}', 400, "$.image"),
    (b'{"resources": {"cpus": 1e999}}', 400, "$.resources.cpus"),
    (b'{"resources": {"cpus": -Infinity}}', 400, "$.resources.cpus"),
    (b'{"image": "\\ud800"}', 400, "$.image"),
    (b'{"image": "\xed\xa0\x80"}', 400, "$.image"),
    (b'{"command": ["a", "\xff"]}', 400, "$.command[1]"),
    (b'{"image": "a", "name": "x\\u0000y"}', 400, "$.name"),
    (b'{"image": "a", "environment": {"A\\u0000": "b"}}', 400, "$.environment.A\\u0000"),
    (b'{"image": "a", "image": "b"}', 400, "$.image"),
    (b'{"image": "a", "priority": 99999999999999999999}', 400, "$.priority"),
    (b'{"image": "a", "priority": 101}', 422, "$.priority"),
    (b'{"image": "a", "priority": "50"}', 422, "$.priority"),
    (b'{"image": "a", "priority": true}', 422, "$.priority"),
    (b'{"image": "a", "imgae": "b"}', 422, "$.imgae"),
    (b'{"image": "a", "resources": {"cpu": 1}}', 422, "$.resources.cpu"),
    (b'{"image": ["a"]}', 422, "$.image"),
    (b'{"image": "a", "queue": "no such"}', 422, "$.queue"),
    (b'{"image": "a", "resources": {"memory": 1e30}}', 422, "$.resources.memory"),
    (b'{"image": "a", "timeout": "1e9d"}', 422, "$.timeout"),
    (b'{"image": "a", "timeout": -1}', 422, "$.timeout"),
    (b'{"image": "a", "queue_timeout": "99999d"}', 422, "$.queue_timeout"),
    (b'{"image": "a", "run_at": "9999-12-31T23:59:59Z"}', 422, "$.run_at"),
    (b'{"image": "a", "run_at": "0001-01-01T00:00:00+14:00"}', 422, "$.run_at"),
    (b'{"image": "a", "run_at": "2026-11-24T02:00:00"}', 422, "$.run_at"),
    (b'{"image": "a", "array": {"range": "0-999999999"}}', 422, "$.array.range"),
    (b'{"image": "a", "array": {"range": "5-1"}}', 422, "$.array.range"),
    (b'{"image": "a", "secrets": ["x"]}', 422, "$.secrets[0]"),
    (b'{"image": "a", "secrets": ["../x"]}', 422, "$.secrets[0]"),
    (b'{"image": "a", "secrets": [{"name": "x", "env": "A=B"}]}', 422, "$.secrets[0].env"),
    (b'{"jobs": [{"image": "a"}, {"image": "a", "secrets": ["x", "y"]}]}', 422, "$.jobs[1].secrets[0]"),
    (b'{"jobs": []}', 422, "$.jobs"),
    (b'{"jobs": {}}', 422, "$.jobs"),
    (b'{"jobs": null}', 422, "$.jobs"),
    (b'{"jobs": [{"image": "a"}], "image": "b"}', 422, "$.image"),
    (b'{"jobs": [{"image": "a"}, 7]}', 422, "$.jobs[1]"),
    (b'{"jobs": [{"image": "a"}, {"image": "a", "name": "\\u0000"}]}', 400, "$.jobs[1].name"),
    (b'{"jobs": [{"image": "a"}, {"image": "\xff"}]}', 400, "$.jobs[1].image"),
    (b'{"jobs": [{"image": "a"}, {"image": "a", "image": "b"}]}', 400, "$.jobs[1].image"),
    (b'{"jobs": [{"image": "a"}' + b', {"image": "a"}' * 10_000 + b"]}", 422, "$.jobs"),
    (b'{"image": "' + b"a" * 300_000 + b'"}', 413, None),
]


@pytest.mark.parametrize(("body", "status", "path"), BODIES, ids=[repr(body[:50]) for body, _, _ in BODIES])
async def test_a_bad_body_is_refused_and_its_field_named(ann, caplog, body, status, path):
    for target in ("/v1/jobs", "/v1/jobs/validate"):
        answer = await ann.post(target, body)
        assert answer.status == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json
        assert problem["status"] == status
        assert problem["detail"]
        assert path is None or path in answer.wrong_paths
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_wrong_key_is_told_its_neighbour(ann):
    answer = await ann.post("/v1/jobs", {"image": "a", "enviroment": {}})
    assert answer.json["errors"] == [
        {"path": "$.enviroment", "message": "is not a known field; did you mean environment?"}
    ]


async def test_a_batch_reports_many_errors_at_once(ann):
    answer = await ann.post("/v1/jobs", {"jobs": [{"image": "a", "priority": 999}] * 50})
    assert answer.status == 422
    assert answer.wrong_paths == [f"$.jobs[{index}].priority" for index in range(20)]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "multipart/form-data"}, 415),
        ({"Content-Type": "application/json; charset=utf-8"}, 201),
        ({"Content-Type": "application/merge-patch+json"}, 201),
        ({"Content-Type": None}, 201),
        ({"Content-Encoding": "gzip"}, 415),
        ({"Content-Encoding": "identity"}, 201),
    ],
)
async def test_the_body_is_plain_json(ann, headers, status):
    answer = await ann.post("/v1/jobs", b'{"image": "a"}', **headers)
    assert answer.status == status


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/v1/jobs?limit=99999999999999999999", "?limit"),
        ("/v1/jobs?limit=0", "?limit"),
        ("/v1/jobs?limit=ten", "?limit"),
        ("/v1/jobs?limit=1&limit=2", "?limit"),
        ("/v1/jobs?state=asleep", "?state"),
        ("/v1/jobs?since=yesterday", "?since"),
        ("/v1/jobs?since=0001-01-01T00:00:00%2B14:00", "?since"),
        ("/v1/jobs?since=2026-01-01T00:00:00", "?since"),
        ("/v1/jobs?cursor=zzz", "?cursor"),
        ("/v1/jobs?label=novalue", "?label"),
        ("/v1/jobs?stat=queued", "?stat"),
        ("/v1/jobs?name=%00", "?name"),
        ("/v1/jobs?name=%ff", "?"),
        ("/v1/jobs?" + "&".join(f"label=a{i}=b" for i in range(200)), "?"),
        ("/v1/jobs/validate?x=1", None),
        ("/v1/events?after=12", "?after"),
        ("/v1/events?after=99999999999999999999-1", "?after"),
        ("/v1/workers?limit=-1", "?limit"),
        ("/v1/queues?limit=1.5", "?limit"),
        ("/v1/logs?level=loud", "?level"),
        ("/v1/logs?q=%00", "?q"),
        ("/v1/logs?cursor=1", "?cursor"),
    ],
)
async def test_a_bad_query_is_refused_and_its_parameter_named(oscar, target, path):
    answer = await oscar.get(target)
    assert answer.status in (400, 405), answer.text
    assert path is None or answer.wrong_paths == [path]


@pytest.mark.parametrize(
    "query",
    ["tail=-1", "tail=x", "attempt=0", "attempt=99999999999999999999", "stdout_from=-5", "stream=all", "follow=maybe"],
)
async def test_a_bad_logs_query_is_refused(ann, query):
    job = (await ann.submit())["id"]
    answer = await ann.get(f"/v1/jobs/{job}/logs?{query}")
    assert answer.status == 400
    assert answer.wrong_paths == [f"?{query.partition('=')[0]}"]


@pytest.mark.parametrize("wait", ["61", "-1", "99999999999999999999", "1.5"])
async def test_a_wait_has_a_limit(ann, wait):
    job = (await ann.submit())["id"]
    assert (await ann.get(f"/v1/jobs/{job}?wait={wait}")).wrong_paths == ["?wait"]


@pytest.mark.parametrize(
    "path",
    ["/v1/nothing", "/x", "/v1/jobs/a/b/c", "/v1/workers/%00", "/v1/workers/..%2f", "/v1/logs/x", "/v1/modules/%00"],
)
async def test_unknown_addresses_are_problems_too(oscar, path):
    answer = await oscar.get(path)
    assert answer.status == 404
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_method_that_a_route_does_not_take(ann):
    answer = await ann.call("PUT", "/v1/jobs")
    assert answer.status == 405
    assert "GET" in answer.headers["allow"]
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("event_id", ["x", "1-", "-1", "1-99999999999999999999", "caf\u00e9"])
async def test_a_bad_last_event_id_is_refused(ann, event_id):
    assert (await ann.get("/v1/events?follow=0", Last_Event_ID=event_id)).status == 400


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"username": "ann"}, "$"),
        ({"username": 7, "password": "x"}, "$.username"),
        ({"username": "ann", "password": ""}, "$.password"),
        ({"username": "ann", "password": "x" * 2000}, "$.password"),
        ({"username": "ann", "password": "x", "remember": True}, "$.remember"),
    ],
)
async def test_a_bad_login_is_refused(anonymous, body, path):
    answer = await anonymous.post("/v1/auth/login", body)
    assert answer.status == 422
    assert answer.wrong_paths == [path]
