"""Every call fails once, in turn: refused, never answered, or done with its answer lost. No job may notice.

Each scenario first runs whole, and its calls are counted, statements and messages. Then it runs again for each of the
first calls of a kind, and with SWARMSYNC_NTH_CALLS=all for every single call; in each way to fail.
"""

import os
from collections.abc import Mapping
from functools import cache

import pytest
from fates import DONE, FAILURES, REFUSED, SILENT
from rows import Broken
from scenarios import SCENARIOS
from scenes import Scene

SEED = 11
#: Which calls of a kind fail in `make test`. What is called more often is called the same way again.
NTHS = (1, 2)
EVERY_CALL = os.environ.get("SWARMSYNC_NTH_CALLS") == "all"
#: Statements and messages that the scenarios must make together.
KINDS = frozenset({
    "dispatch", "due", "ends", "expire", "feed", "feed_start", "finish_arrays", "join_worker", "load_placed",
    "load_queued", "load_workers", "timetable", "next_epoch", "offered", "open_arrays", "overlooked", "progress",
    "release", "renote", "resend", "save_line_waits", "save_liveness", "settle", "specs", "started", "stops", "store_output",
    "waited_for",
    "answer to join", "answer to logs", "answer to pulse", "answer to reports", "changed", "join", "logs", "orders",
    "pulse", "receipt", "reports",
})  # fmt: skip


def play(name: str, fates: Mapping[str, list[str]]) -> Scene:
    """Play a scenario; `fates` is what becomes of the calls of each kind, in order. Raises Broken."""
    workers, scenario = SCENARIOS[name]
    scene = Scene(SEED, workers=workers)
    for kind, fate in fates.items():
        calls = scene.network if kind in scene.network.KINDS else scene.store
        calls.fates[kind] = list(fate)
    ends = scenario(scene)
    scene.until(lambda: len(scene.checks.finals) == len(scene.people.made), 180_000)
    scene.heal_and_run()
    if scene.checks.finals != ends:
        raise Broken(f"{name} with {fates}: {scene.checks.finals}, and not {ends}")
    return scene


@cache
def calls(name: str) -> dict[str, int]:
    """How often each kind of call is made before everything has ended."""
    scene = play(name, {})
    return scene.store.calls | scene.network.calls


def nths(count: int) -> list[int]:
    return list(range(1, count + 1)) if EVERY_CALL else [nth for nth in NTHS if nth <= count]


def test_the_scenarios_make_every_kind_of_call():
    assert {kind for name in SCENARIOS for kind in calls(name)} == KINDS


@pytest.mark.timeout(600 if EVERY_CALL else 60)
@pytest.mark.parametrize("fate", FAILURES)
@pytest.mark.parametrize("name", SCENARIOS)
def test_each_call_fails_once(name, fate):
    for kind, count in calls(name).items():
        for nth in nths(count):
            try:
                play(name, {kind: [DONE] * (nth - 1) + [fate]})
            except AssertionError as broken:
                raise Broken(f"{name}: {kind}, call {nth}, {fate}: {broken}") from broken


@pytest.mark.parametrize("fate", [REFUSED, SILENT])
@pytest.mark.parametrize("name", SCENARIOS)
def test_each_kind_of_call_fails_many_times_in_a_row(name, fate):
    for kind in calls(name):
        play(name, {kind: [fate] * 6})
