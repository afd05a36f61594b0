"""What can never be so, asked of PostgreSQL itself: every answer must be 0, on every Core, always.

Each question is cheap enough to be asked each second beside any number of jobs: it touches what is placed now, and the
few hundred jobs that ended last. `bench chaos` asks while it breaks things; `/metrics` tells what it finds as
`swarmsync_invariant_breaks`. A number above 0 is a bug in SwarmSync, and never the weather.
"""

import re
from collections.abc import Mapping
from typing import Final

import asyncpg

from swarmsync.store.attempts import ATTEMPTS
from swarmsync.store.pool import Store
from swarmsync.store.users import Caller

_PLACED: Final = "j.state IN ('starting', 'running', 'stopping') AND j.assignment_state IS NOT NULL"
_FINAL: Final = "('succeeded', 'failed', 'timed_out', 'cancelled', 'expired')"
#: Jobs that ended last, arrays themselves left out.
_LATEST: Final = """
(SELECT id, fence, state, finished_at FROM jobs
 WHERE finished_at > clock_timestamp() - interval '5 minutes' AND (array_size IS NULL OR array_id IS NOT NULL)
 ORDER BY finished_at DESC LIMIT 200) AS j
"""
#: Fences count attempts; those of jobs from a restored backup go on from here.
_FLOOR: Final = "(SELECT CASE WHEN j.id <= restored_id THEN fence_floor ELSE 0 END FROM engine_epoch)"

#: What must not be -> how many there are of it. Each is one statement, so it sees one moment.
_TEXTS: Final[Mapping[str, str]] = {
    # More is placed on a worker than it has.
    "worker_overbooked": """
        SELECT count(*) FROM workers w JOIN (
            SELECT worker_id, sum(cpus_milli) AS cpus, sum(memory_bytes) AS memory, sum(gpus) AS gpus
            FROM jobs j WHERE PLACED GROUP BY worker_id) u ON u.worker_id = w.id
        WHERE w.liveness = 'ready' AND (u.cpus > w.cpus_milli OR u.memory > w.memory_bytes OR u.gpus > w.gpus)""",
    # An attempt is open although its end, or that of a later one, is recorded.
    "attempt_open_after_its_end": """
        SELECT count(*) FROM jobs j WHERE PLACED
        AND EXISTS (SELECT FROM assignments a WHERE a.job_id = j.id AND a.fence >= j.fence)""",
    # A fence was handed out, and the attempt before it has no recorded end: two could be open.
    "attempt_without_end": """
        SELECT count(*) FROM jobs j WHERE PLACED AND j.fence > 1 + FLOOR
        AND NOT EXISTS (SELECT FROM assignments a WHERE a.job_id = j.id AND a.fence = j.fence - 1)""",
    # A job that ended has an attempt whose end nobody recorded, or one more than it was given.
    "attempts_miscounted": """
        SELECT count(*) FROM LATEST
        WHERE (SELECT count(*) FROM ATTEMPTS a WHERE a.job_id = j.id AND a.fence > FLOOR)
            <> greatest(j.fence - FLOOR, 0)""",
    # A job ended more than once, or ended and nobody was told.
    "verdict_not_told_once": """
        SELECT count(*) FROM LATEST
        WHERE (SELECT count(*) FROM job_events e WHERE e.job_id = j.id AND e.state IN FINAL) <> 1""",
    # What was told of a job's end is not what its row says.
    "verdict_changed": """
        SELECT count(*) FROM LATEST
        WHERE EXISTS (SELECT FROM job_events e
                      WHERE e.job_id = j.id AND e.state IN FINAL AND e.state <> j.state)""",
    # The feed tells of a smaller fence after a greater one.
    "fence_went_back": """
        SELECT count(*) FROM LATEST
        WHERE EXISTS (SELECT FROM (SELECT fence, lag(fence) OVER (ORDER BY seq) AS before FROM job_events e
                                   WHERE e.job_id = j.id AND e.state = 'starting') s WHERE s.fence <= s.before)""",
    # An array is over and a member of it is not.
    "array_over_before_its_members": """
        SELECT count(*) FROM jobs m JOIN jobs a ON a.id = m.array_id
        WHERE m.array_id IS NOT NULL AND m.finished_at IS NULL AND a.finished_at IS NOT NULL""",
    # A job runs although what it waits for has not ended.
    "ran_before_its_parents": """
        SELECT count(*) FROM job_dependencies d JOIN jobs j ON j.id = d.job_id
        WHERE d.met IS NULL AND PLACED""",
}
_NAMES: Final = {"ATTEMPTS": ATTEMPTS, "FLOOR": _FLOOR, "PLACED": _PLACED, "LATEST": _LATEST, "FINAL": _FINAL}
QUESTIONS: Final = {
    name: re.sub("|".join(_NAMES), lambda found: _NAMES[found[0]], text) for name, text in _TEXTS.items()
}
_EVERYTHING: Final = "SELECT " + ", ".join(f"({text}) AS {name}" for name, text in QUESTIONS.items())


async def breaks(connection: asyncpg.Connection) -> dict[str, int]:
    """Return how many breaks of each invariant there are now; for a connection that may see all rows."""
    row = await connection.fetchrow(_EVERYTHING)
    assert row is not None
    return dict(row)


async def look(store: Store, caller: Caller) -> dict[str, int]:
    """The same under the rights of a caller, who sees everything only as an operator."""
    found: dict[str, int] = await store.run(breaks, **caller.settings)
    return found
