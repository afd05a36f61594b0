"""Thirty-two secrets go through the whole API with debug logging; none is found anywhere in clear."""

import base64
import logging
import secrets

import asyncpg
import pytest

from swarmsync.seal import new_ring
from swarmsync.store.sessions import open_redis
from swarmsync.store.users import check_password

pytestmark = pytest.mark.integration


class Planted:
    """What must not be found: the texts themselves and what they look like in Base64."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def plant(self, text: str = "") -> str:
        self.texts.append(text or f"canary-{secrets.token_hex(12)}")
        return self.texts[-1]

    def found_in(self, content: bytes) -> list[str]:
        wanted = {text: (text.encode(), base64.b64encode(text.encode()).rstrip(b"=")[:-1]) for text in self.texts}
        return [text for text, forms in wanted.items() if any(form in content for form in forms)]


async def everything_stored(servers) -> bytes:
    """Every row of every table as text, bytes as they are, and every key and value of Redis."""
    content = []
    owner = await asyncpg.connect(servers.database_url, server_settings={"search_path": "swarmsync"})
    query = "SELECT relname FROM pg_class WHERE relnamespace = 'swarmsync'::regnamespace AND relkind = 'r'"
    for (table,) in await owner.fetch(query):
        for row in await owner.fetch(f"SELECT * FROM {table}"):
            content += [value if isinstance(value, bytes) else str(value).encode() for value in row.values()]
    await owner.close()
    redis = open_redis(servers.redis_url)
    async for key in redis.scan_iter():
        content += [key, await redis.dump(key) or b""]
    await redis.aclose()
    return b"\n".join(content)


async def test_no_secret_is_found_in_rows_logs_redis_or_answers(start_api, people, servers, caplog, fresh_name):
    caplog.set_level(logging.DEBUG)
    api = await start_api(server_id="tests", seal_keys=new_ring())
    ada, planted, answers = api.by(people.ada), Planted(), []

    async def said(answer, *, shows=""):
        """Keep an answer for the search; `shows` is the one secret that it is there to show."""
        answers.append(answer.content.replace(shows.encode(), b"") if shows else answer.content)
        return answer

    for number in range(4):
        name, password = f"{fresh_name}-{number}", planted.plant()
        check_password(password, name)
        assert (await said(await ada.post("/v1/users", {"username": name, "password": password}))).status == 201
        await said(await api.post("/v1/auth/login", {"username": name, "password": planted.plant()}))
        await said(await api.post("/v1/auth/login", {"username": planted.plant(), "password": planted.plant()}))
        login = await api.post("/v1/auth/login", {"username": name, "password": password})
        session = planted.plant(login.json["token"])
        await said(login, shows=session)
        me = api.by(session)
        made = await me.post("/v1/tokens", {"name": "ci", "scopes": ["*"], "days": 1})
        await said(made, shows=planted.plant(made.json["token"]))
        secret = planted.plant()
        await said(await me.post("/v1/secrets", {"name": "db", "value": secret}))
        await said(await me.call("PUT", "/v1/secrets/db", {"value": secret, "value_b64": planted.plant()}))
        await said(await me.post("/v1/jobs", {"image": "alpine:3.20", "secrets": ["db"]}))
        await said(await me.post("/v1/auth/verify", {"challenge_id": "x", "signature": planted.plant()}))
        changed = planted.plant()
        wrong = {"password": changed, "old_password": planted.plant(), "unknown": 1}
        await said(await me.call("PATCH", f"/v1/users/{name}", wrong))
        await said(await me.call("PATCH", f"/v1/users/{name}", {"password": changed, "old_password": password}))
        for path in ("/v1/secrets", "/v1/tokens", "/v1/keys", "/v1/jobs", "/v1/events?follow=0&after=0"):
            await said(await ada.get(path))
    await said(await ada.get("/v1/audit?limit=1000"))
    assert len(planted.texts) >= 32
    assert planted.found_in(b"\n".join(answers)) == []
    assert planted.found_in(caplog.text.encode()) == []
    assert planted.found_in(await everything_stored(servers)) == []


async def test_the_search_finds_what_is_there(servers, people):
    """The same search, for something that is stored in clear."""
    planted = Planted()
    planted.plant(people.ann.username)
    assert planted.found_in(await everything_stored(servers)) == [people.ann.username]
