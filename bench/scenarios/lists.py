"""Lists beside a long past: every filter over a million finished jobs, asked over HTTP with row-level security on.

Asked twice: as an admin, who sees all rows, and as a user who owns a third of them. What is `rare` few jobs have, and
only the oldest; `campaign=spring` a tenth have, and none of the later ones. The jobs are written straight into
PostgreSQL, through the schema with all its indexes and triggers (bench/past.py).
"""

import asyncio
import json
import time
from typing import Any, Final

import asyncpg

from bench import past
from bench.harness import Core, core
from bench.load import Connection, request
from bench.plots import Chart
from bench.results import Say, spread
from swarmsync import ids
from swarmsync.embedded import load_secrets, plan_postgres

#: Quick or not: jobs unless told, how often each is asked.
_SIZES: Final = {True: (20_000, 3), False: (1_000_000, 15)}
_CONFIG: Final = "[api]\nrequests_per_s = 1000000\n"
_LOGIN: Final = {"username": "past-many", "password": "a past of many jobs 7"}
PAGES: Final = 10

#: What is asked, by what it shows.
ASKED: Final = {
    "newest": "",
    "state, common": "state=succeeded",
    "state, some": "state=timed_out",
    "state, rare": "state=expired",
    "states waiting": "state=waiting",
    "states finished": "state=finished",
    "user, many": "user=past-many",
    "user, few": "user=past-0",
    "name, common": "name=job-17",
    "name, rare": "name=rare-1",
    "name, nobody's": "name=nobody",
    "name*, common": "name=job-1*",
    "name*, rare": "name=rare*",
    "label, common": "label=team=ml",
    "label, rare": "label=team=rare",
    "label, old only": "label=campaign=spring",
    "labels, two": "label=campaign=spring&label=team=web",
    "queue, common": "queue=default",
    "queue, rare": "queue=rare",
    "schedule, common": f"schedule={ids.encode(9)}",
    "schedule, rare": f"schedule={ids.encode(1)}",
    "worker, common": "worker=past-8",
    "worker, rare": "worker=rare",
    "since an hour": "since=1h",
    "since 30 days, failed": "since=30d&state=failed",
    "failed, of one name": "state=failed&name=job-28",
    "rare worker, label": "worker=rare&label=team=rare",
    "old label, failed": "label=campaign=spring&state=failed",
}


def measure(*, quick: bool, say: Say, jobs: int | None = None) -> dict[str, Any]:
    planned, rounds = _SIZES[quick]
    with core("simulated", config=_CONFIG) as there:
        return asyncio.run(_measure(there, jobs or planned, rounds, say))


async def _measure(there: Core, jobs: int, rounds: int, say: Say) -> dict[str, Any]:
    say(f"writing {jobs:,} finished jobs")
    began = time.perf_counter()
    there.client().call("POST", "/v1/users", {**_LOGIN, "role": "user"})
    middle = await _fill(there, jobs)
    filled_s = time.perf_counter() - began
    member = there.client().call("POST", "/v1/auth/login", _LOGIN)["token"]
    figures: dict[str, Any] = {}
    for who, token in (("admin", there.token), ("user", member)):
        line = await Connection.open(there.url)
        figures.setdefault("stats, counted", {})[who] = await _asked(line, token, "/v1/stats", 0)
        for name, query in ASKED.items():
            figures.setdefault(name, {})[who] = await _asked(line, token, f"/v1/jobs?limit=100&{query}", rounds)
        path = f"/v1/jobs?limit=100&cursor={ids.encode(middle)}"
        figures.setdefault("from the middle", {})[who] = await _asked(line, token, path, rounds)
        figures.setdefault(f"{PAGES} pages of 100", {})[who] = await _walk(line, token)
        line.close()
        say(f"asked as {who}")
    slowest = max((cell["p50"], f"{name}, {who}") for name, both in figures.items() for who, cell in both.items())
    return {
        "unit": "ms a page of 100",
        "jobs": jobs,
        "fill_us_per_job": round(filled_s * 1e6 / jobs, 1),
        "slowest_p50_ms": slowest[0],
        "slowest": slowest[1],
        "lists": figures,
    }


async def _fill(there: Core, jobs: int) -> int:
    url = plan_postgres(there.data_dir, load_secrets(there.data_dir)).url
    connection = await asyncpg.connect(url, server_settings={"search_path": "swarmsync"})
    try:
        many = await connection.fetchval("SELECT id FROM users WHERE username = $1", _LOGIN["username"])
        middle = await past.fill(connection, jobs, many)
        await connection.execute(f"VACUUM ANALYZE {past.TABLES}", timeout=600)
        return middle
    finally:
        await connection.close()


async def _asked(line: Connection, token: str, path: str, rounds: int) -> dict[str, float]:
    """Ask once to warm up, then `rounds` times; where that is 0 the first time counts."""
    took_ms = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        answer = await line.ask(request("GET", path, token))
        took_ms.append((time.perf_counter() - began) * 1_000)
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {answer.body[:300].decode()}")
    return spread(took_ms[1:] or took_ms)


async def _walk(line: Connection, token: str) -> dict[str, float]:
    """Page on from the newest job, the time of each page; no page repeats a job."""
    took_ms, cursor, seen = [], "", set[str]()
    for _ in range(PAGES):
        began = time.perf_counter()
        page = json.loads((await line.ask(request("GET", f"/v1/jobs?limit=100&cursor={cursor}", token))).body)
        took_ms.append((time.perf_counter() - began) * 1_000)
        names = {job["id"] for job in page["items"]}
        if names & seen:
            raise RuntimeError("a page showed a job again")
        seen |= names
        cursor = page["next_cursor"]
        if cursor is None:
            break
    return spread(took_ms)


def charts(figures: dict[str, Any]) -> list[Chart]:
    series: dict[str, list[tuple[str | float, float]]] = {}
    for name, both in figures["lists"].items():
        for who, cell in both.items():
            series.setdefault(who, []).append((name, cell["p50"]))
    return [Chart(f"A page of 100 beside {figures['jobs']:,} finished jobs", "ms", series)]
