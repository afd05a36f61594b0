"""Sentences of lines that wait look at workers only so often, where workers are many, and all are told in the end."""

from engine.scheduler.placement import Scheduler
from engine.scheduler.telling import WORKERS_PER_MS
from swarmsync.model.job import Waiting
from swarmsync.model.resources import Need
from swarmsync.model.worker import WorkerView
from swarmsync.protocol.messages import JobsSubmitted, LineWaits, WorkerJoined

WORKERS, KINDS = 20 * WORKERS_PER_MS, 40
LOOK_MS = WORKERS // WORKERS_PER_MS


def test_one_line_after_the_other_is_told_why_it_waits():
    core = Scheduler()
    views = [WorkerJoined(WorkerView(number, f"w{number}", Need(1_000, 1 << 30))) for number in range(1, WORKERS + 1)]
    jobs = tuple(Waiting(kind, kind, Need(2_000 + kind, 1), 50, 1) for kind in range(1, KINDS + 1))
    told = core.handle([*views, JobsSubmitted(jobs)], now_ms=0, places_max=100)
    at_once = len([word for word in told if isinstance(word, LineWaits)])
    assert 0 < at_once < KINDS // 2
    pause_ms = at_once * LOOK_MS
    assert core.handle([], now_ms=pause_ms - 1, places_max=100) == []
    assert not core.restless(pause_ms - 1)
    assert core.restless(pause_ms)
    for turn in range(1, KINDS):
        told += core.handle([], now_ms=turn * pause_ms, places_max=100)
    assert {word.line for word in told if isinstance(word, LineWaits)} == set(range(1, KINDS + 1))
