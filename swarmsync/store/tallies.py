"""What the feed of events adds up to since a place in it: counters and histograms for those who measure.

Nobody counts while jobs run: whoever asks reads on from where the last one stopped, and no event is counted twice or
skipped, since the feed ends before the oldest transaction that is still open.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import asyncpg
from msgspec import Struct, field

from swarmsync.model.lifecycle import FINAL
from swarmsync.store.events import Place
from swarmsync.store.pool import Store
from swarmsync.store.users import Caller

#: Seconds; the last bucket of each histogram has no bound.
BOUNDS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 7_200.0)
#: Who asks for the first time, or after a longer time, hears of no more than this.
REACH: Final = timedelta(hours=1)
_FINAL: Final = [state.value for state in FINAL]
_MEASURES: Final = {
    "queue_wait": (
        "COALESCE(a.offered_at, CASE WHEN j.fence = 1 THEN j.offered_at END) - GREATEST(j.submitted_at, j.run_at)"
    ),
    "submit_to_start": "CASE WHEN j.fence = 1 THEN j.started_at - GREATEST(j.submitted_at, j.run_at) END",
    "run": "j.finished_at - j.started_at",
}
_VALUES: Final = ", ".join(f"('{name}', extract(epoch FROM {text})::float8)" for name, text in _MEASURES.items())
_EVENTS: Final = """
SELECT e.state, e.reason, e.job_id FROM job_events e
WHERE (e.xid, e.seq) > ($1::text::xid8, $2) AND e.xid < $3::text::xid8 AND e.at >= $4
"""
_COUNTS: Final = f"""
SELECT state, CASE WHEN state = ANY ($5::text[]) THEN reason ELSE '' END AS reason, count(*) AS events
FROM ({_EVENTS}) e GROUP BY 1, 2
"""  # noqa: S608 the statement is the constant above
_SPREAD: Final = f"""
SELECT m.name, width_bucket(m.seconds, $6::float8[]) AS bucket, count(*) AS jobs, sum(m.seconds) AS seconds
FROM ({_EVENTS}) e
JOIN jobs j ON j.id = e.job_id
LEFT JOIN assignments a ON a.job_id = j.id AND a.fence = 1
CROSS JOIN LATERAL (VALUES {_VALUES})
    AS m (name, seconds)
WHERE e.state = ANY ($5::text[]) AND m.seconds IS NOT NULL AND (j.array_size IS NULL OR j.array_id IS NOT NULL)
GROUP BY 1, 2
"""  # noqa: S608 the statement is the constant above


class Spread(Struct):
    """A histogram: how many were at most each bound of BOUNDS_S and above the one before, and the sum of all."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    seconds: float = 0.0


class Tally(Struct):
    """All that was counted up to a place. Grows only."""

    xid: int = 0
    seq: int = 0
    at: datetime | None = None
    events: dict[str, int] = field(default_factory=dict)  # by state
    ended: dict[str, dict[str, int]] = field(default_factory=dict)  # by state and reason
    spreads: dict[str, Spread] = field(default_factory=lambda: {name: Spread() for name in _MEASURES})

    @property
    def place(self) -> Place:
        return Place(self.xid, self.seq)

    def add_counts(self, rows: list[Mapping[str, Any]]) -> None:
        for row in rows:
            state = row["state"]
            self.events[state] = self.events.get(state, 0) + row["events"]
            if state in _FINAL:
                by_reason = self.ended.setdefault(state, {})
                by_reason[row["reason"]] = by_reason.get(row["reason"], 0) + row["events"]

    def add_spreads(self, rows: list[Mapping[str, Any]]) -> None:
        for row in rows:
            spread = self.spreads.setdefault(row["name"], Spread())
            spread.counts[row["bucket"]] += row["jobs"]
            spread.seconds += max(0.0, row["seconds"])


async def read_on(store: Store, caller: Caller, tally: Tally) -> None:
    """Add what was committed since the tally's place, or within REACH where that is nearer."""

    async def work(connection: asyncpg.Connection) -> None:
        now = await connection.fetchrow(
            "SELECT clock_timestamp() AS at, pg_snapshot_xmin(pg_current_snapshot())::text AS xid"
        )
        oldest = now["at"] - REACH
        values = (str(tally.xid), tally.seq, now["xid"], oldest, _FINAL)
        counts = await connection.fetch(_COUNTS, *values)
        spreads = await connection.fetch(_SPREAD, *values, list(BOUNDS_S))
        tally.add_counts(counts)
        tally.add_spreads(spreads)
        tally.xid, tally.seq, tally.at = int(now["xid"]), 0, now["at"]

    await store.run(work, **caller.settings, plan_cache_mode="force_custom_plan")
