"""The audit log as administrators read it, and the check of its chain: each hash covers a row and the hash before it.

The hash is recomputed here from what the row says now, in the words of migration 0008. Whoever can rewrite every row
and the head as well can make a chain that fits; a head that was written down elsewhere shows that too.
"""

from datetime import datetime
from hashlib import sha256
from typing import Final

import asyncpg
from msgspec import Struct

from swarmsync.clock import rfc3339
from swarmsync.store.lists import Conditions, Row
from swarmsync.store.pool import Store
from swarmsync.store.users import Caller

FIRST: Final = bytes(32)
_SELECT: Final = """
SELECT a.seq, a.at, a.user_id, u.username, a.action, a.subject, a.detail, a.hash
FROM audit_log a LEFT JOIN users u ON u.id = a.user_id
"""


class AuditFilter(Struct, frozen=True):
    """Which entries a list shows; None is no condition."""

    limit: int
    before_seq: int | None = None
    username: str | None = None
    action: str | None = None
    since: datetime | None = None


class Checked(Struct, frozen=True):
    """`wrong` says what does not fit, empty where all does; `seq` and `hash` are the last that fitted."""

    entries: int
    seq: int
    hash: bytes
    more: bool
    wrong: str


async def page(store: Store, caller: Caller, wanted: AuditFilter) -> list[Row]:
    """Return up to `limit` + 1 entries, newest first."""
    where = Conditions()
    where.add("a.seq < $", wanted.before_seq)
    where.add("a.user_id = (SELECT id FROM users WHERE username = $)", wanted.username)
    where.add("a.action = $", wanted.action)
    where.add("a.at >= $", wanted.since)
    query = f"{_SELECT} {where.clause} ORDER BY a.seq DESC LIMIT {wanted.limit + 1:d}"
    rows: list[Row] = await store.fetch(query, *where.values, **caller.settings)
    return rows


def entry_hash(before: bytes, row: Row) -> bytes:
    """Return what the hash of a row must be after the hash of the row before it."""
    user = "" if row["user_id"] is None else str(row["user_id"])
    parts = [str(row["seq"]), rfc3339(row["at"]) or "", user, row["action"], row["subject"], row["detail"]]
    return sha256(before + "".join(f"{len(part.encode())}:{part}" for part in parts).encode()).digest()


async def check(store: Store, caller: Caller, *, after: int, after_hash: bytes, limit: int) -> Checked:
    """Recompute up to `limit` entries behind number `after`, whose hash is `after_hash`."""

    async def work(connection: asyncpg.Connection) -> Checked:
        rows = await connection.fetch(
            "SELECT seq, at, user_id, action, subject, detail, hash FROM audit_log WHERE seq > $1"
            " ORDER BY seq LIMIT $2",
            after,
            limit,
        )
        head = await connection.fetchrow("SELECT seq, hash FROM audit_head")
        return judge(rows, (head["seq"], head["hash"]), after=after, after_hash=after_hash, limit=limit)

    return await store.run(work, **caller.settings)


def judge(rows: list[Row], head: tuple[int, bytes], *, after: int, after_hash: bytes, limit: int) -> Checked:
    """Compare rows in order with what their hashes must be, and the last of all with the head."""
    seq, last = after, after_hash
    for count, row in enumerate(rows):
        if row["seq"] != seq + 1:
            return Checked(count, seq, last, more=False, wrong=f"entry {seq + 1} is missing")
        if row["hash"] != entry_hash(last, row):
            return Checked(count, seq, last, more=False, wrong=f"entry {row['seq']} was changed")
        seq, last = row["seq"], row["hash"]
    if len(rows) == limit and seq < head[0]:
        return Checked(len(rows), seq, last, more=True, wrong="")
    if head[0] > seq:
        return Checked(len(rows), seq, last, more=False, wrong=f"entries {seq + 1} to {head[0]} are missing")
    if head != (seq, last):
        return Checked(len(rows), seq, last, more=False, wrong=f"the head does not fit entry {seq}")
    return Checked(len(rows), seq, last, more=False, wrong="")
