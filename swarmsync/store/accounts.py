"""Users as people manage them over the API, each statement under the caller's own rights.

Row-level security shows a user the own row, operators all, and lets nobody but an administrator change another's.
"""

from typing import Any, Final

import asyncpg

from swarmsync.errors import Conflict
from swarmsync.store.lists import Row
from swarmsync.store.pool import Store
from swarmsync.store.users import Caller, Role, insert_user

_SELECT: Final = "SELECT id, username, role, disabled, created_at FROM users"
_END_SESSIONS: Final = "UPDATE users SET session_epoch = session_epoch + 1 WHERE id = $1"


async def page(store: Store, caller: Caller, *, after: str, limit: int) -> list[Row]:
    """Return up to `limit` + 1 users by name, as far as the caller sees them."""
    query = f"{_SELECT} WHERE username > $1 AND (id = $3 OR $4) ORDER BY username LIMIT $2"
    rows: list[Row] = await store.fetch(query, after, limit + 1, caller.user_id, caller.is_operator, **caller.settings)
    return rows


async def one(store: Store, caller: Caller, *, user_id: int | None, username: str) -> Row | None:
    query = f"{_SELECT} WHERE (id = $1 OR username = $2) AND (id = $3 OR $4) ORDER BY username = $2 DESC LIMIT 1"
    row: Row | None = await store.fetchrow(
        query, user_id, username, caller.user_id, caller.is_operator, **caller.settings
    )
    return row


async def create(
    store: Store, caller: Caller, new_id: int, username: str, password_hash: str | None, role: Role
) -> None:
    """Raises Conflict for a name that is taken, SpecError for one that is none."""
    await store.run(lambda c: insert_user(c, new_id, username, password_hash, role), **caller.settings)


async def change(store: Store, caller: Caller, user_id: int, changes: dict[str, Any]) -> None:
    """Set role, disabled or password_hash; whoever is disabled or gets a new password is logged out everywhere.

    Raises Conflict when no administrator who may log in would be left.
    """
    ends_sessions = "password_hash" in changes or changes.get("disabled", False)

    async def work(connection: asyncpg.Connection) -> None:
        if changes.get("disabled") or changes.get("role", "admin") != "admin":
            await _keep_one_admin(connection, user_id)
        if "role" in changes or "disabled" in changes:
            query = "UPDATE users SET role = COALESCE($2, role), disabled = COALESCE($3, disabled) WHERE id = $1"
            await connection.execute(query, user_id, changes.get("role"), changes.get("disabled"))
        if "password_hash" in changes:
            await connection.execute(
                "UPDATE users SET password_hash = $2 WHERE id = $1", user_id, changes["password_hash"]
            )
        if ends_sessions:
            await connection.execute(_END_SESSIONS, user_id)

    await store.run(work, **caller.settings)


async def end_sessions(store: Store, caller: Caller, user_id: int) -> None:
    """Log a user out everywhere; API tokens stay."""
    await store.run(lambda c: c.execute(_END_SESSIONS, user_id), **caller.settings)


async def remove(store: Store, caller: Caller, user_id: int) -> None:
    """Delete a user who owns nothing. Raises Conflict for one who does, and for the last administrator."""

    async def work(connection: asyncpg.Connection) -> None:
        await _keep_one_admin(connection, user_id)
        jobs = await connection.fetchval(
            "SELECT count(*) FROM (SELECT FROM jobs WHERE user_id = $1 AND array_id IS NULL LIMIT 1000) AS mine",
            user_id,
        )
        schedules = await connection.fetchval("SELECT count(*) FROM schedules WHERE user_id = $1", user_id)
        if jobs or schedules:
            raise Conflict(
                f"this user has {jobs}{'+' if jobs == 1000 else ''} jobs and {schedules} schedules;"
                " delete them first, or disable the user"
            )
        await connection.execute("DELETE FROM users WHERE id = $1", user_id)

    await store.run(work, **caller.settings)


async def _keep_one_admin(connection: asyncpg.Connection, user_id: int) -> None:
    rows = await connection.fetch("SELECT id FROM users WHERE role = 'admin' AND NOT disabled ORDER BY id FOR UPDATE")
    if [row["id"] for row in rows] == [user_id]:
        raise Conflict("this is the last administrator who may log in; make another one first")
