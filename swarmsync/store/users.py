"""Who may log in: users, their passwords and API tokens. Secrets are stored as hashes only.

Passwords are Argon2id with OWASP's smallest parameters (m=19456, t=2, p=1: 52 ms and 19 MiB per check). Tokens are 256
random bits, so a plain SHA-256 is enough to store them. Functions that take a connection are called by the supervisor
with the engine's or the owner's rights; the API's own role may only read, and renew a password's hash. What people
change over the API is in `accounts.py`.
"""

import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any, Final, Literal
from zlib import crc32

import asyncpg
import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from msgspec import Struct

from swarmsync.errors import Conflict, FieldError, SpecError
from swarmsync.store.pool import Store

Role = Literal["user", "operator", "admin"]

PASSWORD_MIN: Final = 8
PASSWORD_MAX: Final = 1_024
TOKEN_DAYS_MAX: Final = 3_650
#: The scope of what may do whatever its user may.
EVERYTHING: Final = "*"
_TOKEN: Final = re.compile(r"(ss_[a-z]_[A-Za-z0-9_-]{43})_([0-9a-f]{8})")
_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
#: A hash of nobody's password: checked for unknown users, so that they take as long as known ones.
_NOBODY: Final = "$argon2id$v=19$m=19456,t=2,p=1$v4uAA/Xqjw+2fkk1wQFjbA$ppeyQnfGYOeQ/X0cC+hfwZPsRiOaHl/sqKrnTJ80Ghw"


class User(Struct, frozen=True):
    user_id: int
    username: str
    role: Role
    disabled: bool
    session_epoch: int  # sessions of an older epoch are void
    password_hash: str | None


class Caller(Struct, frozen=True):
    """Whom a request acts as. `settings` go into every transaction; row-level security does the rest."""

    user_id: int
    username: str
    role: Role

    @property
    def is_operator(self) -> bool:
        return self.role in ("operator", "admin")

    @property
    def settings(self) -> dict[str, str]:
        return {"role": _ROLES[self.role], "swarmsync__user_id": str(self.user_id)}


#: The role in PostgreSQL that a request of each kind of user takes.
_ROLES: Final[Mapping[Role, str]] = {
    "user": "swarmsync_member",
    "operator": "swarmsync_operator",
    "admin": "swarmsync_admin",
}


def hash_password(password: str) -> str:
    """Return the Argon2id hash; takes about 50 ms of CPU."""
    return _HASHER.hash(password)


def verify_password(stored: str | None, password: str) -> tuple[bool, str | None]:
    """Return whether the password is right, and a new hash when the stored one has older parameters.

    The same work is done where there is no user or no password.
    """
    try:
        _HASHER.verify(stored or _NOBODY, password)
    except (Argon2Error, InvalidHashError):
        return False, None
    if stored is None:
        return False, None
    return True, _HASHER.hash(password) if _HASHER.check_needs_rehash(stored) else None


@cache
def _common_passwords() -> frozenset[str]:
    """The 3,000 most common passwords of 8 characters and more, in small letters."""
    return frozenset(files("swarmsync.store").joinpath("common_passwords.txt").read_text().split())


def check_password(password: str, username: str = "") -> None:
    """Raise SpecError for a password that may not be set: by length, and by what is guessed first."""
    problem = ""
    if not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
        problem = f"must have {PASSWORD_MIN} to {PASSWORD_MAX} characters"
    elif password.lower() in _common_passwords():
        problem = "is one of the 3,000 most common passwords; choose several words that do not belong together"
    elif username and password.lower() == username.lower():
        problem = "is the user name; choose several words that do not belong together"
    if problem:
        raise SpecError([FieldError("$.password", problem)])


def new_token(kind: Literal["s", "t"]) -> tuple[str, bytes]:
    """Return a fresh session (`s`) or API (`t`) token, and the SHA-256 under which it is stored.

    The form is `ss_KIND_SECRET_CRC`, by which scanners and the log filter know a token; the sum catches typing errors.
    """
    body = f"ss_{kind}_{secrets.token_urlsafe(32)}"
    text = f"{body}_{crc32(body.encode()):08x}"
    return text, token_digest(text)


def well_formed(text: str) -> bool:
    """Tell whether this could be a token, without asking anybody."""
    match = _TOKEN.fullmatch(text)
    return match is not None and f"{crc32(match[1].encode()):08x}" == match[2]


def token_digest(text: str) -> bytes:
    return sha256(text.encode()).digest()


async def create_user(
    connection: asyncpg.Connection, new_id: int, username: str, *, password: str | None = None, role: Role = "user"
) -> int:
    """Add a user and return the id; without a password only tokens let the user in. Raises Conflict, SpecError."""
    if password is not None:
        check_password(password, username)
    await insert_user(connection, new_id, username, hash_password(password) if password is not None else None, role)
    return new_id


async def insert_user(
    connection: asyncpg.Connection, new_id: int, username: str, password_hash: str | None, role: Role
) -> None:
    """Raises Conflict for a name that is taken, SpecError for one that is none."""
    try:
        await connection.execute(
            "INSERT INTO users (id, username, password_hash, role) VALUES ($1, $2, $3, $4)",
            new_id,
            username,
            password_hash,
            role,
        )
    except asyncpg.UniqueViolationError:
        raise Conflict(f"there is a user {username!r} already") from None
    except asyncpg.CheckViolationError:
        sentence = f"{username[:64]!r} is no user name; use 1-63 of a-z, 0-9, '.', '_' and '-'"
        raise SpecError([FieldError("$.username", sentence)]) from None


async def set_password(connection: asyncpg.Connection, user_id: int, password: str) -> None:
    """Replace the password; every session of the user ends within 5 s."""
    check_password(password)
    await connection.execute(
        "UPDATE users SET password_hash = $2, session_epoch = session_epoch + 1 WHERE id = $1",
        user_id,
        hash_password(password),
    )


async def create_token(
    connection: asyncpg.Connection,
    new_id: int,
    user_id: int,
    name: str,
    *,
    days: int,
    scopes: Sequence[str] = (EVERYTHING,),
) -> tuple[str, datetime]:
    """Make an API token; one of the same name is replaced. Returns the text, which is nowhere stored, and its end."""
    text, digest = new_token("t")
    expires_at = datetime.now(UTC) + timedelta(days=min(days, TOKEN_DAYS_MAX))
    await connection.execute(
        "INSERT INTO tokens (id, user_id, name, sha256, expires_at, scopes) VALUES ($1, $2, $3, $4, $5, $6)"
        " ON CONFLICT (user_id, name) DO UPDATE SET sha256 = $4, expires_at = $5, scopes = $6,"
        " created_at = clock_timestamp()",
        new_id,
        user_id,
        name,
        digest,
        expires_at,
        list(scopes),
    )
    return text, expires_at


async def find_user(connection: asyncpg.Connection, username: str) -> User | None:
    return _user(await connection.fetchrow(f"{_SELECT} WHERE username = $1", username))


async def user_named(store: Store, username: str) -> User | None:
    async with store.connection() as connection:
        return await find_user(connection, username)


async def user_of(store: Store, user_id: int) -> User | None:
    async with store.connection() as connection:
        return _user(await connection.fetchrow(f"{_SELECT} WHERE id = $1", user_id))


async def user_of_session(store: Store, user_id: int, digest: bytes) -> User | None:
    """Return whose session this is; None where the user is gone or the session was ended."""
    ended = "SELECT FROM ended_sessions WHERE sha256 = $2"
    async with store.connection() as connection:
        return _user(await connection.fetchrow(f"{_SELECT} WHERE id = $1 AND NOT EXISTS ({ended})", user_id, digest))


class FoundToken(Struct, frozen=True):
    user: User
    name: str
    scopes: frozenset[str]
    expires_at: datetime


async def user_of_token(store: Store, digest: bytes) -> FoundToken | None:
    """Return whose API token this is, and what it may; None for one that is unknown or over."""
    query = (
        "SELECT t.name, t.scopes, t.expires_at, t.user_id FROM tokens t"
        " WHERE t.sha256 = $1 AND t.expires_at > clock_timestamp()"
    )
    async with store.connection() as connection:
        row = await connection.fetchrow(query, digest)
        if row is None:
            return None
        user = _user(await connection.fetchrow(f"{_SELECT} WHERE id = $1", row["user_id"]))
    return None if user is None else FoundToken(user, row["name"], frozenset(row["scopes"]), row["expires_at"])


async def end_session(store: Store, digest: bytes, ends_at: datetime) -> None:
    """Note that a session is over, so that no older copy of Redis brings it back."""
    async with store.transaction() as connection:
        await connection.execute("DELETE FROM ended_sessions WHERE ends_at < clock_timestamp()")
        await connection.execute(
            "INSERT INTO ended_sessions (sha256, ends_at) VALUES ($1, $2) ON CONFLICT DO NOTHING", digest, ends_at
        )


async def renew_hash(store: Store, user_id: int, old: str, new: str) -> None:
    """Store the same password under newer parameters, unless it was changed meanwhile."""
    await store.execute("UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2", user_id, old, new)


async def audit(
    store: Store, user_id: int | None, action: str, subject: str = "", detail: Mapping[str, str] | None = None
) -> None:
    """Write one line of the audit log, which nobody can change afterwards."""
    await store.execute(
        "INSERT INTO audit_log (user_id, action, subject, detail) VALUES ($1, $2, $3, $4)",
        user_id,
        action,
        subject,
        msgspec.json.encode(detail or {}).decode(),
    )


_SELECT: Final = "SELECT id, username, role, disabled, session_epoch, password_hash FROM users"


def _user(row: Any) -> User | None:
    if row is None:
        return None
    return User(row["id"], row["username"], row["role"], row["disabled"], row["session_epoch"], row["password_hash"])
