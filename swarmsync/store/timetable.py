"""Is there anything to do for the Hibernator, and when will there be? One statement, asked each second."""

from msgspec import Struct

from swarmsync.store.pool import Store
from swarmsync.store.queries import sql


class Timetable(Struct, frozen=True):
    """`pressing`: something may have expired, be late or have waited for its turn.

    `until_ms` milliseconds until the next scheduled job or schedule is due, by the server's clock; None for none.
    """

    pressing: bool
    until_ms: int | None

    @property
    def due(self) -> bool:
        return self.until_ms is not None and self.until_ms <= 0


async def look(store: Store) -> Timetable:
    (row,) = await store.fetch(sql("timetable"))
    return Timetable(row["pressing"], row["until_ms"])
