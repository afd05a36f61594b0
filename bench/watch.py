"""Looks at a Core from outside while it is broken: each second invariants, ends, memory and descriptors."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from math import sqrt
from pathlib import Path
from typing import Any, Final

import asyncpg
import psutil
from msgspec import Struct, field

from bench.harness import Core
from bench.judge import Row
from swarmsync.embedded import load_secrets, plan_postgres
from swarmsync.ids import encode
from swarmsync.store import invariants

PATIENCE_S: Final = 3.0
WARM_UP_S: Final = 20.0
_ENDED: Final = "SELECT count(*) FROM jobs WHERE finished_at IS NOT NULL AND name = $1"
_ROWS: Final = """
SELECT j.id, j.state, j.reason, j.exit_code, j.fence,
    (SELECT count(*) FROM job_events e WHERE e.job_id = j.id
        AND e.state IN ('succeeded', 'failed', 'timed_out', 'cancelled', 'expired')) AS finals
FROM jobs j WHERE j.name = $1
"""


Family = Callable[[], list[tuple[str, psutil.Process]]]


class Sample(Struct, frozen=True):
    """One process at one moment; a new pid is a new life."""

    at_s: float
    name: str
    pid: int
    memory_bytes: int
    descriptors: int


class Seen(Struct):
    """What the watcher has seen so far."""

    looks: int = 0
    unanswered: int = 0
    breaks: dict[str, int] = field(default_factory=lambda: dict.fromkeys(invariants.QUESTIONS, 0))
    ended: list[tuple[float, int]] = field(default_factory=list)  # seconds, jobs so far
    samples: list[Sample] = field(default_factory=list)


class Watcher(threading.Thread):
    """`stop` ends it. It has a connection of its own, and PostgreSQL may be away at any moment."""

    def __init__(self, url: str, name: str, family: Family, began: float, say: Callable[[str], None]) -> None:
        """`url` is PostgreSQL's, `name` that of the jobs to count; `family` returns the processes to look at."""
        super().__init__(name="watcher", daemon=True)
        self.seen = Seen()
        self._url, self._name, self._family, self._began, self._say = url, name, family, began, say
        self._over = threading.Event()

    def stop(self) -> None:
        self._over.set()
        self.join(60)

    def run(self) -> None:
        while not self._over.wait(1.0):
            try:
                asyncio.run(self._look())
            except Exception:  # noqa: BLE001 asyncpg has many words for a server that goes away, and the watch goes on
                self.seen.unanswered += 1
            self._sample()

    async def _look(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            connection = await connect(self._url)
            try:
                found = await invariants.breaks(connection)
                ended = await connection.fetchval(_ENDED, self._name)
            finally:
                connection.terminate()
        seen = self.seen
        seen.looks += 1
        seen.ended.append((round(time.monotonic() - self._began, 2), ended))
        for name, count in found.items():
            if count > seen.breaks[name]:
                self._say(f"BROKEN {name}: {count}")
                seen.breaks[name] = count

    def rows(self, name: str) -> list[Row]:
        """Return what PostgreSQL says of all jobs of this name."""

        async def ask() -> list[asyncpg.Record]:
            connection = await connect(self._url)
            try:
                found: list[asyncpg.Record] = await connection.fetch(_ROWS, name)
            finally:
                await connection.close()
            return found

        found = asyncio.run(ask())
        return [Row(encode(r["id"]), r["state"], r["reason"], r["exit_code"], r["fence"], r["finals"]) for r in found]

    def _sample(self) -> None:
        at_s = round(time.monotonic() - self._began, 2)
        for name, process in self._family():
            try:
                memory, descriptors = process.memory_info().rss, process.num_fds()
            except (psutil.Error, OSError):
                continue
            self.seen.samples.append(Sample(at_s, name, process.pid, memory, descriptors))


def of(core: Core, name: str, began: float, say: Callable[[str], None]) -> Watcher:
    """Return the watcher of a Core with a PostgreSQL of its own."""
    url = plan_postgres(core.data_dir, load_secrets(core.data_dir)).url
    return Watcher(url, name, lambda: family(core), began, say)


def family(core: Core) -> list[tuple[str, psutil.Process]]:
    """Return the processes that Core keeps, each with its short name."""
    try:
        supervisor = psutil.Process(core.process.pid)
        return [("supervisor", supervisor), *((_name(child), child) for child in supervisor.children())]
    except (psutil.Error, OSError):
        return []


def _name(process: psutil.Process) -> str:
    try:
        comm = Path(f"/proc/{process.pid}/comm").read_text().strip()
        line = " ".join(process.cmdline())
    except (psutil.Error, OSError):
        return "gone"
    if "worker.program" in line:
        return "worker"
    return "api" if "gunicorn" in line else comm.removeprefix("swarm-")


async def connect(url: str) -> asyncpg.Connection:
    return await asyncpg.connect(url, timeout=PATIENCE_S, server_settings={"search_path": "swarmsync"})


def slope(lives: Sequence[Sequence[tuple[float, float]]], warm_up_s: float = WARM_UP_S) -> dict[str, float] | None:
    """Return by how much a figure grows an hour, by least squares, with the half width of its 95 % interval.

    Each life of a process has a level of its own and all share one slope; the first `warm_up_s` of a life do not count.
    None for fewer than ten points in all.
    """
    xs, ys, groups = [], [], 0
    for life in lives:
        late = [(at, value) for at, value in life if at >= life[0][0] + warm_up_s]
        if len(late) < 3:
            continue
        mean_x, mean_y = sum(x for x, _ in late) / len(late), sum(y for _, y in late) / len(late)
        xs += [x - mean_x for x, _ in late]
        ys += [y - mean_y for _, y in late]
        groups += 1
    spread = sum(x * x for x in xs)
    if len(xs) < 10 or spread == 0:
        return None
    rise = sum(x * y for x, y in zip(xs, ys, strict=True)) / spread
    rest = sum((y - rise * x) ** 2 for x, y in zip(xs, ys, strict=True))
    error = sqrt(rest / max(len(xs) - groups - 1, 1) / spread)
    return {"per_hour": rise * 3600, "within": 1.96 * error * 3600, "n": len(xs), "lives": groups}


def slopes(samples: Sequence[Sample], read: Callable[[Sample], float], warm_up_s: float = WARM_UP_S) -> dict[str, Any]:
    """Return the slope of each process by name."""
    lives: dict[str, dict[int, list[tuple[float, float]]]] = {}
    for sample in samples:
        lives.setdefault(sample.name, {}).setdefault(sample.pid, []).append((sample.at_s, read(sample)))
    found = {name: slope(list(by_pid.values()), warm_up_s) for name, by_pid in sorted(lives.items())}
    return {
        name: {key: round(value, 3) for key, value in each.items()} for name, each in found.items() if each is not None
    }
