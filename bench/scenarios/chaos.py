"""Break a running Core over and over, and have a ledger outside it say whether anything was lost.

A client submits jobs (real processes, 5 to 400 ms, one in five fails on purpose) at a steady rate and notes each answer
on disk before it goes on. Meanwhile faults come, drawn from the seed; after each, a probe job tells how long Core took
until a new job began. In the end every acknowledged job must have exactly one verdict, the right one; no attempt may
have begun twice, no two containers of a job may have lived at a moment, and no invariant may ever have been broken.
"""

import asyncio
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from bench import watch
from bench.faults import Breaker, Fault, faults_of, hard_faults_of, has_its_turn
from bench.harness import Core, core, wait_until
from bench.ordeal import Ordeal, Outcome, judged, tell
from bench.plots import Chart, Point
from bench.results import Say, spread
from bench.storm import Storm, Strike
from bench.submitter import PATIENCE_S, Submitter
from swarmsync.client import Client
from worker.demo_image import ensure_demo_image

NAME: Final = "chaos"
PROBE_EVERY_S: Final = 1.0
IMAGE: Final = "swarmsync-chaos:latest"
CONFIG: Final = """cpus = 8
memory = "8GiB"
[workers]
crash_limit = 50
quarantine_jobs = 0
[api]
requests_per_s = 100000
[supervisor]
restarts_max = 10000
restarts_window_ms = 1000
"""


def config_of(directory: Path | None) -> str:
    """Return the TOML of a Core whose worker lets containers see a directory."""
    return CONFIG if directory is None else f"allow_paths = [{json.dumps(str(directory))}]\n{CONFIG}"


class Plan(Struct, frozen=True):
    """How to run. `jobs` 0: as many as the time allows; the run ends by time or when all jobs are submitted.

    With `in_turns` a process is ended in one quarter of the time only (`faults.TURNS`). `hard` has faults of all kinds
    side by side (`faults.HARD`), and `scenario` and `gap_s` say nothing. With `docker` the jobs are containers.
    """

    seed: int
    scenario: str
    seconds: float
    jobs: int
    gap_s: float
    rate_per_s: float
    in_turns: bool = False
    hard: bool = False
    docker: bool = False


def measure(
    *,
    quick: bool,
    say: Say,
    seed: int | None = None,
    scenario: str = "all",
    seconds: float | None = None,
    jobs: int = 0,
    hard: bool = False,
    docker: bool = False,
    ledger: Path | None = None,
) -> dict[str, Any]:
    plan = Plan(
        seed=random.SystemRandom().randrange(1_000_000) if seed is None else seed,
        scenario=scenario,
        seconds=seconds or (30.0 if quick else 600.0),
        jobs=jobs,
        gap_s=0.4,
        rate_per_s=15.0 if hard else 2.0 if docker else 6.0,
        hard=hard,
        docker=docker,
    )
    with tempfile.TemporaryDirectory(prefix="swarmsync-judge-") as name:
        directory = Path(name)
        if docker:
            directory.chmod(0o777)  # a container's root is not this machine's
            asyncio.run(ensure_demo_image(tag=IMAGE, more=("bash", "flock")))
        with core("docker" if docker else "process", config=config_of(directory if docker else None)) as there:
            figures = Run(there, plan, say, directory).figures()
    if ledger is not None:
        keep(ledger, figures)
    return figures


class Run:
    """One run on a Core that is up with `CONFIG`."""

    def __init__(self, there: Core, plan: Plan, say: Say, directory: Path | None = None) -> None:
        """`directory` is where the judge's files go; containers are allowed to see it."""
        self.plan, self.core, self._say = plan, there, say
        self._breaker = Breaker(there)
        self.struck: list[Strike] = []
        self.probes: list[tuple[str, float | None]] = []  # after which fault; seconds until a new job began, or never
        self._began = time.monotonic()
        self.watcher = watch.of(there, NAME, self._began, say)
        directory, image = directory or there.data_dir.parent / "judge", IMAGE if plan.docker else None
        self._submitter = Submitter(directory, NAME, plan.seed, plan.rate_per_s, say, image=image)
        self._ordeal = Ordeal(self._submitter, self.watcher, lambda: [there.client(patience_s=PATIENCE_S)])

    def figures(self) -> dict[str, Any]:
        """Run it all and judge."""
        client = self.core.client(patience_s=PATIENCE_S)
        wait_until(lambda: client.get("/v1/stats")["workers"].get("ready", 0) == 1, 60)
        if self.plan.docker:
            client.call("PUT", "/v1/policies/queue/default", {"paths": [str(self._submitter.directory)]})
        self._say(f"seed {self.plan.seed}, scenario {self.plan.scenario}, {self.plan.seconds:g} s")
        breaking = self._storm if self.plan.hard else self._break
        return self._told(self._ordeal.during(lambda: breaking(client), jobs_max=self.plan.jobs))

    def _storm(self, client: Client) -> None:
        storm = Storm(self._breaker, self._ordeal.guarded)
        self.struck = storm.strikes
        storm.begin(hard_faults_of(self.plan.seed), self._began, self.plan.seconds)
        try:
            while not self._ordeal.over.wait(PROBE_EVERY_S) and self._time_s() < self.plan.seconds:
                if self.plan.jobs and self._submitter.jobs >= self.plan.jobs:
                    return
                self._probe(client, "any", time.monotonic())
        finally:
            storm.end()

    def _break(self, client: Client) -> None:
        for fault in faults_of(self.plan.seed, self.plan.scenario, self.plan.gap_s):
            if self.plan.in_turns and not has_its_turn(fault.name, self._time_s() / self.plan.seconds):
                continue
            if self._ordeal.over.wait(fault.after_s) or self._time_s() >= self.plan.seconds:
                return
            if self.plan.jobs and self._submitter.jobs >= self.plan.jobs:
                return
            self._strike(client, fault)

    def _strike(self, client: Client, fault: Fault) -> None:
        at_s = self._time_s()
        self._breaker.strike(fault)
        self.struck.append(Strike(round(at_s, 2), fault.name))
        self._probe(client, fault.name, time.monotonic())

    def _probe(self, client: Client, fault: str, since: float) -> None:
        took = self._submitter.probe([client], f"probe-{self.plan.seed}-{len(self.probes)}", since)
        self.probes.append((fault, took))
        told = "no new job began" if took is None else f"a new job began after {took:.2f} s"
        self._say(f"fault {len(self.struck)}, {fault}: {told}; {self._submitter.jobs} jobs")

    def _time_s(self) -> float:
        return time.monotonic() - self._began

    def _told(self, outcome: Outcome) -> dict[str, Any]:
        seen, plan = self.watcher.seen, self.plan
        kinds = sorted({fault for fault, _ in self.probes})
        back = {kind: [took for fault, took in self.probes if fault == kind] for kind in kinds}
        slow = sum(took is None for _, took in self.probes)
        figures = {
            "plan": msgspec.to_builtins(plan),
            "lasted_s": round(self._time_s(), 1),
            "faults": len(self.struck),
            "faults_by_kind": dict(Counter(struck.name for struck in self.struck)),
            **judged(outcome, seen, slow),
            "recovery_s": {kind: spread([s for s in took if s is not None], 3) for kind, took in back.items()},
            "timeline": {
                "ended": per_second(seen.ended),
                "faults": sorted((struck.at_s, struck.name) for struck in self.struck),
            },
        }
        for kind, took in figures["recovery_s"].items():
            p50, p99 = took.get("p50", 0.0), took.get("p99", 0.0)
            self._say(f"{kind:<20} n {len(back[kind]):>4}   new job after p50 {p50:6.2f} s  p99 {p99:6.2f} s")
        tell(figures, self._say)
        return figures


def per_second(ended: list[tuple[float, int]]) -> list[tuple[float, float]]:
    """Return the rate between each two looks."""
    return [(at, round((n - m) / (at - before), 1)) for (before, m), (at, n) in pairwise(ended) if at > before]


def keep(path: Path, figures: Mapping[str, Any]) -> None:
    """Add this run to the ledger of runs: one line, from which totals are made."""
    line = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        **{name: figures[name] for name in ("plan", "lasted_s", "faults", "faults_by_kind", "failures")},
        "jobs": figures["judge"]["jobs"],
        "looks": figures["invariants"]["looks"],
    }
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def totals(path: Path) -> dict[str, int]:
    """Add up a ledger of runs: how many, their faults by kind, jobs, failures."""
    found: Counter[str] = Counter()
    for text in path.read_text().splitlines():
        line = json.loads(text)
        found.update({"runs": 1, **{name: line[name] for name in ("faults", "jobs", "looks", "failures")}})
        found.update(line["faults_by_kind"])
    return dict(found)


def charts(figures: Mapping[str, Any]) -> list[Chart]:
    timeline, recovery = figures["timeline"], figures["recovery_s"]
    ended: list[Point] = [(float(at), float(rate)) for at, rate in timeline["ended"]]
    top = max((float(rate) for _, rate in timeline["ended"]), default=1.0)
    spikes: list[Point] = [
        point for at, _ in timeline["faults"] for point in ((at, 0.0), (at + 0.01, top), (at + 0.02, 0.0))
    ]
    made = [
        Chart("Jobs that ended, and faults", "jobs/s", {"ended": ended, "a fault": spikes or [(0.0, 0.0)]}, x_unit="s")
    ]
    if recovery:
        bars: dict[str, list[Point]] = {
            word: [(kind, took.get(word, 0.0)) for kind, took in recovery.items()] for word in ("p50", "p99")
        }
        made.append(Chart("From the end of a fault until a new job begins", "s", bars))
    return made
