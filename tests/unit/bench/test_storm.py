"""Faults side by side: as many as were meant, none waits for another, and what goes wrong ends the run."""

import threading
import time
from itertools import count, islice, takewhile

import pytest

from bench import faults
from bench.faults import Fault
from bench.storm import Storm
from bench.submitter import BATCH, OPEN_MAX, Submitter

#: Kills in one run of 80 minutes that are to be reached.
WANTED = {"kill worker": 2_000, "kill postgres": 95, "kill nats": 300, "kill valkey": 300, "wipe nats": 50,
          "flush valkey": 50}  # fmt: skip
RUN_S = 4_800.0
#: What a strike itself takes on a busy machine.
STRIKE_S = 0.05


class Breaker:
    def __init__(self, barrier=None):
        self.struck, self._barrier = [], barrier

    def strike(self, fault):
        if self._barrier is not None:
            self._barrier.wait(10)
        if fault.name == "broken":
            raise LookupError(fault.name)
        self.struck.append(fault.name)


def stream(name):
    return (Fault(name, 0.0, 0.0) for _ in count())


def test_one_run_of_80_minutes_has_the_thousands_of_kills():
    times = {}
    for faults_of_a_kind in faults.hard_faults_of(7):
        at_s = 0.0
        for fault in faults_of_a_kind:
            at_s += fault.after_s + (fault.for_s if fault.name.startswith("pause") else STRIKE_S)
            if at_s > RUN_S:
                break
            times[fault.name] = times.get(fault.name, 0) + 1
    assert {name: n for name, n in times.items() if name in WANTED and n < WANTED[name]} == {}
    assert sum(times[f"kill {name}"] for name in faults.MODULES) >= 3_000


def test_the_streams_are_the_seeds_alone():
    drawn = [[list(islice(each, 50)) for each in faults.hard_faults_of(seed)] for seed in (7, 7, 8)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert {fault.name for each in drawn[0] for fault in each} == {
        name for _, deal in faults.HARD.values() for name in deal
    }


def test_strikers_do_not_wait_for_each_other():
    """Each of them strikes only together with the other."""
    breaker, done = Breaker(threading.Barrier(2)), threading.Semaphore(0)

    def guarded(work):
        work()
        done.release()

    storm = Storm(breaker, guarded)
    storm.begin([islice(stream("a"), 5), islice(stream("b"), 5)], time.monotonic())
    assert [done.acquire(timeout=10) for _ in range(2)] == [True, True]
    storm.end()
    assert sorted(strike.name for strike in storm.strikes) == ["a"] * 5 + ["b"] * 5


def test_a_storm_is_over_when_its_time_is_though_nobody_has_ended_it():
    """On a busy machine a client waited for a minute for its job, and was struck at for as long."""
    breaker, done = Breaker(), threading.Semaphore(0)
    storm = Storm(breaker, lambda work: (work(), done.release()))
    storm.begin([stream("a"), stream("b")], time.monotonic() - 60, lasts_s=60)
    assert [done.acquire(timeout=10) for _ in range(2)] == [True, True]
    assert storm.strikes == []
    storm.end()


def test_what_a_striker_meets_is_kept():
    problems, ended = [], threading.Event()

    def guarded(work):
        try:
            work()
        except LookupError as problem:
            problems.append(problem)
            ended.set()

    storm = Storm(Breaker(), guarded)
    storm.begin([stream("broken")], time.monotonic())
    assert ended.wait(10)
    storm.end()
    assert [str(problem) for problem in problems] == ["broken"]
    assert storm.strikes == []


def test_a_client_waits_where_the_machine_does_not_keep_up(tmp_path, monkeypatch):
    """Else a probe would wait for all that was submitted before it, and tell nothing of faults."""
    submitter = Submitter(tmp_path, "x", 1, 1e6, lambda _text: None)
    over, asked = threading.Event(), []

    def ask(_clients, _key, specs):
        submitter.jobs += len(specs)
        asked.append(submitter.jobs)

    def ended():
        if submitter.jobs >= OPEN_MAX + 3 * BATCH:
            over.set()
        return max(0, submitter.jobs - OPEN_MAX + 1) if submitter.jobs < OPEN_MAX + 3 * BATCH else 0

    monkeypatch.setattr(submitter, "ask", ask)
    submitter.flow([], over, ended)
    submitter.ledger.close()
    assert asked == list(takewhile(lambda jobs: jobs <= OPEN_MAX + 3 * BATCH, count(BATCH, BATCH)))


@pytest.mark.parametrize("away", [1, 3])
def test_a_process_that_another_has_just_ended_is_waited_for(monkeypatch, away):
    breaker = faults.Breaker(None)
    answers = iter([LookupError("logger")] * away)

    def process(_name):
        for problem in answers:
            raise problem
        return "process"

    monkeypatch.setattr(breaker, "process", process)
    assert breaker._present("logger") == "process"
