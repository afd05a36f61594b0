"""Which workers each program runs: all of them, each once, and no more programs than processors."""

import pytest

from conf.settings import SIMULATED_PER_PROGRAM_MIN, LocalWorkerSettings, WorkerSite
from worker import program


@pytest.mark.parametrize(
    ("runtime", "count", "processors", "programs"),
    [
        ("auto", 1, 8, [range(1)]),
        ("docker", 50, 8, [range(1)]),
        ("simulated", 1, 8, [range(1)]),
        ("simulated", 2 * SIMULATED_PER_PROGRAM_MIN - 1, 8, [range(7)]),
        ("simulated", 8, 1, [range(8)]),
        ("simulated", 8, 2, [range(4), range(4, 8)]),
        ("simulated", 50, 4, [range(12), range(12, 25), range(25, 37), range(37, 50)]),
    ],
)
def test_many_simulated_workers_are_spread_over_the_processors(runtime, count, processors, programs):
    assert LocalWorkerSettings(runtime=runtime, simulated_count=count).programs(processors) == programs


def test_each_program_runs_its_own_and_a_program_that_was_told_none_runs_all():
    settings = LocalWorkerSettings(runtime="simulated", name="sim", simulated_count=10)
    site = WorkerSite("nats://", "token", "state", settings)
    names = [worker.name for worker in program.workers_of(site)]
    assert names == [f"sim-{number}" for number in range(10)]
    parts = [(part.start, part.stop) for part in settings.programs(2)]
    shared = [WorkerSite("nats://", "token", "state", settings, numbers=numbers) for numbers in parts]
    assert [worker.name for part in shared for worker in program.workers_of(part)] == names


def test_a_worker_that_is_alone_has_the_name_it_was_given():
    settings = LocalWorkerSettings(name="desk")
    assert program.workers_of(WorkerSite("nats://", "token", "state", settings, numbers=(0, 1))) == [settings]
