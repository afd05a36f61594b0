"""More bugs on purpose, each a line of the real cores changed: the simulation must find every one."""

import pytest
from harvester_shell import HarvesterShell
from planting import plant
from rows import Broken
from settings import SimSettings
from statements import Tables
from test_checkers import FULL, LONG, ROUGH, SEEDS_MAX
from world import run_seed

from engine.harvester import verdicts
from engine.harvester.registry import Registry
from worker import steps
from worker.reactor import Reactor

#: People hold, release and cancel so often that some of it falls between a plan and its commit.
MEDDLED = SimSettings(meddle_ms=100)
#: Jobs are over before the news of their beginning is sent.
BRIEF = SimSettings(workers=2, jobs=60, run_ms=20, submit_ms=60_000)
#: name -> (owner, function, text, what it becomes, settings, faults, rates)
BUGS = {
    "rescued by silence alone": (
        Registry, "_expired", "silent_ms > entry.lease_ms + self._limits.lease_slack_ms", "silent_ms > 0",
        LONG, {"partition": 15_000}, {},
    ),
    "orders sent before a join are not void": (
        Registry, "joined", "high = max(high, before.orders, before.sent)", "high = (0, 0)",
        BRIEF, {"module_lag": 1_000, "kill_agent": 1_500}, {},
    ),
    "one attempt more than the retry budget": (
        verdicts, "decide", "if end.tries + 1 >= retry.attempts:", "if end.tries >= retry.attempts:", None, {}, {},
    ),
    "every end is a success": (steps, "end_of", "if code == 0:", "if True:", None, {}, {}),
    "a worker frees its room twice": (
        Reactor, "acknowledged", "del self.held[report.ref.job_id]",
        "self._used = self._used.minus(self.held.pop(report.ref.job_id).terms.need)", FULL, {}, {},
    ),
    "reports are acknowledged before the commit": (
        HarvesterShell, "_reports", "    if starts:\n",
        ("    for letter in letters:\n"
        "        through = letter.word.first_seq + len(letter.word.reports) - 1\n"
        "        self.core.network.reply(self.connection, letter, ReportsAck(through))\n    if starts:\n"),
        None, ROUGH, {"silence": 0.05},
    ),
    "an array ends before its members": (
        Tables, "finish_arrays", "or any(member.finished_at is None for member in members)", "", None, {}, {},
    ),
    "a job that was given away expires": (Tables, "expire", "row.fence > 0 or begun or ", "", None, ROUGH, {}),
    "what waits is dispatched although it is held": (
        Tables, "dispatch", "row is None or row.state not in guard", "row is None", MEDDLED, {"module_lag": 600}, {},
    ),
}  # fmt: skip


@pytest.mark.interpreted
@pytest.mark.parametrize("bug", BUGS)
def test_the_simulation_finds(bug, monkeypatch):
    owner, name, old, new, settings, kinds, rates = BUGS[bug]
    with monkeypatch.context() as patch:
        plant(patch, owner, name, old, new)
        for seed in range(SEEDS_MAX):
            try:
                run_seed(seed, settings, kinds, **rates)
            except Broken:
                break
        else:
            pytest.fail(f"not found within {SEEDS_MAX} seeds")
    run_seed(seed, settings, kinds, **rates)  # and without the bug the same world is fine
