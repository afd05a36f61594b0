import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from swarmsync.ids import IdSource
from swarmsync.store import users

pytestmark = pytest.mark.integration
PASSWORD = "a password of its own"


@pytest.fixture
async def carl(engine, fresh_name):
    """A user whom nobody else's failures slow down."""
    source = IdSource(1022, lambda: int(datetime.now(UTC).timestamp() * 1000))
    await users.create_user(engine.sql, source.next(), fresh_name, password=PASSWORD)
    return fresh_name


async def login(api, username, password=PASSWORD):
    return await api.post("/v1/auth/login", {"username": username, "password": password})


async def test_a_session_from_login_to_log_out(anonymous, carl):
    answer = await login(anonymous, carl)
    assert answer.status == 200
    token = answer.json["token"]
    assert token.startswith("ss_s_")
    me = await anonymous.by(token).get("/v1/auth/session")
    assert (me.json["username"], me.json["role"], me.json["kind"]) == (carl, "user", "session")
    assert me.json["expires_at"] == answer.json["expires_at"]
    assert (await anonymous.by(token).call("DELETE", "/v1/auth/session")).status == 204
    assert (await anonymous.by(token).get("/v1/auth/session")).status == 401


async def test_only_the_hash_of_a_session_is_stored(anonymous, carl, servers):
    from swarmsync.store.sessions import open_redis

    token = (await login(anonymous, carl)).json["token"]
    redis = open_redis(servers.redis_url)
    try:
        keys = [key async for key in redis.scan_iter("swarmsync:session:*")]
        values = [await redis.get(key) for key in keys]
    finally:
        await redis.aclose()
    assert f"swarmsync:session:{users.token_digest(token).hex()}".encode() in keys
    assert token[5:].encode() not in b"".join([*keys, *(value or b"" for value in values)])


async def test_wrong_passwords_unknown_and_disabled_users_get_the_same_answer(anonymous, carl, engine):
    wrong = await login(anonymous, carl, "something else")
    unknown = await login(anonymous, f"{carl}x")
    await engine.sql.execute("UPDATE users SET disabled = true WHERE username = $1", carl)
    disabled = await login(anonymous, carl)
    assert {answer.status for answer in (wrong, unknown, disabled)} == {401}
    assert wrong.content == unknown.content == disabled.content
    assert wrong.headers["www-authenticate"].startswith("Bearer")


async def test_after_five_failures_an_account_is_slowed_down(anonymous, carl):
    assert [(await login(anonymous, carl, "wrong password")).status for _ in range(6)] == [401] * 6
    refused = await login(anonymous, carl)
    assert refused.status == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 2


async def test_guesses_at_the_same_time_count_all(anonymous, carl):
    answers = await asyncio.gather(*(login(anonymous, carl, "wrong password") for _ in range(12)))
    assert sorted(answer.status for answer in answers) == [401] * 6 + [429] * 6


async def test_a_success_forgets_the_failures(anonymous, carl):
    for _ in range(4):
        await login(anonymous, carl, "wrong password")
    assert (await login(anonymous, carl)).status == 200
    assert [(await login(anonymous, carl, "wrong password")).status for _ in range(5)] == [401] * 5


async def test_a_new_password_ends_the_sessions(anonymous, carl, engine):
    token = (await login(anonymous, carl)).json["token"]
    user = await users.find_user(engine.sql, carl)
    await users.set_password(engine.sql, user.user_id, "another password")
    assert (await anonymous.by(token).get("/v1/jobs")).status == 401
    assert (await login(anonymous, carl)).status == 401
    assert (await login(anonymous, carl, "another password")).status == 200


async def test_an_api_token_ends_at_its_time_and_with_its_user(anonymous, carl, engine):
    user = await users.find_user(engine.sql, carl)
    token, _ = await users.create_token(engine.sql, user.user_id + 1, user.user_id, "laptop", days=1)
    me = await anonymous.by(token).get("/v1/auth/session")
    assert (me.json["kind"], me.json["name"]) == ("token", "laptop")
    assert (await anonymous.by(token).call("DELETE", "/v1/auth/session")).status == 409
    fresh, _ = await users.create_token(engine.sql, user.user_id + 2, user.user_id, "old", days=1)
    past = datetime.now(UTC) - timedelta(seconds=1)
    await engine.sql.execute("UPDATE tokens SET expires_at = $1 WHERE name = 'old'", past)
    assert (await anonymous.by(fresh).get("/v1/auth/session")).status == 401


async def test_a_token_of_the_same_name_replaces_the_older_one(anonymous, carl, engine):
    user = await users.find_user(engine.sql, carl)
    older, _ = await users.create_token(engine.sql, user.user_id + 1, user.user_id, "local", days=1)
    newer, _ = await users.create_token(engine.sql, user.user_id + 2, user.user_id, "local", days=1)
    assert (await anonymous.by(older).get("/v1/jobs")).status == 401
    assert (await anonymous.by(newer).get("/v1/jobs")).status == 200


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Basic YTpi",
        "ss_t_abc",
        "Bearer ss_t_" + "A" * 43,
        "Bearer ss_s_" + "A" * 43,
    ],
)
async def test_without_a_valid_token_there_is_no_way_in(anonymous, header):
    for path in ("/v1/jobs", "/v1/workers", "/v1/events", "/v1/logs", "/metrics", "/v1/openapi.json"):
        answer = await anonymous.call("GET", path, headers={"Authorization": header} if header else {})
        assert answer.status == 401
        assert "www-authenticate" in answer.headers


async def test_a_token_in_the_address_is_not_taken(anonymous, people):
    assert (await anonymous.get(f"/v1/jobs?token={people.ann.token}")).status == 401


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/logs"),
        ("POST", "/v1/logs"),
        ("GET", "/v1/logs/0000000000001"),
        ("DELETE", "/v1/logs/0000000000001"),
        ("POST", "/v1/workers/w1/cordon"),
        ("POST", "/v1/workers/w1/uncordon"),
        ("GET", "/metrics"),
    ],
)
async def test_what_is_for_operators_is_not_for_users(ann, method, path):
    assert (await ann.call(method, path)).status == 403


@pytest.mark.parametrize(
    ("username", "password"), [("Upper Case", PASSWORD), ("-dash", PASSWORD), ("", PASSWORD), ("fine", "short")]
)
async def test_users_need_a_plain_name_and_a_long_password(engine, username, password):
    from swarmsync.errors import SpecError

    with pytest.raises(SpecError):
        await users.create_user(engine.sql, 1, username, password=password)


async def test_a_user_name_is_given_once(engine, carl):
    from swarmsync.errors import Conflict

    with pytest.raises(Conflict):
        await users.create_user(engine.sql, 2, carl)
