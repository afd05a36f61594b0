"""How late fires are, and what many schedules cost: a real Core, real time, simulated workers.

Three parts: one schedule per second on an idle Core; 1,000 that are due in the same second; and the same beside 99,000
that are not due for years. Lateness is the time from the due instant to the moment at which the job's first event is
written; the memory is what the Hibernator's process holds for itself.
"""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import psutil

from bench.harness import Core, core
from bench.plots import Chart
from bench.results import Say, spread
from swarmsync.embedded import load_secrets, plan_postgres
from swarmsync.ids import IdSource
from swarmsync.protocol.codec import convert_schedule, encode_json
from swarmsync.store.submit import draft

BURST = 1_000
SLEEPING = 99_000
_INSERT = (
    "INSERT INTO schedules (id, user_id, name, document, spec_id, next_fire_at) SELECT * FROM unnest($1::bigint[],"
)
_INSERT += " $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::timestamptz[])"
_FIRES = "FROM schedule_fires f JOIN schedules s ON s.id = f.schedule_id"
_LATE = f"""
SELECT extract(epoch FROM e.at - f.due_at) * 1000
{_FIRES} JOIN job_events e ON e.job_id = f.job_id AND e.state = 'queued'
WHERE starts_with(s.name, $1)
"""


def measure(*, quick: bool, say: Say) -> dict[str, Any]:
    with core("simulated") as there:
        return asyncio.run(_measure(there, quick=quick, say=say))


async def _measure(there: Core, *, quick: bool, say: Say) -> dict[str, Any]:
    url = plan_postgres(there.data_dir, load_secrets(there.data_dir)).url
    connection = await asyncpg.connect(url, server_settings={"search_path": "swarmsync"})
    bench = Bench(there, connection)
    await bench.prepare()
    say("one schedule that fires each second")
    idle = await bench.every_second(10 if quick else 60)
    say(f"{BURST:,} that are due at once")
    burst = await bench.burst("burst")
    say("the same beside those that sleep")
    before = bench.memory_mb()
    await bench.add("sleeping", SLEEPING // 10 if quick else SLEEPING, datetime.now(UTC) + timedelta(days=900))
    await connection.execute("ANALYZE schedules")
    beside = await bench.burst("beside")
    after = bench.memory_mb()
    await connection.close()
    return {
        "unit": "ms from the due instant to the job",
        "idle": idle,
        f"burst_of_{BURST}": burst,
        "burst_beside_sleeping": beside,
        "sleeping": SLEEPING // 10 if quick else SLEEPING,
        "hibernator_mb": {"before": before, "after": after},
    }


def charts(figures: dict[str, Any]) -> list[Chart]:
    late = {name: figure for name, figure in figures.items() if isinstance(figure, dict) and "p50" in figure}
    series: dict[str, list[tuple[str | float, float]]] = {
        part: [(name.replace("_", " "), max(figure[part], 0.1)) for name, figure in late.items()]
        for part in ("p50", "p99")
    }
    return [Chart("From the due instant to the job", "ms", series, logarithmic=True)]


class Bench:
    def __init__(self, there: Core, connection: asyncpg.Connection) -> None:
        self._there = there
        self._connection = connection
        self._ids = IdSource(1_022, lambda: time.time_ns() // 1_000_000)
        self._user = self._spec = 0

    async def prepare(self) -> None:
        self._user = await self._connection.fetchval("SELECT id FROM users ORDER BY id LIMIT 1")
        made = draft(_schedule("spec").job)
        self._spec = self._ids.next()
        await self._connection.execute(
            "INSERT INTO specs (id, user_id, document, sha256) VALUES ($1, $2, $3, $4)",
            self._spec,
            self._user,
            made.document,
            made.sha256,
        )

    async def add(self, name: str, count: int, first: datetime, cron: str = "0 0 1 1 *") -> None:
        """Make schedules by hand: through the API this many would take minutes."""
        names = [f"{name}-{number}" for number in range(count)]
        documents = [encode_json(_schedule(entry, cron)).decode() for entry in names]
        ids = [self._ids.next() for _ in names]
        owners, specs = [self._user] * count, [self._spec] * count
        await self._connection.execute(_INSERT, ids, owners, names, documents, specs, [first] * count)

    async def every_second(self, seconds: int) -> dict[str, float]:
        first = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
        await self.add("tick", 1, first, "* * * * * *")
        await self._until("tick", seconds)
        late = await self._late("tick")
        await self._connection.execute("UPDATE schedules SET next_fire_at = NULL WHERE name = 'tick-0'")
        return late

    async def burst(self, name: str) -> dict[str, float]:
        await self.add(name, BURST, datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=4))
        await self._until(name, BURST)
        return await self._late(name)

    async def _until(self, name: str, lines: int) -> None:
        deadline = time.monotonic() + lines + 60
        query = f"SELECT count(*) {_FIRES} WHERE starts_with(s.name, $1)"
        while await self._connection.fetchval(query, name) < lines:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name}: too few fires")
            await asyncio.sleep(0.25)

    async def _late(self, name: str) -> dict[str, float]:
        return spread([float(row[0]) for row in await self._connection.fetch(_LATE, name)])

    def memory_mb(self) -> float:
        (pid,) = [m["pid"] for m in self._there.client().get("/v1/modules")["items"] if m["name"] == "hibernator"]
        return round(float(psutil.Process(pid).memory_full_info().uss) / 1e6, 1)


def _schedule(name: str, cron: str = "0 0 1 1 *") -> Any:
    job = {"image": "demo", "command": ["true"], "resources": {"cpus": 0.01, "memory": "8MiB"}}
    return convert_schedule({"name": name, "job": job, "cron": cron, "overlap": "allow"})
