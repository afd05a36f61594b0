"""Outputs' tars: are the stored bytes those that the worker sent? Reads them again, apart from the module's turns."""

from hashlib import sha256
from typing import Final

from swarmsync.protocol.messages import CheckOutput, OutputChecked
from swarmsync.store.pool import Store
from swarmsync.store.queries import sql

CHUNKS_PER_READ: Final = 16
_READ: Final = """
SELECT start, data FROM output_tar_chunks
WHERE job_id = $1 AND fence = $2 AND stream = $3 AND start >= $4 ORDER BY start LIMIT $5
"""
_WHOLE: Final = "SELECT size, sha256 FROM output_tars WHERE job_id = $1 AND fence = $2 AND stream = $3"


class TarSink:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def check(self, word: CheckOutput) -> OutputChecked:
        """Note that the output is whole, or throw away what is stored of it. Raises Unavailable."""
        ref, total = word.ref, word.total
        key = (ref.job_id, ref.fence, word.stream)
        rows = await self._store.fetch(_WHOLE, *key)
        if rows and (rows[0]["size"], rows[0]["sha256"].hex()) == (total.size, total.sha256):
            return OutputChecked(same=True)
        if not await self._store.fetchval("SELECT count(*) FROM jobs WHERE id = $1", ref.job_id):
            return OutputChecked(same=True)  # its record was deleted: nobody will ask for it
        size, digest = await self._stored(key)
        if (size, digest) == (total.size, total.sha256):
            values = (*key, total.name, total.size, total.files, total.bytes, bytes.fromhex(digest))
            await self._store.run(lambda c: c.execute(sql("keep_tar"), *values))
            return OutputChecked(same=True)
        await self._store.execute(sql("forget_tar"), *key)
        said = f"{total.size} bytes with SHA-256 {total.sha256} were sent, {size} with {digest} arrived"
        return OutputChecked(same=False, message=said)

    async def _stored(self, key: tuple[int, int, int]) -> tuple[int, str]:
        digest, end = sha256(), 0
        while rows := await self._store.fetch(_READ, *key, end, CHUNKS_PER_READ):
            for row in rows:
                if row["start"] != end:
                    return end, "a gap"
                digest.update(row["data"])
                end += len(row["data"])
        return end, digest.hexdigest()
