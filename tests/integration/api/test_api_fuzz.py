"""The API's own description, sent back to it with errors, by every role: no answer is the server's fault."""

import json
import random
import re
from urllib.parse import quote

import asyncpg
import pytest
from fuzz import HASTY, WORDS, operations, requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from routes import SHARED, make

from api.app import create_app
from api.config import ApiConfig
from api.resources.health import OpenApi
from swarmsync.seal import new_ring
from swarmsync.store import users

pytestmark = pytest.mark.integration
NOWHERE = ApiConfig("postgresql://nowhere", "nats://nowhere", "redis://nowhere")
#: Without an engine they say so.
NEEDS_THE_ENGINE = {"POST /v1/jobs/plan"}
ROLES = ("user", "operator", "admin")
RING = new_ring()


def _document():
    app = create_app(NOWHERE)
    resource, _, _, _ = app._router.find("/v1/openapi.json")
    assert isinstance(resource, OpenApi)
    return json.loads(resource.document)


DOCUMENT = _document()
OPERATIONS = operations(DOCUMENT)


@pytest.fixture
async def owner(servers):
    """The owner's connection; what the requests have changed for everybody is put back at the end."""
    connection = await asyncpg.connect(servers.database_url, server_settings={"search_path": "swarmsync"})
    queues = [row["name"] for row in await connection.fetch("SELECT name FROM queues")]
    logins = [row["registry"] for row in await connection.fetch("SELECT registry FROM registry_logins")]
    yield connection
    await connection.execute("DELETE FROM queues WHERE NOT name = ANY ($1::text[])", queues)
    await connection.execute("DELETE FROM registry_logins WHERE NOT registry = ANY ($1::text[])", logins)
    await connection.execute(
        "DELETE FROM user_limits WHERE user_id IN (SELECT id FROM users WHERE username LIKE 'fuzz-%')"
    )
    await connection.execute("UPDATE users SET disabled = false WHERE username LIKE 'fuzz-%'")
    await connection.close()


@pytest.fixture
async def crowd(owner, start_api, new_id):
    """A user of each role who has one thing of each kind, and nobody."""
    api = await start_api(server_id="tests", seal_keys=RING, requests_per_s=100_000, requests_burst=100_000)
    made = {"nobody": (api, {})}
    for role in ROLES:
        name = f"fuzz-{role}"
        found = await users.find_user(owner, name)
        if found is None:
            await users.create_user(owner, new_id(), name, password="correct horse battery", role=role)
            found = await users.find_user(owner, name)
        await owner.execute("UPDATE users SET role = $2, disabled = false WHERE username = $1", name, role)
        token, _ = await users.create_token(owner, new_id(), found.user_id, "fuzz", days=90)
        person = api.by(token)
        known = {kind: await make(person, kind, "fuzz") for kind in ("job",)}
        schedule = await person.get("/v1/schedules?limit=1")
        known["schedule"] = (
            schedule.json["items"][0]["id"] if schedule.json["items"] else await make(person, "schedule", "fuzz")
        )
        known |= {"user": name, "queue": "fuzz-queue", "token": "spare", "secret": "fuzz", "output": "out"}
        made[role] = (person, {**SHARED, **known})
    return made


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
async def test_no_request_makes_the_server_fail(operation, crowd, engine):
    """Each role sends requests that nearly fit; a failure names the request, which is the same every time."""
    await engine.worker("matrix")

    @settings(max_examples=24, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def make_all(data):
        role = data.draw(st.sampled_from(["admin", "admin", "operator", "user", "user", "nobody"]))
        wanted.append((role, data.draw(requests(operation, DOCUMENT, crowd[role][1]))))

    wanted: list = []
    make_all()
    for role, sent in wanted:
        api = crowd[role][0]
        answer = await api.call(operation.method, sent.target, sent.body, sent.headers)
        assert _fits(operation, answer.status), (role, sent, answer.text)
        if answer.status >= 400:
            assert answer.headers["content-type"].startswith("application/problem+json"), (role, sent)
            assert "Traceback" not in answer.text
        elif role == "nobody":
            assert not operation.described["security"], sent


def _fits(operation, status):
    return status < 500 or (status == 503 and str(operation) in NEEDS_THE_ENGINE)


@pytest.mark.parametrize("operation", [o for o in OPERATIONS if o.described["parameters"]], ids=str)
async def test_every_parameter_takes_any_text(operation, crowd):
    api, known = crowd["admin"]
    hasty = "&".join(f"{p['name']}=0" for p in operation.described["parameters"] if p["name"] in HASTY)
    whole = operation.path.format(**{name: known.get(name, "x") for name in re.findall(r"{(\w+)}", operation.path)})
    for parameter in operation.described["parameters"]:
        name = parameter["name"]
        for word in [*WORDS[1:], "\udcff"] if name not in HASTY else ():
            text = quote(word, safe="", errors="surrogatepass")
            if parameter["in"] == "path":
                target = operation.path.replace(f"{{{name}}}", text).replace("{", "").replace("}", "")
            else:
                target = f"{whole}?{name}={text}{'&' if hasty else ''}{hasty}"
            answer = await api.call(operation.method, target)
            assert _fits(operation, answer.status), (name, word, answer.text)


def test_there_is_something_to_send():
    assert len(OPERATIONS) > 50
    bodies = [operation for operation in OPERATIONS if "requestBody" in operation.described]
    assert len(bodies) > 15


async def test_bytes_at_random_are_no_trouble_either(crowd):
    chance = random.Random(7)
    for operation in OPERATIONS:
        if operation.method in ("POST", "PATCH", "PUT") and "{" not in operation.path:
            body = chance.randbytes(chance.randrange(200))
            answer = await crowd["user"][0].call(operation.method, operation.path, body)
            assert answer.status < 500, (operation, body)
