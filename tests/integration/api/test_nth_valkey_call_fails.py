"""Each call of the API to Valkey fails once, in turn: refused, never answered, or done with its answer lost.

A client does what people do, and repeats what gets 503, as `consumer` does. Nothing is lost or made twice by that, no
answer is a 500, and nobody gets in who may not.
"""

import os

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as Refused
from redis.exceptions import TimeoutError as Unanswered

from swarmsync.store import sessions
from tests.integration.api.conftest import PASSWORD

pytestmark = pytest.mark.integration

#: What is not done looks alike to the API, refused or never answered: the latter only with SWARMSYNC_NTH_CALLS=all.
FAILURES = ("refused", "silent", *(("lost",) if os.environ.get("SWARMSYNC_NTH_CALLS") == "all" else ()))
TRIES_MAX = 4


class FailingRedis(Redis):
    """Of all its calls one fails, the `nth`, in the way that `fate` says; 0 for none."""

    nth, fate, made = 0, "", 0

    async def execute_command(self, *words, **options):
        FailingRedis.made += 1
        if FailingRedis.made != FailingRedis.nth:
            return await super().execute_command(*words, **options)
        if FailingRedis.fate == "refused":
            raise Refused("refused")
        if FailingRedis.fate == "silent":
            await super().execute_command(*words, **options)
        raise Unanswered("no answer")


class Person:
    """Repeats what is refused with 503 and `Retry-After`; whatever else comes is the answer."""

    def __init__(self, api):
        self.api, self.refused = api, 0

    async def call(self, method, path, body=None, **headers):
        for _ in range(TRIES_MAX):
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            answer = await self.api.call(method, path, body, given)
            if answer.status != 503:
                assert answer.status < 500, answer.text
                return answer
            assert int(answer.headers["retry-after"]) > 0
            self.refused += 1
        raise AssertionError(answer.text)


async def log_in(person):
    answer = await person.call("POST", "/v1/auth/login", {"username": "bob", "password": PASSWORD})
    assert answer.status == 200, answer.text
    person.api = person.api.by(answer.json["token"])


async def session_ends(person):
    """A wrong password, a right one, a look at the sessions, the end of this one."""
    wrong = await person.call("POST", "/v1/auth/login", {"username": "bob", "password": "wrong"})
    assert wrong.status == 401
    await log_in(person)
    assert (await person.call("GET", "/v1/auth/session")).status == 200
    assert (await person.call("DELETE", "/v1/auth/session")).status in (204, 401)
    assert (await person.call("GET", "/v1/jobs")).status == 401


async def job_is_made(person):
    """Submitted, looked at, cancelled, deleted; and figures that are kept for a moment are read."""
    await log_in(person)
    body = {"image": "alpine:3.20", "name": "once", "labels": {"nth": FailingRedis.fate + str(FailingRedis.nth)}}
    key = f"nth-{FailingRedis.fate}-{FailingRedis.nth}-{id(person)}"
    made = await person.call("POST", "/v1/jobs", body, Idempotency_Key=key)
    assert made.status == 201
    job_id = made.json["id"]
    found = await person.call("GET", f"/v1/jobs?label=nth={body['labels']['nth']}&state=queued")
    assert [item["id"] for item in found.json["items"]] == [job_id]
    assert (await person.call("POST", f"/v1/jobs/{job_id}/cancel")).json["state"] == "cancelled"
    assert (await person.call("DELETE", f"/v1/jobs/{job_id}")).status == 204
    assert (await person.call("GET", f"/v1/jobs/{job_id}")).status == 404
    assert (await person.call("GET", "/v1/stats")).status == 200


@pytest.fixture
async def play(start_api, people, monkeypatch):
    """Play a scenario in which one call fails; returns how many were made, and how many answers were 503."""
    monkeypatch.setattr(sessions, "Redis", FailingRedis)
    api = await start_api()

    async def run(scenario, nth, fate):
        FailingRedis.nth, FailingRedis.fate, FailingRedis.made = nth, fate, 0
        person = Person(api)
        try:
            await scenario(person)
        finally:
            FailingRedis.nth = 0
        return FailingRedis.made, person.refused

    return run


@pytest.mark.parametrize("scenario", [session_ends, job_is_made])
async def test_each_call_fails_once(play, scenario):
    calls, refused = await play(scenario, 0, "none")
    assert (calls >= 5, refused) == (True, 0)
    felt = 0
    for fate in FAILURES:
        for nth in range(1, calls + 1):
            try:
                _, refused = await play(scenario, nth, fate)
            except BaseException as broken:
                broken.add_note(f"{scenario.__name__}, call {nth} of {calls}, {fate}")
                raise
            felt += refused
    assert felt >= calls, "the failures did not reach anybody"
