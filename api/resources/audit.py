"""`/v1/audit`: who did what to whom, for administrators; and whether anybody has touched that log."""

from datetime import UTC, datetime
from typing import Annotated, Any

from msgspec import Meta, Struct

from api import documents, query_strings
from api.access import Access
from api.answers.pages import Page
from api.answers.system import AuditEntry
from api.endpoint import Call, Resource, endpoint
from api.query_strings import QueryError
from swarmsync.clock import rfc3339
from swarmsync.store import audit_log
from swarmsync.store.audit_log import FIRST, AuditFilter
from swarmsync.store.lists import Row

_SEQ_MAX = (1 << 63) - 2


class AuditQuery(Struct, frozen=True, forbid_unknown_fields=True):
    user: str = ""
    action: str = ""
    since: str = ""
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 100
    cursor: str = ""


class CheckQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Goes on behind entry `after`, whose hash was `hash`; from the first entry where they are not given."""

    after: Annotated[int, Meta(ge=0, le=_SEQ_MAX)] = 0
    hash: Annotated[str, Meta(pattern="^([0-9a-f]{64})?$")] = ""
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 10_000


class Verdict(Struct, frozen=True):
    """`more` is where to go on with `after` and `hash`; `wrong` says what does not fit."""

    ok: bool
    entries: int
    seq: int
    hash: str
    more: bool
    wrong: str


class Entries(Resource):
    @endpoint(Access.ADMIN, "List the audit log, newest first", query=AuditQuery, answer=Page[AuditEntry])
    async def on_get(self, call: Call) -> Any:
        query: AuditQuery = call.query
        wanted = AuditFilter(
            query.limit,
            before_seq=_seq(query.cursor),
            username=query.user or None,
            action=query.action or None,
            since=query_strings.moment("since", query.since, datetime.now(UTC)),
        )
        rows = await audit_log.page(call.services.store, call.caller, wanted)
        items = [_document(row) for row in rows[: query.limit]]
        return {"items": items, "next_cursor": str(items[-1]["seq"]) if len(rows) > query.limit else None}


class Check(Resource):
    @endpoint(Access.ADMIN, "Recompute the audit log's chain of hashes", query=CheckQuery, answer=Verdict)
    async def on_get(self, call: Call) -> Any:
        query: CheckQuery = call.query
        if query.after and not query.hash:
            raise QueryError("hash", "is needed with after: the hash of that entry")
        begin = bytes.fromhex(query.hash) if query.after else FIRST
        found = await audit_log.check(
            call.services.store, call.caller, after=query.after, after_hash=begin, limit=query.limit
        )
        return Verdict(not found.wrong, found.entries, found.seq, found.hash.hex(), found.more, found.wrong)


def _seq(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise QueryError("cursor", "is not a cursor of this list; take next_cursor of the page before")
    return int(text)


def _document(row: Row) -> AuditEntry:
    return {
        "seq": row["seq"],
        "at": rfc3339(row["at"]),
        "user": row["username"],
        "user_id": documents.text_id(row["user_id"]),
        "action": row["action"],
        "subject": row["subject"],
        "detail": documents.as_stored(row["detail"]),
        "hash": row["hash"].hex(),
    }
