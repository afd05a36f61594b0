"""The same core under a backlog: what depth costs, and what a waiting job weighs.

1,000 workers are full; so many jobs wait, a third of which no worker can ever run. In each turn the 250 oldest jobs end
and 250 new ones come. *start-up*: a real Core whose PostgreSQL holds a million queued rows that nobody can run; its
Scheduler is killed, and the clock runs until the next one has read them.
"""

import asyncio
import gc
import os
import signal
import time
from typing import Any, Final

import asyncpg

from bench.apart import apart, resident_bytes
from bench.clusters import Flow, shapes, workers
from bench.harness import Core, core, wait_until
from bench.plots import Chart
from bench.results import Say
from swarmsync.embedded import load_secrets, plan_postgres
from swarmsync.protocol.codec import convert_spec
from swarmsync.protocol.messages import ToScheduler
from swarmsync.store.submit import draft

HOPELESS: Final = 1 / 3
WORKERS: Final = 1_000
SHAPES: Final = 200
CHURN: Final = 250
#: Quick or not: depths, turns, rows at start-up.
_SIZES: Final = {
    True: ((1_000, 10_000), 20, 5_000),
    False: ((10_000, 100_000, 1_000_000, 3_000_000), 200, 1_000_000),
}
_JOBS: Final = """
INSERT INTO jobs (id, user_id, queue, name, state, priority, spec_id, shape, cpus_milli, memory_bytes)
SELECT 1000 + n, $1, 'default', '', 'queued', 50, $2, n % 50, 1000000000, 1 << 20 FROM generate_series(1, $3::int) AS n
"""


def measure(*, quick: bool, say: Say) -> dict[str, Any]:
    depths, turns, rows = _SIZES[quick]
    cells = {}
    for depth in depths:
        say(f"{depth:,} jobs wait")
        cells[f"{depth} waiting"] = apart(cell, depth, turns)
    say(f"start-up with {rows:,} rows")
    with core("simulated") as there:
        start = asyncio.run(_start_up(there, rows))
    rates = [figure["decisions_per_s"] for figure in cells.values()]
    return {
        "unit": "decisions/s",
        "cells": cells,
        "deepest_to_shallowest": round(rates[-1] / rates[0], 3),
        "start_up": start,
    }


def cell(depth: int, turns: int) -> dict[str, Any]:
    """Measure one depth."""
    flow = Flow(workers(WORKERS), shapes(SHAPES))
    full = WORKERS * 12
    for frame in flow.jobs(full):
        flow.turn([frame])
    flow.settle()
    gc.collect()
    before = resident_bytes()
    took_s = 0.0
    for frame in flow.jobs(depth, hopeless=HOPELESS):
        began = time.perf_counter()
        flow.core.handle([frame], now_ms=0, places_max=0)
        took_s += time.perf_counter() - began
    gc.collect()
    gc.freeze()
    grown = resident_bytes() - before
    fresh = list(flow.jobs(CHURN * turns))
    decided, churn_s = 0, 0.0
    for frame in fresh:
        events: list[ToScheduler] = [*flow.ended(CHURN), frame]
        began = time.perf_counter()
        decided += flow.turn(events)
        churn_s += time.perf_counter() - began
    return {
        "decisions_per_s": round(decided / churn_s),
        "taken_in_per_s": round(depth / took_s),
        "bytes_per_waiting_job": round(grown / depth),
        "mb": round(grown / 1e6, 1),
    }


async def _start_up(there: Core, rows: int) -> dict[str, Any]:
    url = plan_postgres(there.data_dir, load_secrets(there.data_dir)).url
    connection = await asyncpg.connect(url, server_settings={"search_path": "swarmsync"})
    user = await connection.fetchval("SELECT id FROM users ORDER BY id LIMIT 1")
    made = draft(convert_spec({"image": "none"}))
    insert = "INSERT INTO specs (id, user_id, document, sha256) VALUES (1, $1, $2, $3)"
    await connection.execute(insert, user, made.document, made.sha256)
    await connection.execute(_JOBS, user, 1, rows, timeout=600)
    await connection.execute("ANALYZE jobs", timeout=600)
    read = "SELECT count(*) FROM log_records WHERE message = 'read the backlog' AND fields->>'jobs' = $1 AND id > $2"
    last = await connection.fetchval("SELECT coalesce(max(id), 0) FROM log_records")
    wait_until(lambda: _scheduler(there) != 0, 10)
    pid = _scheduler(there)
    began = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    while not await connection.fetchval(read, str(rows), last):
        if time.perf_counter() - began > 300:
            raise TimeoutError("the Scheduler did not read its rows")
        await asyncio.sleep(0.02)
    took_s = time.perf_counter() - began
    await connection.close()
    wait_until(lambda: _scheduler(there) not in (0, pid), 10)
    return {"rows": rows, "kill_to_ready_s": round(took_s, 2), "scheduler_mb": _resident_mb(_scheduler(there))}


def _scheduler(there: Core) -> int:
    """Return its process, or 0 while the supervisor has not told of it."""
    modules = there.client().get("/v1/modules")["items"]
    return next((int(entry.get("pid") or 0) for entry in modules if entry["name"] == "scheduler"), 0)


def _resident_mb(pid: int) -> float:
    import psutil

    return round(float(psutil.Process(pid).memory_full_info().uss) / 1e6, 1)


def charts(figures: dict[str, Any]) -> list[Chart]:
    cells = [(float(name.split()[0]), figure) for name, figure in figures["cells"].items()]
    return [
        Chart(
            "Placements of the pure core under a backlog",
            "decisions/s",
            {"1,000 full workers, 200 shapes": [(depth, figure["decisions_per_s"]) for depth, figure in cells]},
            x_unit="waiting jobs",
        ),
        Chart(
            "Memory of a waiting job",
            "bytes",
            {"Scheduler": [(depth, figure["bytes_per_waiting_job"]) for depth, figure in cells]},
            x_unit="waiting jobs",
        ),
    ]
