"""Output that its spec wants dropped early (`logs.keep`): noted once the job has ended, dropped when its time is over.

Works in small steps, so that no turn takes long: what is noted late is dropped late, and nothing else is lost by it.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

from swarmsync.protocol.codec import decode_stored_spec
from swarmsync.store.pool import Store
from swarmsync.store.queries import sql

JOBS_PER_STEP: Final = 2_000
DROPS_PER_STEP: Final = 100
#: After a restart jobs that ended since then are looked at again.
LOOK_BACK: Final = timedelta(days=1)
#: A commit may come so long after the time that it names.
SETTLED: Final = timedelta(seconds=30)


class Keeper:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._after = (datetime.now(UTC) - LOOK_BACK, 0)

    async def step(self) -> bool:
        """Look at the jobs that ended since the last step, and drop what is due; True when there may be more to do."""
        rows = await self._store.fetch(sql("keeps_ended"), *self._after, datetime.now(UTC) - SETTLED, JOBS_PER_STEP)
        due = [
            (row["id"], row["finished_at"] + timedelta(milliseconds=keep_ms))
            for row in rows
            if row["document"] is not None and (keep_ms := decode_stored_spec(row["document"]).logs.keep) is not None
        ]
        if due:
            await self._store.execute(sql("note_keeps"), [job_id for job_id, _ in due], [at for _, at in due])
        if rows:
            self._after = (rows[-1]["finished_at"], rows[-1]["id"])
        dropped = await self._store.fetch(sql("drop_kept"), DROPS_PER_STEP)
        return len(rows) == JOBS_PER_STEP or len(dropped) == DROPS_PER_STEP
