"""Who may log in: users, their passwords and API tokens. Secrets are stored as hashes only.

Passwords are Argon2id with OWASP's smallest parameters (m=19456, t=2, p=1: 52 ms and 19 MiB per check). Tokens are 256
random bits, so a plain SHA-256 is enough to store them. Functions that take a connection are called by the supervisor
with the engine's or the owner's rights; the API's own role may only read, and renew a password's hash.
"""

import secrets
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final, Literal

import asyncpg
from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from msgspec import Struct

from swarmsync.errors import Conflict, FieldError, SpecError
from swarmsync.store.pool import Store

Role = Literal["user", "operator", "admin"]

PASSWORD_MIN: Final = 8
PASSWORD_MAX: Final = 1_024
TOKEN_DAYS_MAX: Final = 3_650
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
        role = "swarmsync_operator" if self.is_operator else "swarmsync_member"
        return {"role": role, "swarmsync__user_id": str(self.user_id)}


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


def check_password(password: str) -> None:
    """Raise SpecError for a password that may not be set."""
    if not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
        raise SpecError([FieldError("$.password", f"must have {PASSWORD_MIN} to {PASSWORD_MAX} characters")])


def new_token(kind: Literal["s", "t"]) -> tuple[str, bytes]:
    """Return a fresh session (`s`) or API (`t`) token, and the SHA-256 under which it is stored."""
    text = f"ss_{kind}_{secrets.token_urlsafe(32)}"
    return text, token_digest(text)


def token_digest(text: str) -> bytes:
    return sha256(text.encode()).digest()


async def create_user(
    connection: asyncpg.Connection, new_id: int, username: str, *, password: str | None = None, role: Role = "user"
) -> int:
    """Add a user and return the id; without a password only tokens let the user in. Raises Conflict, SpecError."""
    if password is not None:
        check_password(password)
    try:
        await connection.execute(
            "INSERT INTO users (id, username, password_hash, role) VALUES ($1, $2, $3, $4)",
            new_id,
            username,
            hash_password(password) if password is not None else None,
            role,
        )
    except asyncpg.UniqueViolationError:
        raise Conflict(f"there is a user {username!r} already") from None
    except asyncpg.CheckViolationError:
        sentence = f"{username[:64]!r} is no user name; use 1-63 of a-z, 0-9, '.', '_' and '-'"
        raise SpecError([FieldError("$.username", sentence)]) from None
    return new_id


async def set_password(connection: asyncpg.Connection, user_id: int, password: str) -> None:
    """Replace the password; every session of the user ends within 5 s."""
    check_password(password)
    await connection.execute(
        "UPDATE users SET password_hash = $2, session_epoch = session_epoch + 1 WHERE id = $1",
        user_id,
        hash_password(password),
    )


async def create_token(
    connection: asyncpg.Connection, new_id: int, user_id: int, name: str, *, days: int
) -> tuple[str, datetime]:
    """Make an API token; one of the same name is replaced. Returns the text, which is nowhere stored, and its end."""
    text, digest = new_token("t")
    expires_at = datetime.now(UTC) + timedelta(days=min(days, TOKEN_DAYS_MAX))
    await connection.execute(
        "INSERT INTO tokens (id, user_id, name, sha256, expires_at) VALUES ($1, $2, $3, $4, $5)"
        " ON CONFLICT (user_id, name) DO UPDATE SET sha256 = $4, expires_at = $5, created_at = clock_timestamp()",
        new_id,
        user_id,
        name,
        digest,
        expires_at,
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


async def user_of_token(store: Store, digest: bytes) -> tuple[User, str, datetime] | None:
    """Return whose API token this is, its name and its end; None for one that is unknown or over."""
    query = (
        "SELECT t.name, t.expires_at, t.user_id FROM tokens t WHERE t.sha256 = $1 AND t.expires_at > clock_timestamp()"
    )
    async with store.connection() as connection:
        row = await connection.fetchrow(query, digest)
        if row is None:
            return None
        user = _user(await connection.fetchrow(f"{_SELECT} WHERE id = $1", row["user_id"]))
    return (user, row["name"], row["expires_at"]) if user is not None else None


async def renew_hash(store: Store, user_id: int, old: str, new: str) -> None:
    """Store the same password under newer parameters, unless it was changed meanwhile."""
    await store.execute("UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2", user_id, old, new)


async def audit(store: Store, user_id: int | None, action: str, subject: str = "") -> None:
    """Write one line of the audit log, which nobody can change afterwards."""
    await store.execute(
        "INSERT INTO audit_log (user_id, action, subject) VALUES ($1, $2, $3)", user_id, action, subject
    )


_SELECT: Final = "SELECT id, username, role, disabled, session_epoch, password_hash FROM users"


def _user(row: Any) -> User | None:
    if row is None:
        return None
    return User(row["id"], row["username"], row["role"], row["disabled"], row["session_epoch"], row["password_hash"])
