"""Three Cores on one PostgreSQL; whoever leads is killed, over and over, and it is timed when another starts jobs.

The time runs from the kill of all of the leader's processes until a job begins that was submitted after it, to a Core
that lives. Every fifth time the leader is stopped instead (SIGSTOP), and goes on when another one leads: whatever it
still writes must be refused by PostgreSQL, whatever it still orders by the workers. A judge outside looks for losses.
"""

import random
import signal
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from bench import cores
from bench.cores import Several
from bench.harness import Core, wait_until
from bench.late import STATEMENTS, Ear
from bench.ordeal import Ordeal, judged, tell
from bench.plots import Chart, Point
from bench.results import Say, spread
from bench.scenarios.chaos import keep
from bench.submitter import Submitter
from bench.watch import Watcher

NAME: Final = "failover"
TIMES: Final = 62  # 50 kills, and each fifth time a stop
CORES: Final = 3
STOP_EVERY: Final = 5
GOAL_S: Final = 5.0
_CONFIG: Final = """[workers]
crash_limit = 500
quarantine_jobs = 0
[api]
requests_per_s = 100000
"""


class TakeOver(Struct, frozen=True):
    """One leader that went. `late_writes`, `late_orders`: tried for one that was stopped; all must be refused."""

    kind: str  # kill or stop
    at_s: float
    leader_s: float | None
    job_s: float | None
    late_writes: int = 0
    late_orders: int = 0


def measure(
    *, quick: bool, say: Say, seed: int | None = None, times: int | None = None, ledger: Path | None = None
) -> dict[str, Any]:
    chosen = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    with (
        tempfile.TemporaryDirectory(prefix="swarmsync-bench-") as name,
        cores.several(Path(name), cores=CORES, workers=2, config=_CONFIG) as there,
    ):
        figures = _Run(Path(name), there, chosen, say).figures(times or (5 if quick else TIMES))
    if ledger is not None:
        keep(ledger, figures)
    return figures


class _Run:
    def __init__(self, directory: Path, there: Several, seed: int, say: Say) -> None:
        self._there, self._seed, self._say = there, seed, say
        self._began = time.monotonic()
        self._watcher = Watcher(there.database_url, NAME, list, self._began, say)
        self._submitter = Submitter(directory / "judge", NAME, seed, 8.0, say)
        self._clients = [(core, core.client(patience_s=0.0, timeout_s=3.0)) for core in there.cores]
        self._ear = Ear(there.nats_url, there.database_url)
        self.taken: list[TakeOver] = []
        self._refused = {"writes": 0, "orders": 0}

    def figures(self, times: int) -> dict[str, Any]:
        self._say(f"seed {self._seed}, {times} take-overs")
        ordeal = Ordeal(
            self._submitter,
            self._watcher,
            lambda: [core.client(patience_s=0.0, timeout_s=3.0) for core in self._there.cores],
        )
        self._ear.begin()
        outcome = ordeal.during(lambda: self._break(times))
        self._ear.stop()
        slow = sum(each.job_s is None for each in self.taken)
        kinds = {kind: [each for each in self.taken if each.kind == kind] for kind in ("kill", "stop")}
        figures: dict[str, Any] = {
            "plan": {"seed": self._seed, "scenario": NAME, "times": times},
            "lasted_s": round(time.monotonic() - self._began, 1),
            "faults": len(self.taken),
            "faults_by_kind": {f"{kind} leader": len(each) for kind, each in kinds.items()},
            **judged(outcome, self._watcher.seen, slow),
            "take_overs": {kind: _row(each) for kind, each in kinds.items() if each},
            "late": {
                "writes_tried": sum(each.late_writes for each in self.taken),
                "writes_refused": self._refused["writes"],
                "orders_tried": sum(each.late_orders for each in self.taken),
                "orders_sent": self._ear.late_orders,
                "orders_refused": self._ear.refused,
                "orders_obeyed": self._ear.obeyed,
            },
            "trials": {kind: [each.job_s for each in taken] for kind, taken in kinds.items()},
        }
        late = figures["late"]
        figures["failures"] += late["writes_tried"] - late["writes_refused"] + late["orders_obeyed"]
        self._table(figures)
        return figures

    def _table(self, figures: Mapping[str, Any]) -> None:
        for kind, row in figures["take_overs"].items():
            for what in ("to_leader_s", "to_job_s"):
                words = "  ".join(f"{word} {row[what].get(word, 0):6.2f}" for word in ("p50", "p90", "p99", "max"))
                self._say(f"{kind} {what:<12} n {row[what]['n']:>3}  {words}")
        self._say(", ".join(f"{value} late {name.replace('_', ' ')}" for name, value in figures["late"].items()))
        tell(figures, self._say)

    def _break(self, times: int) -> None:
        chance = random.Random(self._seed)
        for number in range(times):
            wait_until(lambda: self._there.leader() is not None, 60)
            leader = self._there.leader()
            assert leader is not None
            time.sleep(chance.uniform(0.3, 1.5))
            take_over = self._stop if number % STOP_EVERY == STOP_EVERY - 1 else self._kill
            self.taken.append(taken := take_over(leader, number))
            told = "no job began" if taken.job_s is None else f"a new job after {taken.job_s:.2f} s"
            self._say(f"{number + 1}, {taken.kind}: another leads after {taken.leader_s} s, {told}")

    def _kill(self, leader: Core, number: int) -> TakeOver:
        at_s, since = self._time_s(), time.monotonic()
        waiting = self._ear.next_term(self._ear.term())
        cores.kill(leader)
        job_s, leader_s = self._probe(leader, number, since), waiting.result()[1] - since
        leader.start()
        return TakeOver("kill", at_s, round(leader_s, 3), job_s)

    def _stop(self, leader: Core, number: int) -> TakeOver:
        """Stop it, have another one lead, say what it might still say, and let it go on."""
        term, last, frozen = self._ear.term(), self._ear.last(), cores.family(leader)
        waiting = self._ear.next_term(term)
        at_s, since = self._time_s(), time.monotonic()
        cores.send(frozen, signal.SIGSTOP)
        try:
            job_s, leader_s = self._probe(leader, number, since), waiting.result()[1] - since
            self._refused["writes"] += self._ear.try_writes(term)
            late_orders = self._ear.try_orders(last)
        finally:
            cores.send(frozen, signal.SIGCONT)
        old = {process.pid for process in frozen}
        wait_until(lambda: not any(process.pid in old for process in cores.modules(leader)), 60)
        return TakeOver("stop", at_s, round(leader_s, 3), job_s, len(STATEMENTS), late_orders)

    def _probe(self, leader: Core, number: int, since: float) -> float | None:
        living = [client for core, client in self._clients if core is not leader]
        return self._submitter.probe(living, f"probe-{self._seed}-{number}", since)

    def _time_s(self) -> float:
        return round(time.monotonic() - self._began, 2)


def _row(taken: Sequence[TakeOver]) -> dict[str, Any]:
    return {
        "to_leader_s": spread([each.leader_s for each in taken if each.leader_s is not None], 3),
        "to_job_s": spread([each.job_s for each in taken if each.job_s is not None], 3),
        "goal_s": GOAL_S,
    }


def charts(figures: Mapping[str, Any]) -> list[Chart]:
    """The share of take-overs (%) after which a new job had begun within so many seconds."""
    lines: dict[str, list[Point]] = {}
    for kind, took in figures["trials"].items():
        ordered = sorted(seconds for seconds in took if seconds is not None)
        if ordered:
            lines[f"{kind}ed" if kind == "kill" else "stopped"] = [
                (float(seconds), 100.0 * (place + 1) / len(ordered)) for place, seconds in enumerate(ordered)
            ]
    return [Chart("From the end of a leader until a new job begins", "% of take-overs", lines, x_unit="s")]
