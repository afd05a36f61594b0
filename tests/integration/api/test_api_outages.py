"""With a dependency away the API says so (503, Retry-After), lets nobody in whom it cannot check, and comes back."""

import asyncio

import pytest

from bench.harness import free_port

pytestmark = pytest.mark.integration


@pytest.fixture
def nowhere() -> str:
    """An address on which nothing listens."""
    return f"127.0.0.1:{free_port()}"


async def test_without_redis_nobody_gets_in_and_503_says_why(start_api, anonymous, people, nowhere):
    logged_in = await anonymous.post("/v1/auth/login", {"username": "bob", "password": "correct horse battery"})
    api = await start_api(redis_url=f"redis://{nowhere}")
    for answer in (
        await api.by(logged_in.json["token"]).get("/v1/jobs"),
        await api.post("/v1/auth/login", {"username": "bob", "password": "correct horse battery"}),
    ):
        assert answer.status == 503
        assert int(answer.headers["retry-after"]) > 0
        assert "Redis" in answer.json["detail"]
    ready = await api.get("/readyz")
    assert ready.status == 503
    assert (ready.json["postgresql"], ready.json["nats"]) == ("ok", "ok")
    assert "Redis" in ready.json["redis"]
    assert (await api.get("/healthz")).status == 200


async def test_without_postgresql_there_are_503s(start_api, people, nowhere):
    api = (await start_api(api_database_url=f"postgresql://x:y@{nowhere}/z")).by(people.ann)
    for answer in (await api.get("/v1/jobs"), await api.post("/v1/jobs", {"image": "a"})):
        assert answer.status == 503
        assert "PostgreSQL" in answer.json["detail"]
    assert (await api.get("/readyz")).json["redis"] == "ok"


async def test_without_nats_everything_works_but_readiness(start_api, people, nowhere, engine):
    api = (await start_api(nats_url=f"nats://{nowhere}")).by(people.ann)
    job = (await api.submit())["id"]
    await engine.starts(job)
    await engine.writes(job, b"out\n")
    await engine.ends(job)
    assert (await api.get(f"/v1/jobs/{job}?wait=5")).json["state"] == "succeeded"
    assert (await api.get(f"/v1/jobs/{job}/logs?follow=1")).text == "out\n"
    ready = await api.get("/readyz")
    assert ready.status == 503
    assert "NATS" in ready.json["nats"]


async def test_a_token_whose_session_redis_has_lost_is_void(start_api, anonymous, servers, people):
    from swarmsync.store.sessions import open_redis
    from swarmsync.store.users import token_digest

    token = (await anonymous.post("/v1/auth/login", {"username": "bob", "password": "correct horse battery"})).json[
        "token"
    ]
    redis = open_redis(servers.redis_url)
    await redis.delete(f"swarmsync:session:{token_digest(token).hex()}")
    await redis.aclose()
    fresh = await start_api()
    assert (await fresh.by(token).get("/v1/jobs")).status == 401


async def test_a_stream_breaks_when_its_process_stops(start_api, people):
    """It must not end cleanly: a client would take what it has for the whole."""
    api = (await start_api()).by(people.ann)
    job = (await api.submit())["id"]
    stopping = asyncio.Event()
    api.life_span.stopping = stopping.is_set

    async def follow_into_the_stop() -> None:
        async with api.stream(f"/v1/jobs/{job}/logs?follow=1&format=jsonl") as answer:
            await anext(answer.lines())
            stopping.set()
            await answer.finished()

    with pytest.raises(asyncio.CancelledError):
        await follow_into_the_stop()
