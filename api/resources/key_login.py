"""`/v1/auth/challenge` and `verify`: logging in with an Ed25519 key. Passwords guessed wrong never get in its way."""

import base64
import binascii
import secrets
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Meta, Struct

from api.access import Access
from api.endpoint import Call, Resource, endpoint
from api.resources.auth import LoggedIn, begin_session, take_address
from swarmsync.clock import rfc3339
from swarmsync.errors import NotLoggedIn
from swarmsync.protocol import challenge
from swarmsync.store import credentials

LIFE_S: Final = 60
#: Checked for keys that nobody has, so that they take as long as known ones.
_NOBODYS: Final = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")


class Wanted(Struct, frozen=True, forbid_unknown_fields=True):
    username: Annotated[str, Meta(min_length=1, max_length=256)]
    key_id: Annotated[str, Meta(min_length=1, max_length=128)]


class ChallengeDocument(Struct, frozen=True):
    """What the key signs; the address of Core is added by who signs, and is the one that it knows."""

    challenge_id: str
    nonce: str
    server_id: str
    expires_at: str


class Signed(Struct, frozen=True, forbid_unknown_fields=True):
    """`signature` is Base64."""

    challenge_id: Annotated[str, Meta(min_length=1, max_length=128)]
    signature: Annotated[str, Meta(min_length=1, max_length=256)]


class _Open(Struct, frozen=True):
    """A challenge that nobody has answered yet."""

    username: str
    key_id: str
    nonce: str
    expires_at: str


class Challenge(Resource):
    @endpoint(Access.PUBLIC, "Ask for a challenge to sign with a key", body=Wanted, answer=ChallengeDocument)
    async def on_post(self, call: Call) -> Any:
        """Users and keys that do not exist get one too."""
        wanted = await call.document(Wanted)
        await take_address(call, "key")
        name, nonce = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        expires_at = rfc3339(datetime.now(UTC) + timedelta(seconds=LIFE_S)) or ""
        kept = msgspec.json.encode(_Open(wanted.username, wanted.key_id, nonce, expires_at))
        await call.services.sessions.put_once(f"challenge:{name}", kept, LIFE_S)
        return ChallengeDocument(name, nonce, call.services.config.server_id, expires_at)


class Verify(Resource):
    @endpoint(Access.PUBLIC, "Log in with the signed challenge", body=Signed, answer=LoggedIn)
    async def on_post(self, call: Call) -> Any:
        """Take the challenge before looking at the signature: it is good for one try, right or wrong."""
        signed = await call.document(Signed)
        services = call.services
        kept = await services.sessions.take_once(f"challenge:{signed.challenge_id}")
        if kept is None:
            raise _refused()
        asked = msgspec.json.decode(kept, type=_Open)
        found = await credentials.login_key(services.store, asked.username, asked.key_id)
        user, name, public_key = found or (None, "", _NOBODYS)
        right = _is_signed(call, asked, public_key, signed.signature)
        over = datetime.fromisoformat(asked.expires_at) <= datetime.now(UTC)
        if user is None or user.disabled or over or not right:
            await call.audit("login refused", user_id=user.user_id if user else None, how="key", key=name)
            raise _refused()
        return await begin_session(call, user, "key", key=name)


def _is_signed(call: Call, asked: _Open, public_key: bytes, text: str) -> bool:
    """Tell whether the key signed this challenge for one of this Core's own addresses."""
    try:
        signature = base64.b64decode(text, validate=True)
        key = Ed25519PublicKey.from_public_bytes(public_key)
    except (binascii.Error, ValueError):
        return False
    right = False
    for url in call.services.config.audiences:
        content = challenge.message(
            server_id=call.services.config.server_id,
            url=url,
            named_key=asked.key_id,
            nonce=asked.nonce,
            expires_at=asked.expires_at,
        )
        try:
            key.verify(signature, content)
        except InvalidSignature:
            continue
        right = True
    return right


def _refused() -> NotLoggedIn:
    return NotLoggedIn(
        "the challenge is unknown, used or over, or it is not signed by a key of this user for this Core"
    )
