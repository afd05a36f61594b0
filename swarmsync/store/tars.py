"""What jobs left behind, as the Logger stored it: one tar per output of the newest attempt that had any."""

from collections.abc import AsyncIterator
from typing import Any, Final

from swarmsync.store.lists import Row
from swarmsync.store.pool import Store
from swarmsync.store.users import Caller

CHUNKS_PER_READ: Final = 8
_LIST: Final = """
SELECT fence, stream, name, size, files, bytes, sha256, stored_at FROM output_tars
WHERE job_id = $1 AND fence = (SELECT max(fence) FROM output_tars WHERE job_id = $1) ORDER BY stream
"""
_READ: Final = """
SELECT start, data FROM output_tar_chunks
WHERE job_id = $1 AND fence = $2 AND stream = $3 AND start >= $4 ORDER BY start LIMIT $5
"""


async def listed(store: Store, caller: Caller, job_id: int) -> list[Row]:
    rows: list[Row] = await store.fetch(_LIST, job_id, **caller.settings)
    return rows


async def read(store: Store, caller: Caller, job_id: int, tar: Row) -> AsyncIterator[bytes]:
    """Yield the tar's bytes, as many as its row says; fewer where it was deleted meanwhile."""
    end = 0
    while end < tar["size"]:
        rows = await _rows(store, caller, (job_id, tar["fence"], tar["stream"], end, CHUNKS_PER_READ))
        if not rows or rows[0]["start"] != end:
            return
        for row in rows:
            yield row["data"]
            end += len(row["data"])


async def _rows(store: Store, caller: Caller, values: tuple[int, ...]) -> list[Any]:
    rows: list[Any] = await store.fetch(_READ, *values, **caller.settings)
    return rows
