import asyncio
import base64
import secrets

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from swarmsync.protocol import challenge
from swarmsync.store.sessions import open_redis

pytestmark = pytest.mark.integration
PASSWORD = "a password of its own"
URL = "http://127.0.0.1:8420"


@pytest.fixture
async def carl(ada, fresh_name):
    assert (await ada.post("/v1/users", {"username": fresh_name, "password": PASSWORD})).status == 201
    return fresh_name


@pytest.fixture
async def key(anonymous, carl):
    """A key that logs carl in."""
    made = Ed25519PrivateKey.generate()
    answer = await anonymous.post("/v1/auth/login", {"username": carl, "password": PASSWORD})
    added = await anonymous.by(answer.json["token"]).post("/v1/keys", enrolment(made))
    assert added.status == 201, added.text
    return made


def public_of(key):
    return key.public_key().public_bytes_raw()


def enrolment(key, **more):
    public = public_of(key) if isinstance(key, Ed25519PrivateKey) else key
    return {"name": "laptop", "public_key": base64.b64encode(public).decode(), "password": PASSWORD, **more}


async def ask(api, username, key):
    answer = await api.post("/v1/auth/challenge", {"username": username, "key_id": challenge.key_id(public_of(key))})
    assert answer.status == 200, answer.text
    return answer.json


def sign(key, asked, **other):
    parts = {
        "server_id": asked["server_id"],
        "url": URL,
        "named_key": challenge.key_id(public_of(key)),
        "nonce": asked["nonce"],
        "expires_at": asked["expires_at"],
        **other,
    }
    return signed(asked, key.sign(challenge.message(**parts)))


def signed(asked, signature):
    return {"challenge_id": asked["challenge_id"], "signature": base64.b64encode(signature).decode()}


async def verify(api, body):
    return await api.post("/v1/auth/verify", body)


async def test_a_key_logs_in_and_a_removed_one_does_not(anonymous, carl, key):
    answer = await verify(anonymous, sign(key, await ask(anonymous, carl, key)))
    assert answer.status == 200
    me = anonymous.by(answer.json["token"])
    assert (await me.get("/v1/auth/session")).json["username"] == carl
    assert (await me.get("/v1/auth/sessions")).json["items"][0]["how"] == "key"
    (listed,) = (await me.get("/v1/keys")).json["items"]
    assert listed["key_id"] == challenge.key_id(public_of(key))
    assert (await me.call("DELETE", "/v1/keys/laptop")).status == 204
    assert (await verify(anonymous, sign(key, await ask(anonymous, carl, key)))).status == 401


async def test_a_hundred_uses_of_one_signed_challenge_give_one_token(anonymous, start_api, carl, key):
    other = await start_api(server_id="tests")
    body = sign(key, await ask(anonymous, carl, key))
    answers = await asyncio.gather(*(verify((anonymous, other)[number % 2], body) for number in range(100)))
    assert sorted(answer.status for answer in answers) == [200] + [401] * 99
    assert (await verify(anonymous, body)).status == 401


async def test_only_the_right_words_signed_by_the_right_key_for_this_core_let_in(anonymous, carl, key):
    stranger = Ed25519PrivateKey.generate()

    async def attempt(make):
        asked = await ask(anonymous, carl, key)
        return (await verify(anonymous, make(asked))).status

    def flipped(asked):
        good = base64.b64decode(sign(key, asked)["signature"])
        return signed(asked, bytes((good[0] ^ 1,)) + good[1:])

    refused = [
        lambda asked: sign(key, asked, url="http://evil.example"),
        lambda asked: sign(key, asked, url="https://127.0.0.1:8420"),
        lambda asked: sign(key, asked, server_id="another"),
        lambda asked: sign(key, asked, nonce="another"),
        lambda asked: sign(key, asked, expires_at="2099-01-01T00:00:00.000000Z"),
        lambda asked: sign(key, asked, named_key="0" * 32),
        lambda asked: signed(asked, stranger.sign(b"x")),
        lambda asked: signed(asked, key.sign(asked["nonce"].encode())),
        flipped,
        lambda asked: signed(asked, bytes(64)),
        lambda asked: signed(asked, b"x"),
        lambda asked: {"challenge_id": asked["challenge_id"], "signature": "!!!"},
        lambda asked: {**sign(key, asked), "challenge_id": "unknown"},
    ]
    assert [await attempt(make) for make in refused] == [401] * len(refused)
    assert await attempt(lambda asked: sign(key, asked)) == 200


async def test_a_wrong_signature_uses_the_challenge_up(anonymous, carl, key):
    asked = await ask(anonymous, carl, key)
    assert (await verify(anonymous, signed(asked, bytes(64)))).status == 401
    assert (await verify(anonymous, sign(key, asked))).status == 401


async def test_a_challenge_ends_after_a_minute(anonymous, carl, key, servers):
    asked = await ask(anonymous, carl, key)
    name = f"swarmsync:once:challenge:{asked['challenge_id']}"
    redis = open_redis(servers.redis_url)
    try:
        assert 0 < await redis.ttl(name) <= 60
        kept = (await redis.get(name)).decode().replace(asked["expires_at"], "2020-01-01T00:00:00.000000Z")
        await redis.set(name, kept)  # as one that Redis has kept too long
    finally:
        await redis.aclose()
    late = {**asked, "expires_at": "2020-01-01T00:00:00.000000Z"}
    assert (await verify(anonymous, sign(key, late))).status == 401


async def test_users_and_keys_that_do_not_exist_get_a_challenge_that_looks_the_same(anonymous, carl, key):
    stranger = Ed25519PrivateKey.generate()
    known = await ask(anonymous, carl, key)
    for username, other in ((carl, stranger), (f"{carl}x", key)):
        asked = await ask(anonymous, username, other)
        assert asked.keys() == known.keys()
        assert {name: len(value) for name, value in asked.items()} == {k: len(v) for k, v in known.items()}
        unknown = await verify(anonymous, sign(other, asked))
        wrong = await verify(anonymous, signed(await ask(anonymous, carl, key), bytes(64)))
        assert unknown.status == 401
        assert unknown.content == wrong.content


async def test_another_users_name_does_not_come_with_my_key(anonymous, carl, key):
    assert (await verify(anonymous, sign(key, await ask(anonymous, "ada", key)))).status == 401


async def test_a_disabled_user_has_no_use_of_a_key(anonymous, ada, carl, key):
    await ada.call("PATCH", f"/v1/users/{carl}", {"disabled": True})
    assert (await verify(anonymous, sign(key, await ask(anonymous, carl, key)))).status == 401


async def test_the_owner_logs_in_by_key_while_the_password_is_being_guessed(anonymous, carl, key):
    guesses = [
        anonymous.post("/v1/auth/login", {"username": carl, "password": secrets.token_hex(8)}) for _ in range(40)
    ]
    running = asyncio.gather(*guesses)
    async with asyncio.timeout(60):
        answer = await verify(anonymous, sign(key, await ask(anonymous, carl, key)))
    assert answer.status == 200
    assert [a.status for a in await running].count(429) >= 30


async def test_a_new_key_needs_the_password_again(anonymous, carl):
    answer = await anonymous.post("/v1/auth/login", {"username": carl, "password": PASSWORD})
    me = anonymous.by(answer.json["token"])
    fresh = Ed25519PrivateKey.generate()
    for password in (None, "wrong password"):
        refused = await me.post("/v1/keys", enrolment(fresh, password=password))
        assert (refused.status, refused.wrong_paths) == (422, ["$.password"])
    assert (await me.get("/v1/keys")).json["items"] == []
    assert (await me.post("/v1/keys", enrolment(fresh))).status == 201
    assert (await me.post("/v1/keys", enrolment(fresh, name="again"))).status == 409
    assert (await me.post("/v1/keys", enrolment(Ed25519PrivateKey.generate()))).status == 409


@pytest.mark.parametrize(
    "public",
    [b"", b"short", bytes(33), bytes(32), b"\x01" + bytes(31), bytes(31) + b"\x80", b"\xec" + b"\xff" * 30 + b"\x7f"],
)
async def test_what_is_no_key_is_not_enrolled(anonymous, ann, public):
    refused = await ann.post("/v1/keys", enrolment(public, password="correct horse battery"))
    assert (refused.status, refused.wrong_paths) in ((422, ["$.public_key"]), (422, ["$"]))


async def test_a_key_of_another_user_cannot_be_seen_or_removed(anonymous, bob, carl, key, ada):
    (item,) = [item for item in (await ada.get("/v1/keys?limit=1000")).json["items"] if item["user"] == carl]
    assert carl not in (await bob.get("/v1/keys")).text
    for method in ("GET", "DELETE"):
        assert (await bob.call(method, f"/v1/keys/{item['id']}")).status == 404
    assert (await ada.get(f"/v1/keys/{item['id']}")).json["user"] == carl


async def test_an_administrator_enrols_a_key_for_a_service(anonymous, ada, ann, fresh_name):
    await ada.post("/v1/users", {"username": fresh_name})
    service = Ed25519PrivateKey.generate()
    body = enrolment(service, user=fresh_name, password="correct horse battery")
    assert (await ann.post("/v1/keys", body)).status == 403
    assert (await ada.post("/v1/keys", body)).json["user"] == fresh_name
    assert (await verify(anonymous, sign(service, await ask(anonymous, fresh_name, service)))).status == 200


async def test_challenges_of_one_address_have_a_limit_of_their_own(start_api, servers, carl, key):
    api = await start_api(tries_per_address=3)
    redis = open_redis(servers.redis_url)
    stale = [name async for name in redis.scan_iter("swarmsync:tries:*")]
    await redis.delete(*stale, "none")
    await redis.aclose()
    body = {"username": carl, "key_id": challenge.key_id(public_of(key))}
    statuses = [(await api.post("/v1/auth/challenge", body)).status for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    login = await api.post("/v1/auth/login", {"username": carl, "password": PASSWORD})
    assert login.status == 200
