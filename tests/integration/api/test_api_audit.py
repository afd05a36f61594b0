import pytest

pytestmark = pytest.mark.integration
PASSWORD = "a password of its own"


@pytest.fixture
async def carl(ada, fresh_name):
    assert (await ada.post("/v1/users", {"username": fresh_name, "password": PASSWORD})).status == 201
    return fresh_name


async def said(ada, **filters):
    """Return (action, subject, detail) of the newest entries."""
    query = "&".join(f"{name}={value}" for name, value in filters.items())
    items = (await ada.get(f"/v1/audit?{query}")).json["items"]
    return [(item["action"], item["subject"], item["detail"]) for item in items]


async def test_logins_good_and_bad_are_noted_with_their_address(anonymous, ada, carl):
    far = anonymous.at("192.0.2.7")
    for password in ("wrong password", PASSWORD):
        await far.post("/v1/auth/login", {"username": carl, "password": password})
    assert await said(ada, user=carl) == [
        ("login", "", {"address": "192.0.2.7", "how": "password"}),
        ("login refused", "", {"address": "192.0.2.7", "how": "password"}),
    ]


async def test_a_name_that_nobody_has_is_not_written_down(anonymous, ada):
    """It may be a password, typed into the wrong field."""
    await anonymous.post("/v1/auth/login", {"username": "hunter2 my password", "password": "x"})
    newest = (await ada.get("/v1/audit?limit=1")).json["items"][0]
    assert (newest["action"], newest["user"]) == ("login refused", None)
    assert "hunter2" not in (await ada.get("/v1/audit?limit=1000")).text


async def test_what_is_denied_is_noted_once_a_minute(anonymous, ada, carl):
    login = await anonymous.post("/v1/auth/login", {"username": carl, "password": PASSWORD})
    me = anonymous.by(login.json["token"])
    for _ in range(3):
        assert (await me.post("/v1/users", {"username": "x"})).status == 403
    (denied,) = await said(ada, user=carl, action="denied")
    assert denied[1] == "POST /v1/users"
    assert denied[2]["because"] == "this is for administrators"


async def test_changes_of_users_tokens_and_workers_are_noted(ada, oscar, anonymous, engine, carl, fresh_name):
    await engine.worker()
    await ada.call("PATCH", f"/v1/users/{carl}", {"role": "operator", "password": "another password"})
    made = await ada.post("/v1/tokens", {"name": fresh_name, "scopes": ["jobs:read"], "days": 1, "user": carl})
    await ada.call("DELETE", f"/v1/tokens/{made.json['id']}")
    await oscar.post("/v1/workers/w1/cordon")
    await oscar.post("/v1/workers/w1/uncordon")
    await ada.call("DELETE", f"/v1/users/{carl}")
    actions = [(action, subject) for action, subject, _ in await said(ada, limit=9)]
    for expected in (
        ("user created", carl),
        ("user changed", carl),
        ("token created", fresh_name),
        ("token revoked", fresh_name),
        ("worker cordoned", "w1"),
        ("worker open", "w1"),
        ("user deleted", carl),
    ):
        assert expected in actions
    text = (await ada.get("/v1/audit?limit=1000")).text
    assert "another password" not in text
    assert made.json["token"] not in text


async def test_the_chain_is_checked_over_the_api(ada, carl):
    whole = (await ada.get("/v1/audit/verify")).json
    assert whole["ok"] is True
    assert whole["wrong"] == ""
    part = (await ada.get("/v1/audit/verify?limit=1")).json
    assert (part["seq"], part["more"]) == (1, True)
    rest = (await ada.get(f"/v1/audit/verify?after=1&hash={part['hash']}")).json
    assert (rest["ok"], rest["hash"]) == (True, whole["hash"])
    wrong = (await ada.get(f"/v1/audit/verify?after=1&hash={'00' * 32}")).json
    assert (wrong["ok"], wrong["wrong"]) == (False, "entry 2 was changed")


async def test_pages_of_the_audit_log_lead_through_all(ada, carl):
    seen, cursor = [], ""
    newest = (await ada.get("/v1/audit?limit=1")).json["items"][0]["seq"]
    while cursor is not None and len(seen) < 40:
        page = (await ada.get(f"/v1/audit?limit=7&cursor={cursor}")).json
        seen += [item["seq"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert seen == list(range(newest, newest - len(seen), -1))


@pytest.mark.parametrize("path", ["/v1/audit", "/v1/audit/verify"])
async def test_the_log_is_for_administrators(ann, oscar, path):
    assert (await ann.get(path)).status == (await oscar.get(path)).status == 403


@pytest.mark.parametrize(
    "query", ["cursor=x", "cursor=-1", "limit=0", "limit=1001", "since=yesterday", "after=1", "nothing=1"]
)
async def test_bad_questions_are_400(ada, query):
    path = "/v1/audit/verify" if query.startswith("after") else "/v1/audit"
    assert (await ada.get(f"{path}?{query}")).status == 400
