"""`/v1/cores`: which Cores share this database, and which of them leads."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from api.access import Access
from api.answers.pages import Page
from api.answers.system import CoreDocument
from api.endpoint import Call, Resource, endpoint
from swarmsync.clock import rfc3339
from swarmsync.store import cores
from swarmsync.store.lists import Row


class CoresQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """There are few: `cursor` is always empty, and `limit` cuts the list."""

    limit: Annotated[int, Meta(ge=1, le=1_000)] = 1_000
    cursor: Annotated[str, Meta(max_length=0)] = ""


class Cores(Resource):
    @endpoint(
        Access.USER,
        "List the Cores of one database, the leading one first",
        query=CoresQuery,
        answer=Page[CoreDocument],
    )
    async def on_get(self, call: Call) -> Any:
        rows = await cores.listed(call.services.store, call.caller)
        return {"items": [_document(row) for row in rows[: call.query.limit]], "next_cursor": None}


def _document(row: Row) -> CoreDocument:
    leads = bool(row["leads"])
    return {
        "id": row["id"],
        "name": row["name"],
        "address": row["address"],
        "version": row["version"],
        "state": ("leading" if leads else "standby") if row["there"] else "away",
        "leads": leads and row["there"],
        "term": row["term"] if leads else None,
        "led_since": rfc3339(row["led_since"]) if leads else None,
        "started_at": rfc3339(row["started_at"]),
        "seen_at": rfc3339(row["seen_at"]),
    }
