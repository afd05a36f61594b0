"""Many worlds, each with its own mixture of troubles: safety after every event, and everything ends.

`SWARMSYNC_SIM_SEEDS` says how many seeds, `SWARMSYNC_SIM_FIRST` where to begin. A failing seed is named with the last
lines of its trace; what was learnt from it becomes a named test of its own.
"""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from world import World, run_seed

SEEDS = int(os.environ.get("SWARMSYNC_SIM_SEEDS", "240"))
FIRST = int(os.environ.get("SWARMSYNC_SIM_FIRST", "0"))
CHUNK = 20  # seeds per test: a failing one is named by its message

TELL_HASH = "import sys; sys.path[:0] = sys.argv[2:]; from world import run_seed; print(run_seed(int(sys.argv[1])).timeline.hash)"


@cache
def trace_of(seed: int) -> tuple[int, int]:
    """The hash of a seed's first run in this process, and its number of events."""
    timeline = run_seed(seed).timeline
    return timeline.hash, timeline.events


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, CHUNK))
def test_every_job_ends_exactly_once(first):
    for seed in range(first, min(first + CHUNK, FIRST + SEEDS)):
        trace_of(seed)


@pytest.mark.parametrize("seed", [3, 17, 31])
def test_a_seed_is_a_world(seed):
    """The same seed gives the same trace, also in a process that hashes strings differently."""
    here = run_seed(seed).timeline.hash
    assert trace_of(seed)[0] == here
    folder = Path(__file__).parent
    command = [sys.executable, "-c", TELL_HASH, str(seed), str(folder), str(folder.parent.parent)]
    told = subprocess.run(
        command, env={**os.environ, "PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True
    )
    assert int(told.stdout) == here


def test_fifty_seeds_give_the_same_trace_twice():
    for seed in range(50):
        timeline = run_seed(seed).timeline
        assert (timeline.hash, timeline.events) == trace_of(seed), seed
        assert timeline.events >= 1_000, seed


def test_seeds_differ():
    assert len({World(seed).timeline.chance.random() for seed in range(50)}) == 50


def test_the_worlds_are_rough_enough():
    """What the invariants speak of must happen in these worlds, or holding them means nothing."""
    worlds = [run_seed(seed) for seed in range(50)]
    happened = {
        "a job was tried again": any(fence > 1 for world in worlds for fence in world.checks.fences.values()),
        "a worker lost its lease": any("silent for" in why for world in worlds for why in world.checks.bounced)
        or any(record.reason == "WorkerLost" for world in worlds for record in world.store.tables.records.values()),
        "late news came": any(record.superseded for world in worlds for record in world.store.tables.records.values()),
        "a ring was full": any(ring.dropped for world in worlds for ring in world.core.rings.values()),
        "modules died": any(world.core.deaths > 3 for world in worlds),
        "messages were lost": any(world.network.lost for world in worlds),
    }
    states = {state for world in worlds for state, count in world.checks.final_states().items() if count}
    assert [what for what, true in happened.items() if not true] == []
    assert states == {"succeeded", "failed", "timed_out", "cancelled", "expired"}
