import asyncio

import pytest

from api import access

PASSWORD = "a password of its own"
OTHER = "something else entirely"

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def _nothing_is_remembered(monkeypatch):
    """What a process knows of a token it forgets within CACHE_S; here at once."""
    assert access.CACHE_S < 5
    monkeypatch.setattr(access, "CACHE_S", 0.0)


@pytest.fixture
async def carl(ada, fresh_name):
    """The name of a user made over the API."""
    answer = await ada.post("/v1/users", {"username": fresh_name, "password": PASSWORD})
    assert answer.status == 201, answer.text
    return fresh_name


async def login(api, username, password=PASSWORD):
    answer = await api.post("/v1/auth/login", {"username": username, "password": password})
    return api.by(answer.json["token"]) if answer.status == 200 else None


async def test_an_administrator_makes_shows_changes_and_deletes_a_user(ada, anonymous, carl):
    shown = (await ada.get(f"/v1/users/{carl}")).json
    assert {**shown, "id": "", "created_at": ""} == {
        "id": "",
        "username": carl,
        "role": "user",
        "disabled": False,
        "created_at": "",
    }
    assert (await ada.get(f"/v1/users/{shown['id']}")).json == shown
    me = await login(anonymous, carl)
    assert (await me.get("/v1/auth/session")).json["role"] == "user"
    changed = await ada.call("PATCH", f"/v1/users/{carl}", {"role": "operator"})
    assert changed.json["role"] == "operator"
    assert (await ada.call("DELETE", f"/v1/users/{carl}")).status == 204
    assert (await ada.get(f"/v1/users/{carl}")).status == 404
    assert await login(anonymous, carl) is None


async def test_users_see_themselves_operators_all_and_nobody_else_manages(ada, ann, bob, oscar, carl):
    assert [item["username"] for item in (await ann.get("/v1/users")).json["items"]] == ["ann"]
    assert (await ann.get("/v1/users/ann")).json["username"] == "ann"
    theirs, nobodys = await ann.get("/v1/users/bob"), await ann.get("/v1/users/bib")
    assert theirs.status == nobodys.status == 404
    assert theirs.text.replace("bob", "bib") == nobodys.text
    names = [item["username"] for item in (await oscar.get("/v1/users?limit=1000")).json["items"]]
    assert {"ann", "bob", "oscar", "ada", carl} <= {*names}
    for api in (ann, oscar):
        assert (await api.post("/v1/users", {"username": "mallory", "role": "admin"})).status == 403
        assert (await api.call("DELETE", f"/v1/users/{carl}")).status == 403
    assert (await oscar.call("PATCH", f"/v1/users/{carl}", {"role": "admin"})).status == 403
    assert (await oscar.call("PATCH", f"/v1/users/{carl}", {"password": OTHER})).status == 403
    assert (await ann.call("PATCH", "/v1/users/ann", {"role": "admin"})).status == 403
    assert (await ann.call("PATCH", "/v1/users/ann", {"disabled": True})).status == 403
    assert (await ada.get(f"/v1/users/{carl}")).json["role"] == "user"


async def test_pages_of_users_lead_through_all(ada, carl):
    names, cursor = [], ""
    while cursor is not None:
        page = (await ada.get(f"/v1/users?limit=2&cursor={cursor}")).json
        names += [item["username"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert carl in names
    assert names == sorted(set(names))


async def test_the_own_password_is_changed_with_the_old_one_and_ends_every_session(anonymous, carl):
    me, elsewhere = await login(anonymous, carl), await login(anonymous, carl)
    for body in ({"password": OTHER}, {"password": OTHER, "old_password": "wrong"}):
        refused = await me.call("PATCH", f"/v1/users/{carl}", body)
        assert (refused.status, refused.wrong_paths) == (422, ["$.old_password"])
    done = await me.call("PATCH", f"/v1/users/{carl}", {"password": OTHER, "old_password": PASSWORD})
    assert done.status == 200
    for session in (me, elsewhere):
        assert (await session.get("/v1/auth/session")).status == 401
    assert await login(anonymous, carl) is None
    assert await login(anonymous, carl, OTHER) is not None


async def test_a_disabled_user_is_out_within_five_seconds_tokens_too(ada, anonymous, carl):
    me = await login(anonymous, carl)
    made = await me.post("/v1/tokens", {"name": "ci", "scopes": ["*"], "days": 1})
    program = anonymous.by(made.json["token"])
    assert (await me.get("/v1/jobs")).status == (await program.get("/v1/jobs")).status == 200
    assert (await ada.call("PATCH", f"/v1/users/{carl}", {"disabled": True})).status == 200
    for api in (me, program):
        assert (await api.get("/v1/auth/session")).status == 401
    assert (await ada.call("PATCH", f"/v1/users/{carl}", {"disabled": False})).status == 200
    assert await login(anonymous, carl) is not None
    assert (await me.get("/v1/jobs")).status == 401  # its session is of before


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"username": "Has Blank", "password": PASSWORD}, "$.username"),
        ({"username": "fine", "password": "short"}, "$.password"),
        ({"username": "fine", "password": "Football"}, "$.password"),
        ({"username": "fine-name", "password": "Fine-Name"}, "$.password"),
        ({"username": "fine", "password": PASSWORD, "role": "root"}, "$.role"),
        ({"username": "fine", "pasword": PASSWORD}, "$.pasword"),
    ],
)
async def test_bad_users_are_refused_by_field(ada, body, path):
    answer = await ada.post("/v1/users", body)
    assert (answer.status, answer.wrong_paths) == (422, [path])


async def test_a_name_is_given_once(ada, carl):
    assert (await ada.post("/v1/users", {"username": carl})).status == 409


async def only_administrator(ada):
    """Other tests of this database may have made administrators."""
    for user in (await ada.get("/v1/users?limit=1000")).json["items"]:
        if user["role"] == "admin" and user["username"] != "ada":
            assert (await ada.call("PATCH", f"/v1/users/{user['username']}", {"role": "user"})).status == 200


async def test_who_owns_something_is_not_deleted_and_the_last_administrator_stays(ada, anonymous, carl, people):
    await only_administrator(ada)
    me = await login(anonymous, carl)
    await me.submit()
    kept = await ada.call("DELETE", f"/v1/users/{carl}")
    assert (kept.status, "1 jobs" in kept.json["detail"]) == (409, True)
    assert (await ada.call("DELETE", "/v1/users/ada")).status == 409
    for change in ({"disabled": True}, {"role": "user"}):
        assert (await ada.call("PATCH", "/v1/users/ada", change)).status == 409
    second = (await ada.call("PATCH", f"/v1/users/{carl}", {"role": "admin"})).json
    assert second["role"] == "admin"
    assert (await ada.call("PATCH", f"/v1/users/{carl}", {"role": "user"})).status == 200


async def test_two_administrators_cannot_remove_each_other_at_once(ada, anonymous, carl):
    await ada.call("PATCH", f"/v1/users/{carl}", {"role": "admin"})
    other = await login(anonymous, carl)
    answers = await asyncio.gather(
        ada.call("PATCH", f"/v1/users/{carl}", {"role": "user"}), other.call("PATCH", "/v1/users/ada", {"role": "user"})
    )
    assert sorted(answer.status for answer in answers) in ([200, 403], [200, 404], [200, 409])
    survivor = ada if answers[0].status == 200 else other
    for name, role in ((carl, "user"), ("ada", "admin")):
        if (await survivor.get(f"/v1/users/{name}")).json["role"] != role:
            await survivor.call("PATCH", "/v1/users/ada", {"role": "admin"})
    assert (await ada.get("/v1/users/ada")).json["role"] == "admin"


async def test_sessions_are_listed_and_ended_one_by_one(anonymous, ann, carl):
    me, elsewhere = await login(anonymous, carl), await login(anonymous, carl)
    items = (await me.get("/v1/auth/sessions")).json["items"]
    assert len(items) == 2
    assert [item["current"] for item in items].count(True) == 1
    (other,) = (item for item in items if not item["current"])
    assert other["how"] == "password"
    assert (await ann.call("DELETE", f"/v1/auth/sessions/{other['id']}")).status == 404
    assert (await me.call("DELETE", f"/v1/auth/sessions/{other['id']}")).status == 204
    assert (await elsewhere.get("/v1/jobs")).status == 401
    assert (await me.get("/v1/jobs")).status == 200
    assert len((await me.get("/v1/auth/sessions")).json["items"]) == 1
    assert (await me.call("DELETE", f"/v1/auth/sessions/{other['id']}")).status == 404


async def test_an_administrator_ends_all_sessions_of_a_user(ada, ann, anonymous, carl):
    me = await login(anonymous, carl)
    assert (await ann.post(f"/v1/users/{carl}/logout")).status == 404
    assert (await ada.post(f"/v1/users/{carl}/logout")).status == 204
    assert (await me.get("/v1/jobs")).status == 401


async def test_an_ended_session_does_not_come_back_with_an_old_copy_of_redis(anonymous, carl, servers):
    from swarmsync.store.sessions import open_redis
    from swarmsync.store.users import token_digest

    me = await login(anonymous, carl)
    redis = open_redis(servers.redis_url)
    key = f"swarmsync:session:{token_digest(me.token).hex()}"
    before = await redis.dump(key)
    assert (await me.call("DELETE", "/v1/auth/session")).status == 204
    await redis.restore(key, 600_000, before)
    await redis.aclose()
    assert (await me.get("/v1/jobs")).status == 401


async def test_a_token_has_scopes_and_an_end_and_is_shown_once(ann, bob, anonymous, fresh_name):
    made = await ann.post("/v1/tokens", {"name": fresh_name, "scopes": ["jobs:read", "schedules:*"], "days": 7})
    assert made.status == 201
    text = made.json["token"]
    assert text.startswith("ss_t_")
    again = await ann.get(f"/v1/tokens/{fresh_name}")
    assert "token" not in again.json
    assert again.json["scopes"] == ["jobs:read", "schedules:*"]
    program = anonymous.by(text)
    assert (await program.get("/v1/jobs")).status == 200
    assert (await program.get("/v1/schedules")).status == 200
    refused = await program.post("/v1/jobs", {"image": "alpine"})
    assert (refused.status, "jobs:write" in refused.json["detail"]) == (403, True)
    assert (await program.post("/v1/tokens", {"name": "x", "scopes": ["*"], "days": 1})).status == 403
    assert (await program.get("/v1/auth/session")).json["scopes"] == ["jobs:read", "schedules:*"]
    assert fresh_name not in (await bob.get("/v1/tokens")).text
    assert (await bob.call("DELETE", f"/v1/tokens/{again.json['id']}")).status == 404
    assert (await ann.call("DELETE", f"/v1/tokens/{fresh_name}")).status == 204
    assert (await program.get("/v1/auth/session")).status == 401


async def test_a_token_makes_none_that_may_more_or_lasts_longer(ann, anonymous, fresh_name):
    made = await ann.post("/v1/tokens", {"name": fresh_name, "scopes": ["account:write", "jobs:read"], "days": 1})
    program = anonymous.by(made.json["token"])
    for scopes, days in ((["*"], 1), (["jobs:*"], 1), (["jobs:write"], 1), (["jobs:read"], 2)):
        body = {"name": f"{fresh_name}x", "scopes": scopes, "days": days}
        assert (await program.post("/v1/tokens", body)).status == 403


async def test_an_administrators_token_without_the_scope_manages_nobody(ada, anonymous, carl, fresh_name):
    made = await ada.post("/v1/tokens", {"name": fresh_name, "scopes": ["account:write", "jobs:read"], "days": 1})
    program = anonymous.by(made.json["token"])
    for method, path, body in (
        ("PATCH", f"/v1/users/{carl}", {"role": "admin"}),
        ("PATCH", f"/v1/users/{carl}", {"password": OTHER}),
        ("PATCH", "/v1/users/ada", {"role": "user"}),
        ("POST", f"/v1/users/{carl}/logout", None),
        ("POST", "/v1/tokens", {"name": "x", "scopes": ["jobs:read"], "days": 1, "user": carl}),
        ("DELETE", f"/v1/users/{carl}", None),
        ("GET", "/v1/audit", None),
    ):
        assert (await program.call(method, path, body)).status == 403, (method, path)


async def test_an_administrator_makes_a_token_for_a_service_and_revokes_it(ada, ann, anonymous, fresh_name):
    await ada.post("/v1/users", {"username": fresh_name})
    body = {"name": "ci", "scopes": ["jobs:*"], "days": 90, "user": fresh_name}
    assert (await ann.post("/v1/tokens", body)).status == 403
    made = (await ada.post("/v1/tokens", body)).json
    assert made["user"] == fresh_name
    service = anonymous.by(made["token"])
    assert (await service.get("/v1/auth/session")).json["username"] == fresh_name
    assert (await service.submit())["user"] == fresh_name
    assert (await ada.call("DELETE", f"/v1/tokens/{made['id']}")).status == 204


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"name": "x", "scopes": ["jobs:everything"], "days": 1}, "$.scopes"),
        ({"name": "x", "scopes": [], "days": 1}, "$.scopes"),
        ({"name": "x", "scopes": ["*"], "days": 91}, "$.days"),
        ({"name": "x", "scopes": ["*"]}, "days"),
        ({"name": "", "scopes": ["*"], "days": 1}, "$.name"),
    ],
)
async def test_bad_tokens_are_refused_by_field(ann, body, path):
    answer = await ann.post("/v1/tokens", body)
    assert answer.status == 422
    assert path in answer.text


async def test_requests_of_one_token_have_a_limit_and_others_go_on(start_api, people):
    api = await start_api(requests_per_s=1, requests_burst=5)
    asked = [api.by(people.ann).get("/v1/auth/session") for _ in range(100)]  # at once: seconds that pass give more
    answers = await asyncio.gather(*asked)
    assert {answer.status for answer in answers} == {200, 429}
    assert [answer.status for answer in answers].count(200) in range(5, 50)
    refused = next(answer for answer in answers if answer.status == 429)
    assert int(refused.headers["retry-after"]) >= 1
    assert (await api.by(people.bob).get("/v1/auth/session")).status == 200
