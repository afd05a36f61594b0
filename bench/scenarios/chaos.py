"""Break a running Core over and over, and have a ledger outside it say whether anything was lost.

A client submits jobs (real processes, 5 to 400 ms, one in five fails on purpose) at a steady rate and notes each answer
on disk before it goes on. Meanwhile faults come, drawn from the seed; after each, a probe job tells how long Core took
until a new job began. In the end every acknowledged job must have exactly one verdict, the right one; no attempt may
have begun twice, no two containers of a job may have lived at a moment, and no invariant may ever have been broken.
"""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import count, pairwise
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from bench import watch
from bench.faults import Breaker, Fault, faults_of
from bench.harness import Core, core, wait_until
from bench.judge import SCRIPT, Judgement, Ledger, Promise, judge, marks
from bench.plots import Chart, Point
from bench.results import Say, spread
from swarmsync.client import Client
from swarmsync.errors import SwarmError

NAME: Final = "chaos"
PATIENCE_S: Final = 60.0
STUCK_S: Final = 30.0  # no job ends for so long, and some have not
PROBE_S: Final = 90.0
BATCH: Final = 4
CONFIG: Final = """cpus = 8
memory = "8GiB"
[workers]
crash_limit = 50
quarantine_jobs = 0
[api]
requests_per_s = 100000
[supervisor]
restarts_max = 1000
"""


class Struck(Struct, frozen=True):
    """A fault that was, and how long the next new job took to begin; None: it did not within `PROBE_S`."""

    name: str
    at_s: float
    recovered_s: float | None


class Plan(Struct, frozen=True):
    """How to run. `jobs` 0: as many as the time allows; the run ends by time or when all jobs are submitted."""

    seed: int
    scenario: str
    seconds: float
    jobs: int
    gap_s: float
    rate_per_s: float


def measure(
    *,
    quick: bool,
    say: Say,
    seed: int | None = None,
    scenario: str = "all",
    seconds: float | None = None,
    jobs: int = 0,
    ledger: Path | None = None,
) -> dict[str, Any]:
    plan = Plan(
        seed=random.SystemRandom().randrange(1_000_000) if seed is None else seed,
        scenario=scenario,
        seconds=seconds or (30.0 if quick else 600.0),
        jobs=jobs,
        gap_s=1.0,
        rate_per_s=6.0,
    )
    with core("process", config=CONFIG) as there:
        figures = Run(there, plan, say).figures()
    if ledger is not None:
        keep(ledger, figures)
    return figures


class Run:
    """One run on a Core that is up with `CONFIG`."""

    def __init__(self, there: Core, plan: Plan, say: Say) -> None:
        self.plan, self.core, self._say = plan, there, say
        self._directory = there.data_dir.parent / "judge"
        self._directory.mkdir()
        self._ledger = Ledger(self._directory / "ledger.jsonl")
        self._breaker = Breaker(there)
        self._over = threading.Event()
        self._problems: list[str] = []
        self.struck: list[Struck] = []
        self._began = time.monotonic()
        self._jobs = 0
        self.watcher = watch.Watcher(there, self._began, say)

    def figures(self) -> dict[str, Any]:
        """Run it all and judge."""
        client = self.core.client(patience_s=PATIENCE_S)
        wait_until(lambda: client.get("/v1/stats")["workers"].get("ready", 0) == 1, 60)
        self._say(f"seed {self.plan.seed}, scenario {self.plan.scenario}, {self.plan.seconds:g} s")
        submitter = threading.Thread(target=self._guarded, args=(self._submit,), name="submitter", daemon=True)
        self.watcher.start()
        submitter.start()
        self._guarded(self._break)
        self._over.set()
        submitter.join(2 * PATIENCE_S)
        if submitter.is_alive():
            self._problems.append("the client has no answer to its last request")
        stuck = self._settle()
        self.watcher.stop()
        verdict = judge(
            self._ledger.promises,
            watch.rows(self.core, NAME),
            marks(self._directory, "begun"),
            marks(self._directory, "beside"),
        )
        self._ledger.close()
        return self._told(verdict, stuck)

    def _guarded(self, work: Any) -> None:
        try:
            work()
        except Exception as problem:  # noqa: BLE001 what goes wrong is a finding, and the judge speaks all the same
            self._problems.append(f"{type(problem).__name__}: {problem}")
            self._over.set()

    # ------------------------------------------------ the client

    def _submit(self) -> None:
        client = self.core.client(patience_s=PATIENCE_S)
        chance = random.Random(f"{self.plan.seed} jobs")
        pause_s = BATCH / self.plan.rate_per_s
        for number in count():
            if self._over.is_set() or (self.plan.jobs and self._jobs >= self.plan.jobs):
                return
            drawn = [
                (round(0.005 + 0.4 * chance.random() ** 3, 3), chance.choice((0, 0, 0, 0, 3))) for _ in range(BATCH)
            ]
            began = time.monotonic()
            self._ask(client, f"chaos-{self.plan.seed}-{number}", drawn)
            self._over.wait(max(0.0, pause_s - (time.monotonic() - began)))

    def _ask(self, client: Client, key: str, drawn: list[tuple[float, int]]) -> list[str]:
        """Submit until there is an answer: the key makes sure that asking again makes no second job."""
        codes = tuple(code for _, code in drawn)
        self._ledger.ask(key, codes)
        specs = [spec_of(self._directory, seconds, code) for seconds, code in drawn]
        deadline = time.monotonic() + 2 * PATIENCE_S
        while True:
            try:
                ids = client.submit_many(specs, key=key)
                break
            except SwarmError as problem:
                if time.monotonic() > deadline:
                    raise
                self._say(f"asks again: {problem}")
        self._ledger.told(Promise(key, codes, tuple(ids)))
        self._jobs += len(ids)
        return ids

    # ------------------------------------------------ the faults

    def _break(self) -> None:
        client = self.core.client(patience_s=PATIENCE_S)
        for fault in faults_of(self.plan.seed, self.plan.scenario, self.plan.gap_s):
            if self._over.wait(fault.after_s) or self._time_s() >= self.plan.seconds:
                return
            if self.plan.jobs and self._jobs >= self.plan.jobs:
                return
            self._strike(client, fault)

    def _strike(self, client: Client, fault: Fault) -> None:
        at_s = self._time_s()
        self._breaker.strike(fault)
        done = time.monotonic()
        took = self._probe(client, len(self.struck), done)
        self.struck.append(Struck(fault.name, round(at_s, 2), took))
        told = "no new job began" if took is None else f"a new job began after {took:.2f} s"
        self._say(f"fault {len(self.struck)}, {fault.name}: {told}; {self._jobs} jobs")

    def _probe(self, client: Client, number: int, since: float) -> float | None:
        """Submit a job of no length and wait for its mark. It is in the ledger like the others."""
        (job_id,) = self._ask(client, f"probe-{self.plan.seed}-{number}", [(0.0, 0)])
        begun = self._directory / f"{job_id}.lock"
        try:
            wait_until(begun.exists, PROBE_S)
        except TimeoutError:
            return None
        return round(time.monotonic() - since, 3)

    def _time_s(self) -> float:
        return time.monotonic() - self._began

    def _settle(self) -> int:
        """Wait until all has ended, or nothing has for `STUCK_S`; return how many have not."""
        wanted = sum(len(promise.ids) for promise in self._ledger.promises)
        seen, since = -1, time.monotonic()
        while time.monotonic() - since < STUCK_S:
            ended = self.watcher.seen.ended[-1][1] if self.watcher.seen.ended else 0
            if ended >= wanted:
                return 0
            if ended != seen:
                seen, since = ended, time.monotonic()
            time.sleep(0.2)
        return wanted - max(seen, 0)

    # ------------------------------------------------ what came out

    def _told(self, verdict: Judgement, stuck: int) -> dict[str, Any]:
        seen, plan = self.watcher.seen, self.plan
        kinds = sorted({struck.name for struck in self.struck})
        back = {kind: [s.recovered_s for s in self.struck if s.name == kind] for kind in kinds}
        slow = sum(struck.recovered_s is None for struck in self.struck)
        failures = verdict.failures + stuck + slow + sum(seen.breaks.values()) + len(self._problems)
        figures = {
            "plan": msgspec.to_builtins(plan),
            "lasted_s": round(self._time_s(), 1),
            "faults": len(self.struck),
            "faults_by_kind": dict(Counter(struck.name for struck in self.struck)),
            "judge": {**msgspec.to_builtins(verdict), "stuck": stuck, "no_recovery": slow},
            "failures": failures,
            "problems": self._problems,
            "invariants": {"looks": seen.looks, "postgres_away": seen.unanswered, "breaks": dict(seen.breaks)},
            "recovery_s": {kind: spread([s for s in took if s is not None], 3) for kind, took in back.items()},
            "timeline": {
                "ended": per_second(seen.ended),
                "faults": [(struck.at_s, struck.name) for struck in self.struck],
            },
        }
        self._table(figures)
        return figures

    def _table(self, figures: Mapping[str, Any]) -> None:
        for kind, took in figures["recovery_s"].items():
            n = figures["faults_by_kind"][kind]
            self._say(
                f"{kind:<20} n {n:>4}   new job after p50 {took.get('p50', 0):6.2f} s  p99 {took.get('p99', 0):6.2f} s"
            )
        verdict = figures["judge"]
        zeros = ", ".join(f"{verdict[name]} {name.replace('_', ' ')}" for name in _ZEROS)
        self._say(f"{figures['faults']} faults, {verdict['jobs']} jobs, {verdict['attempts']} attempts: {zeros}")
        breaks = figures["invariants"]["breaks"]
        looks = figures["invariants"]["looks"]
        self._say(f"{looks} looks at {len(breaks)} invariants: {sum(breaks.values())} breaks")
        for line in (*verdict["examples"], *figures["problems"]):
            self._say(f"FAILED {line}")


_ZEROS: Final = (
    "lost", "unasked", "unfinished", "wrong_verdict", "ended_twice", "began_twice", "beside", "stuck", "no_recovery",
)  # fmt: skip


def spec_of(directory: Path, seconds: float, code: int) -> dict[str, Any]:
    return {
        "image": "none",
        "name": NAME,
        "command": ["/bin/bash", "-c", SCRIPT, str(directory), str(seconds), str(code)],
        "resources": {"cpus": 0.5, "memory": "32MiB"},
        "stop": {"grace": "2s"},
    }


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
