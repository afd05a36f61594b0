"""How soon Core works again after each thing that can break: from the instant of the fault until a new job begins.

The job is submitted right after the fault, by a client that asks again with the same key while it is refused. A worker
whose agent was killed is back when the verdicts of all its jobs are there, which ended while it had none; a machine is
lost with all its processes, and its jobs must run elsewhere. Jobs flow meanwhile, and a judge outside looks for losses.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Final

import psutil
from msgspec import Struct

from bench import watch
from bench.faults import BACK_S, MODULES, Breaker
from bench.harness import Core, core, wait_until
from bench.judge import marks
from bench.ordeal import Ordeal, judged, tell
from bench.plots import Chart, Point
from bench.results import Say, spread
from bench.scenarios.chaos import keep
from bench.submitter import PATIENCE_S, PROBE_S, Submitter

NAME: Final = "recovery"
TIMES: Final = 10
HELD: Final = 4
#: What must come true within how many seconds (p99).
GOALS_S: Final[Mapping[str, float]] = {
    **{f"kill {name}": 1.0 for name in MODULES},
    **{f"hang {name}": 5.0 for name in MODULES},
    "kill supervisor": 3.0,
    "kill postgres": 5.0,
    "kill nats": 3.0,
    "kill valkey": 1.0,
    "kill api": 3.0,
    "kill api process": 1.0,
    "kill worker": 3.0,
    "lose machine": 20.0,
}
#: What takes long, and by a clock that is set: only every so many rounds.
_RARE: Final[Mapping[str, int]] = {**{f"hang {name}": 5 for name in MODULES}, "lose machine": 5}
CONFIG: Final = """cpus = 8
memory = "8GiB"
[workers]
crash_limit = 500
quarantine_jobs = 0
lease_ms = 12000
lease_slack_ms = 1000
[api]
requests_per_s = 100000
[supervisor]
restarts_max = 10000
restarts_window_ms = 1000
"""
#: As the judge's script, but it runs until there is a file of the name $1.
_HOLD: Final = (
    'exec 9>"$0/$SWARMSYNC_JOB_ID.lock"; flock -n 9 || echo "$SWARMSYNC_JOB_ID $SWARMSYNC_FENCE" >> "$0/beside"; '
    'echo "$SWARMSYNC_JOB_ID $SWARMSYNC_FENCE" >> "$0/begun"; while [ ! -e "$0/$1" ]; do sleep 0.1 9>&-; done; '
    'exit "$2"'
)
_MARK: Final = "SWARMSYNC_BENCH_MACHINE"


class Trial(Struct, frozen=True):
    """A fault that was; `back_s` is when the process itself was there again, where one was ended."""

    name: str
    at_s: float
    took_s: float | None
    back_s: float | None = None


def measure(
    *, quick: bool, say: Say, seed: int | None = None, times: int | None = None, faults: Sequence[str] = (),
    ledger: Path | None = None,
) -> dict[str, Any]:  # fmt: skip
    chosen = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    with core("process", config=CONFIG) as there:
        run = _Run(there, chosen, say)
        figures = run.figures(faults or tuple(GOALS_S), times or (2 if quick else TIMES))
    if ledger is not None:
        keep(ledger, figures)
    return figures


class _Run:
    def __init__(self, there: Core, seed: int, say: Say) -> None:
        self._core, self._seed, self._say = there, seed, say
        self._began = time.monotonic()
        self._breaker = Breaker(there)
        self._watcher = watch.of(there, NAME, self._began, say)
        self._submitter = Submitter(there.data_dir.parent / "judge", NAME, seed, 6.0, say)
        self._client = there.client(patience_s=PATIENCE_S)
        self._numbers = count()
        self._machine: _Machine | None = None
        self.trials: list[Trial] = []

    def figures(self, faults: Sequence[str], times: int) -> dict[str, Any]:
        wait_until(lambda: self._ready("bench"), 60)
        self._say(f"seed {self._seed}, {times} times {', '.join(faults)}")
        ordeal = Ordeal(self._submitter, self._watcher, lambda: [self._core.client(patience_s=PATIENCE_S)])
        if "lose machine" in faults:
            self._machine = _Machine(self._core)
            self._machine.start()
        try:
            outcome = ordeal.during(lambda: self._break(faults, times))
        finally:
            if self._machine is not None:
                self._machine.lose()
        names = [name for name in GOALS_S if name in faults]
        took = {name: [trial for trial in self.trials if trial.name == name] for name in names}
        slow = sum(trial.took_s is None for trial in self.trials)
        figures = {
            "plan": {"seed": self._seed, "scenario": NAME, "times": times},
            "lasted_s": round(time.monotonic() - self._began, 1),
            "faults": len(self.trials),
            "faults_by_kind": {name: len(trials) for name, trials in took.items()},
            **judged(outcome, self._watcher.seen, slow),
            "recovery": {name: _row(name, trials) for name, trials in took.items() if trials},
            "trials": {name: [trial.took_s for trial in trials] for name, trials in took.items()},
        }
        self._table(figures)
        return figures

    def _table(self, figures: Mapping[str, Any]) -> None:
        for name, row in figures["recovery"].items():
            words = "  ".join(f"{word} {row[word]:6.2f}" for word in ("p50", "p99", "max", "goal_s") if word in row)
            self._say(f"{name:<18} n {row['n']:>3}  {words}  {'met' if row['met'] else 'MISSED'}")
        tell(figures, self._say)

    # ------------------------------------------------ the faults

    def _break(self, faults: Sequence[str], times: int) -> None:
        chance = random.Random(self._seed)
        for number in range(times):
            due = [name for name in faults if number % _RARE.get(name, 1) == 0]
            for name in chance.sample(due, len(due)):
                time.sleep(chance.uniform(0.3, 1.3))
                self.trials.append(trial := self._trial(name))
                took = "not within 90 s" if trial.took_s is None else f"{trial.took_s:.3f} s"
                self._say(f"{len(self.trials)} {name}: {took}")

    def _trial(self, name: str) -> Trial:
        verb, _, target = name.partition(" ")
        at_s = round(time.monotonic() - self._began, 2)
        if target == "worker":
            return Trial(name, at_s, self._kill_worker())
        if target == "machine":
            return Trial(name, at_s, self._lose_machine())
        if target == "supervisor":
            return Trial(name, at_s, self._kill_supervisor())
        wait_until(lambda: self._breaker.is_there("api" if target == "api process" else target), BACK_S)
        old = self._breaker.process("api" if target == "api process" else target)
        if target == "api process":
            old = old.children()[0]
        since = time.monotonic()
        old.send_signal(signal.SIGSTOP if verb == "hang" else signal.SIGKILL)
        took = self._probe(since)
        if target == "api process":
            return Trial(name, at_s, took)
        back = self._submitter.wait_for(lambda: self._is_another(target, old.pid), since)
        return Trial(name, at_s, took, back)

    def _is_another(self, target: str, pid: int) -> bool:
        try:
            return self._breaker.process(target).pid != pid
        except LookupError:
            return False

    def _probe(self, since: float) -> float | None:
        return self._submitter.probe([self._client], f"probe-{self._seed}-{next(self._numbers)}", since)

    def _kill_supervisor(self) -> float | None:
        """Kill it and start another at once, as an init does."""
        since = time.monotonic()
        os.kill(self._core.process.pid, signal.SIGKILL)
        self._core.process.wait(60)
        self._core.start()
        return self._probe(since)

    def _kill_worker(self) -> float | None:
        """Its jobs end while it has no agent; the next one has to find what they left, and to report it."""
        go, ids = self._hold(HELD)
        since = time.monotonic()
        self._breaker.process("worker").send_signal(signal.SIGKILL)
        go.touch()
        return self._submitter.wait_for(lambda: self._all_ended(ids), since)

    def _all_ended(self, ids: Sequence[str]) -> bool:
        return all(self._client.get(f"/v1/jobs/{job_id}")["finished_at"] for job_id in ids)

    def _lose_machine(self) -> float | None:
        """End all processes of a second worker, its watchdog and its jobs; they must begin again on the first."""
        assert self._machine is not None
        wait_until(lambda: self._ready("machine"), PROBE_S)
        self._client.call("POST", "/v1/workers/bench/cordon")
        try:
            go, ids = self._hold(2)
        finally:
            self._client.call("POST", "/v1/workers/bench/uncordon")
        since = time.monotonic()
        self._machine.lose()
        took = self._submitter.wait_for(lambda: all(self._begun_again(job_id) for job_id in ids), since)
        go.touch()
        self._machine.start()
        return took

    def _begun_again(self, job_id: str) -> bool:
        return sum(line.startswith(f"{job_id} ") for line in marks(self._submitter.directory, "begun")) > 1

    def _hold(self, jobs: int) -> tuple[Path, list[str]]:
        """Begin jobs that run until a file is there; return it, and their ids."""
        number = next(self._numbers)
        go = f"go-{number}"
        spec = self._submitter.spec(go, 0, script=_HOLD, priority=100, stop={"grace": "1s"})
        ids = self._submitter.ask([self._client], f"hold-{self._seed}-{number}", [spec] * jobs)
        wait_until(lambda: all(self._submitter.begun(job_id).exists() for job_id in ids), PROBE_S)
        wait_until(lambda: all(self._state(job_id) == "running" for job_id in ids), PROBE_S)
        return self._submitter.directory / go, ids

    def _state(self, job_id: str) -> str:
        state: str = self._client.get(f"/v1/jobs/{job_id}")["state"]
        return state

    def _ready(self, worker: str) -> bool:
        listed = self._client.get("/v1/workers")["items"]
        return any(w["name"] == worker and w["liveness"] == "ready" for w in listed)


class _Machine:
    """A second worker, with a data directory and a session of its own, that can be lost with all that it runs."""

    def __init__(self, there: Core) -> None:
        joined = there.client().call("POST", "/v1/workers", {"name": "machine"})
        self._mark = f"{os.getpid()}-{joined['token'][-8:]}"
        self._command = [sys.executable, "-m", "engine.swarmsyncd", "worker", "--nats", joined["nats_url"]]
        self._command += ["--token", joined["token"], "--name", "machine", "--runtime", "process", "--cpus", "1"]
        self._command += ["--memory", "1GiB", "--data-dir", str(there.data_dir.parent / "machine")]
        self._out = there.data_dir.parent / "machine.out"
        self._agent: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environ = {key: value for key, value in os.environ.items() if not key.startswith("SWARMSYNC_")}
        with self._out.open("ab") as out:
            self._agent = subprocess.Popen(self._command, env=environ | {_MARK: self._mark}, stdout=out, stderr=out)

    def lose(self) -> None:
        ours = [process for process in psutil.process_iter() if self._is_ours(process)]
        for process in [*ours, *(child for each in ours for child in _children(each))]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if self._agent is not None:
            self._agent.wait(10)

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get(_MARK) == self._mark
        except (psutil.Error, OSError):
            return False


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _row(name: str, trials: Sequence[Trial]) -> dict[str, Any]:
    took = spread([trial.took_s for trial in trials if trial.took_s is not None], 3)
    back = spread([trial.back_s for trial in trials if trial.back_s is not None], 3)
    met = all(trial.took_s is not None for trial in trials) and took.get("p99", 0) <= GOALS_S[name]
    replaced = {"replaced_p99": back["p99"]} if back["n"] else {}
    return {**took, **replaced, "goal_s": GOALS_S[name], "met": met}


def charts(figures: Mapping[str, Any]) -> list[Chart]:
    rows = figures["recovery"]
    words: list[tuple[str, Callable[[Mapping[str, Any]], float]]] = [
        ("p50", lambda row: row.get("p50", 0.0)), ("p99", lambda row: row.get("p99", 0.0)),
        ("goal", lambda row: row["goal_s"]),
    ]  # fmt: skip
    bars: dict[str, list[Point]] = {word: [(name, read(row)) for name, row in rows.items()] for word, read in words}
    return [Chart("From a fault until a new job begins", "s", bars)]
