"""A run in which things are broken while jobs flow: the client, the watcher and the judge around whatever breaks."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from bench import watch
from bench.judge import Judgement, judge, marks
from bench.results import Say
from bench.submitter import PATIENCE_S, Submitter
from swarmsync.client import Client

STUCK_S: Final = 30.0  # no job ends for so long, and some have not
_ZEROS: Final = (
    "lost", "unasked", "unfinished", "wrong_verdict", "ended_twice", "began_twice", "beside", "stuck", "no_recovery",
)  # fmt: skip


class Outcome(Struct, frozen=True):
    """What came of the jobs. `problems` are sentences; none of them may be."""

    verdict: Judgement
    stuck: int
    problems: tuple[str, ...]


class Ordeal:
    """`over` is set when the breaking ends, or when the client can go on no more."""

    def __init__(self, submitter: Submitter, watcher: watch.Watcher, clients: Callable[[], Sequence[Client]]) -> None:
        self._submitter, self._watcher, self._clients = submitter, watcher, clients
        self._problems: list[str] = []
        self.over = threading.Event()

    def during(self, breaking: Callable[[], None], *, jobs_max: int = 0) -> Outcome:
        """Let jobs flow while `breaking` runs; wait until all have ended or are stuck, and judge."""
        clients = self._clients()
        flow = threading.Thread(
            target=self.guarded,
            args=(lambda: self._submitter.flow(clients, self.over, self._ended, jobs_max),),
            name="submitter",
            daemon=True,
        )
        self._watcher.start()
        flow.start()
        self.guarded(breaking)
        self.over.set()
        flow.join(2 * PATIENCE_S)
        if flow.is_alive():
            self._problems.append("the client has no answer to its last request")
        stuck = self._settle()
        self._watcher.stop()
        there = self._submitter.directory
        rows = self._watcher.rows(self._submitter.name)
        verdict = judge(self._submitter.ledger.promises, rows, marks(there, "begun"), marks(there, "beside"))
        self._submitter.ledger.close()
        return Outcome(verdict, stuck, tuple(self._problems))

    def guarded(self, work: Callable[[], None]) -> None:
        """Do it; what it raises becomes a finding, and the end."""
        try:
            work()
        except Exception as problem:  # noqa: BLE001 what goes wrong is a finding, and the judge speaks all the same
            self._problems.append(f"{type(problem).__name__}: {problem}")
            self.over.set()

    def _ended(self) -> int:
        return self._watcher.seen.ended[-1][1] if self._watcher.seen.ended else 0

    def _settle(self) -> int:
        """Wait until all has ended, or nothing has for `STUCK_S`; return how many have not."""
        wanted = sum(len(promise.ids) for promise in self._submitter.ledger.promises)
        seen, since = -1, time.monotonic()
        while time.monotonic() - since < STUCK_S:
            ended = self._ended()
            if ended >= wanted:
                return 0
            if ended != seen:
                seen, since = ended, time.monotonic()
            time.sleep(0.2)
        return wanted - max(seen, 0)


def judged(outcome: Outcome, seen: watch.Seen, slow: int) -> dict[str, Any]:
    """Return the figures that all such runs share. `slow`: how often nothing came back in time."""
    failures = outcome.verdict.failures + outcome.stuck + slow + sum(seen.breaks.values()) + len(outcome.problems)
    return {
        "judge": {**msgspec.to_builtins(outcome.verdict), "stuck": outcome.stuck, "no_recovery": slow},
        "failures": failures,
        "problems": list(outcome.problems),
        "invariants": {"looks": seen.looks, "postgres_away": seen.unanswered, "breaks": dict(seen.breaks)},
    }


def tell(figures: Mapping[str, Any], say: Say) -> None:
    """Say what `judged` found."""
    verdict = figures["judge"]
    zeros = ", ".join(f"{verdict[name]} {name.replace('_', ' ')}" for name in _ZEROS)
    say(f"{figures['faults']} faults, {verdict['jobs']} jobs, {verdict['attempts']} attempts: {zeros}")
    breaks = figures["invariants"]["breaks"]
    say(f"{figures['invariants']['looks']} looks at {len(breaks)} invariants: {sum(breaks.values())} breaks")
    for line in (*verdict["examples"], *figures["problems"]):
        say(f"FAILED {line}")
