"""Every route x method x role x {own, another's, nobody's}; the routes are the router's, so that none is forgotten."""

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from routes import ALL, BODIES, SHARED, make, nobodys

from api import app as application
from api import scopes
from api.access import Access
from api.app import create_app
from api.endpoint import Resource, endpoint
from swarmsync.seal import new_ring
from swarmsync.store import users

pytestmark = pytest.mark.integration
RING = new_ring()
CLOSED = [route for route in ALL if route.access is not Access.PUBLIC]
OWNED = [route for route in CLOSED if any(name not in SHARED for name in route.parameters)]
#: Beside the owner: what operators and administrators reach by id.
REACH = {"job": {"operator", "admin"}, "schedule": {"operator", "admin"}, "user": {"operator", "admin"}}
REACH |= {"webhook": {"operator", "admin"}, "delivery": {"operator", "admin"}}
REACH |= {"token": {"admin"}, "key": {"admin"}, "session": set(), "secret": set()}
#: What a job that has not run does not have.
EMPTY = {"GET /v1/jobs/{job}/outputs/{output}"}
#: Roles for which a route is closed, whatever it is about.
BELOW = {Access.USER: set(), Access.OPERATOR: {"user"}, Access.ADMIN: {"user", "operator"}}
#: These make a thing of one's own by its name, whatever others have.
MAKING = {"PUT /v1/secrets/{secret}"}


@pytest.fixture
async def anonymous(start_api, people):
    return await start_api(server_id="tests", seal_keys=RING)


def named(routes):
    return pytest.mark.parametrize("route", routes, ids=str)


@pytest.fixture(autouse=True)
async def _things(engine):
    """A worker to act on; afterwards the tokens and keys are gone, of which a user may have so many only."""
    await engine.worker("matrix")
    yield
    await engine.sql.execute("DELETE FROM keys")
    await engine.sql.execute("DELETE FROM webhooks")
    await engine.sql.execute("DELETE FROM tokens WHERE name <> 'tests'")


async def call(api, route, **values):
    return await api.call(route.method, route.target(**values), route.body)


async def filled(route, api, name="x"):
    """Fill the address with things of `api`'s user."""
    return {kind: await make(api, kind, name) for kind in route.parameters if kind not in SHARED}


def test_every_body_is_of_a_route_that_exists():
    assert BODIES.keys() <= {(route.method, route.path) for route in ALL}


@named(CLOSED)
async def test_without_a_token_that_is_valid_there_is_no_way_in(route, anonymous, people, engine, new_id):
    values = dict.fromkeys(route.parameters, "0000000000001")
    good = people.ann.token
    me = people.ann.user_id
    expired, _ = await users.create_token(engine.sql, new_id(), me, "expired", days=1)
    past = datetime.now(UTC) - timedelta(seconds=1)
    await engine.sql.execute("UPDATE tokens SET expires_at = $1 WHERE name = 'expired'", past)
    revoked, _ = await users.create_token(engine.sql, new_id(), me, "revoked", days=1)
    await engine.sql.execute("DELETE FROM tokens WHERE name = 'revoked'")
    strange = ["", good[:-1], good.replace("ss_t_", "ss_s_"), good.replace("ss_t_", "ss_j_"), f"{good}x", good.upper()]
    for token in (*strange, expired, revoked):
        refused = await call(anonymous.by(token), route, **values)
        assert refused.status == 401, token
    target = route.target(**values)
    in_address = f"{target}{'&' if '?' in target else '?'}token={good}&access_token={good}"
    assert (await anonymous.call(route.method, in_address, route.body)).status == 401


@named([route for route in CLOSED if route.access is not Access.USER])
async def test_what_is_for_others_is_refused_before_anything_is_looked_at(route, ann, oscar):
    values = dict.fromkeys(route.parameters, "0000000000001")
    lacking = [ann] if route.access is Access.OPERATOR else [ann, oscar]
    for api in lacking:
        refused = await api.call(route.method, route.target(**values), b"{broken")
        assert refused.status == 403


@named([route for route in CLOSED if route.scope != scopes.ANY_TOKEN])
async def test_a_token_without_the_scope_is_refused(route, anonymous, people, engine, new_id):
    others = sorted(scopes.SCOPES.keys() - {route.scope})
    token, _ = await users.create_token(engine.sql, new_id(), people.ada.user_id, "few", days=1, scopes=others)
    values = dict.fromkeys(route.parameters, "0000000000001")
    refused = await call(anonymous.by(token), route, **values)
    assert (refused.status, route.scope in refused.json["detail"]) == (403, True)


@named([route for route in OWNED if str(route) not in MAKING])
async def test_anothers_and_nobodys_are_answered_byte_for_byte_alike(route, ann, bob, oscar, fresh_name):
    values = await filled(route, ann, fresh_name)
    absent = {kind: nobodys(kind, value) for kind, value in values.items()}
    for role, api in (("user", bob), ("operator", oscar)):
        if any(role in REACH[kind] for kind in values):
            continue
        theirs, missing = await call(api, route, **values), await call(api, route, **absent)
        assert theirs.status == missing.status
        assert theirs.status in (403, 404)
        content = theirs.content
        for kind, value in values.items():
            content = content.replace(value.encode(), absent[kind].encode())
        assert content == missing.content
        drop = {"content-length"}
        assert {k: v for k, v in theirs.headers.items() if k not in drop} == {
            k: v for k, v in missing.headers.items() if k not in drop
        }


@named(OWNED)
async def test_the_owner_and_those_above_reach_it(route, ann, oscar, ada, anonymous, fresh_name):
    for role, api in (("user", ann), ("operator", oscar), ("admin", ada)):
        if role != "user" and not all(role in REACH[kind] for kind in route.parameters if kind not in SHARED):
            continue
        if role in BELOW[route.access]:
            continue  # refused for another reason, which has a test of its own
        values = await filled(route, ann, f"{fresh_name}-{role}")
        if "user" in values and (route.method in ("PATCH", "DELETE") or "logout" in route.path):
            continue  # tests of users do this to users of their own
        answer = await call(api, route, **values)
        nothing_yet = str(route) in EMPTY and answer.status == 404
        assert answer.status < 300 or answer.status == 409 or nothing_yet, (role, answer.text)


@named([route for route in CLOSED if route.method == "GET" and not route.parameters])
async def test_no_list_shows_what_is_anothers(route, ann, bob, fresh_name):
    canaries = [fresh_name]
    canaries += [await make(ann, kind, fresh_name) for kind in REACH if kind != "user"]
    answer = await call(bob, route)
    assert answer.status in (200, 403)
    for canary in canaries:
        assert canary.encode() not in answer.content


@pytest.mark.parametrize("path", ["/v1/schedules", "/v1/tokens", "/v1/secrets"])
async def test_a_name_that_somebody_else_uses_is_accepted_without_a_hint(ann, bob, path, fresh_name):
    body = {**BODIES["POST", path], "name": fresh_name}
    assert (await ann.post(path, body)).status == 201
    taken, fresh = await bob.post(path, body), await bob.post(path, {**body, "name": f"{fresh_name}-2"})
    assert taken.status == fresh.status == 201
    assert taken.json.keys() == fresh.json.keys()


async def test_a_new_route_is_not_forgotten(monkeypatch):
    """What these tests are made of fails for a route and a parameter that they do not know."""
    import routes

    class Novel(Resource):
        @endpoint(Access.USER, "Something new", body="a body")
        async def on_post(self, call, novelty) -> None:
            """Nobody has told the matrix of this."""

    monkeypatch.setattr(application, "ROUTES", (("/v1/jobs/{novelty}/new", Novel, None),))
    (novel,) = routes.routes()
    with pytest.raises(AssertionError, match=r"routes\.py"):
        _ = novel.body
    with pytest.raises(LookupError, match=r"routes\.py"):
        await make(None, novel.parameters[0], "x")


class Careless(Resource):
    """Handlers that ask for the rows of everybody, as one written in a hurry would."""

    @endpoint(Access.USER, "Everything, without asking whose", answer=list[int])
    async def on_get(self, call, table):
        query = f"SELECT DISTINCT {'id' if table == 'users' else 'user_id'} AS owner FROM {table}"
        rows = await call.services.store.run(lambda c: c.fetch(query), **call.caller.settings)
        return [row["owner"] for row in rows]

    @endpoint(Access.USER, "Change everything, without asking whose", answer=dict[str, int])
    async def on_post(self, call, table):
        query = f"DELETE FROM {table}" if table in ("tokens", "keys") else f"UPDATE {table} SET user_id = user_id"
        status = await call.services.store.run(lambda c: c.execute(query), **call.caller.settings)
        return {"rows": int(status.split()[-1])}

    @endpoint(Access.USER, "A statement glued together from what was sent", answer=list[int])
    async def on_get_glued(self, call, table):
        text = (await call.body()).decode()
        query = f"SELECT DISTINCT user_id AS owner FROM jobs WHERE name = '{text}'"
        rows = await call.services.store.run(lambda c: c.fetch(query), **call.caller.settings)
        return [row["owner"] for row in rows]


@pytest.fixture
async def careless(monkeypatch, start_api, ann, people, fresh_name):
    """An application with these handlers, and a user who owns something of everything."""
    added = (("/v1/jobs/careless/{table}", Careless, None), ("/v1/jobs/glued/{table}", Careless, "glued"))
    monkeypatch.setattr(application, "ROUTES", (*application.ROUTES, *added))
    for kind in ("job", "schedule", "token", "key"):
        await make(ann, kind, fresh_name)
    return await start_api()


TABLES = ["jobs", "specs", "schedules", "schedule_fires", "assignments", "job_events", "output_chunks"]
TABLES += ["idempotency_keys", "tokens", "keys", "users"]


@pytest.mark.parametrize("table", TABLES)
async def test_a_handler_that_forgets_whose_rows_returns_nothing_of_others(careless, people, table):
    answer = await careless.by(people.bob).get(f"/v1/jobs/careless/{table}")
    assert answer.status == 200
    assert set(answer.json) <= {people.bob.user_id}


@pytest.mark.parametrize("table", ["tokens", "keys", "jobs", "specs", "schedules"])
async def test_a_handler_that_forgets_whose_rows_changes_nothing_of_others(careless, people, servers, new_id, table):
    owner = await asyncpg.connect(servers.database_url, server_settings={"search_path": "swarmsync"})
    query = f"SELECT xmin, ctid, * FROM {table} WHERE user_id = $1"
    before = await owner.fetch(query, people.ann.user_id)
    person = people.bob
    token, _ = await users.create_token(owner, new_id(), person.user_id, "careless", days=1)
    answer = await careless.by(token).post(f"/v1/jobs/careless/{table}")
    assert await owner.fetch(query, people.ann.user_id) == before
    assert before
    assert answer.status in (200, 500)  # 500: it may not even try
    await owner.execute(
        "INSERT INTO tokens (id, user_id, name, sha256, expires_at) VALUES ($1, $2, 'tests', $3, now() + '90 days')"
        " ON CONFLICT DO NOTHING",  # bob's own went with his token
        new_id(),
        person.user_id,
        users.token_digest(person.token),
    )
    await owner.close()


@pytest.mark.parametrize("text", ["x' OR '1'='1", "x' OR true --", "' UNION SELECT user_id FROM specs --"])
async def test_text_glued_into_a_statement_still_reads_ones_own_rows_only(careless, people, text):
    answer = await careless.by(people.bob).call("GET", "/v1/jobs/glued/jobs", text.encode())
    assert answer.status == 200
    assert set(answer.json) <= {people.bob.user_id}


@pytest.mark.parametrize(
    "text", ["x'; DELETE FROM jobs; --", "x'; SET ROLE swarmsync_engine; --", "x'; RESET ROLE; --"]
)
async def test_a_second_statement_cannot_be_glued_on(careless, people, text):
    assert (await careless.by(people.bob).call("GET", "/v1/jobs/glued/jobs", text.encode())).status == 500


def test_the_application_of_these_tests_is_the_real_one():
    from api.config import ApiConfig

    create_app(ApiConfig("postgresql://nowhere", "nats://nowhere", "redis://nowhere"))
    assert len(ALL) > 50


async def test_the_answers_for_anothers_and_nobodys_take_as_long(ann, bob):
    """Compared by the median of many, so that a look-up that goes further would show."""
    import time
    from statistics import median

    theirs = [await make(ann, "job", "x") for _ in range(5)]
    took = {"theirs": [], "nobodys": []}
    for _ in range(40):
        for job in theirs:
            for kind, target in (("theirs", job), ("nobodys", nobodys("job", job))):
                began = time.perf_counter()
                await bob.get(f"/v1/jobs/{target}")
                took[kind].append(time.perf_counter() - began)
    fast, slow = sorted(median(values) for values in took.values())
    assert slow < 1.5 * fast
