"""Why a shape waits: the word of the contract and the sentence with numbers."""

import pytest

from engine.scheduler.cluster_view import Machine
from engine.scheduler.refusals import explain
from swarmsync.model.lifecycle import Eligibility, Liveness, WaitReason
from swarmsync.model.resources import Need
from swarmsync.model.worker import WorkerView

GIB = 1 << 30
SMALL, LARGE = Need(2_000, 2 * GIB, 0, GIB), Need(8_000, 16 * GIB, 2, GIB)


def machine(capacity=LARGE, *, liveness=Liveness.READY, eligibility=Eligibility.OPEN, used=None):
    made = Machine(WorkerView(1, "w", capacity, {}, liveness, eligibility))
    if used is not None:
        made.hold(99, used)
    return made


@pytest.mark.parametrize(
    ("machines", "reason", "sentence"),
    [
        ([], WaitReason.NO_WORKERS, "no worker has joined yet"),
        (
            [machine(liveness=Liveness.LOST), machine(liveness=Liveness.LOST), machine(liveness=Liveness.OFFLINE)],
            WaitReason.NO_WORKERS,
            "of 3 workers that could run it none is ready (2 lost, 1 offline)",
        ),
        (
            [machine(eligibility=Eligibility.CORDONED)],
            WaitReason.WORKERS_CORDONED,
            "1 worker could run it but takes no work (1 cordoned)",
        ),
        (
            [machine(used=Need(7_500, 1)), machine(used=Need(7_500, 15 * GIB + 1))],
            WaitReason.RESOURCES,
            "2 workers that could run it are busy: 2 lack free cpus, 1 lacks free memory",
        ),
        (
            [machine(used=LARGE), machine(eligibility=Eligibility.DRAINING), machine(liveness=Liveness.LOST)],
            WaitReason.RESOURCES,
            "1 worker that could run it is busy: 1 lacks free cpus, 1 lacks free memory; 1 worker more takes no work",
        ),
        (
            [machine(used=LARGE), machine(eligibility=Eligibility.CORDONED), machine(eligibility=Eligibility.CORDONED)],
            WaitReason.RESOURCES,
            "1 worker that could run it is busy: 1 lacks free cpus, 1 lacks free memory; 2 workers more take no work",
        ),
    ],
)
def test_the_reason_and_its_sentence(machines, reason, sentence):
    assert explain(Need(1_000, GIB), machines) == (reason, sentence)


@pytest.mark.parametrize(
    ("need", "sentence"),
    [
        (Need(9_500, 1), "no registered worker has 9.5 cpus (largest 8); 2 workers registered"),
        (Need(1, 17 * GIB), "no registered worker has 17GiB memory (largest 16GiB); 2 workers registered"),
        (Need(1, 1, 4), "no registered worker has 4 gpus (largest 2); 2 workers registered"),
        (Need(1, 1, 0, 3 * GIB), "no registered worker has 3GiB disk (largest 1GiB); 2 workers registered"),
        (
            Need(9_000, 17 * GIB),
            "no registered worker has 9 cpus (largest 8) and 17GiB memory (largest 16GiB); 2 workers registered",
        ),
    ],
)
def test_what_can_never_run_says_what_is_missing_and_the_largest_there_is(need, sentence):
    assert explain(need, [machine(SMALL), machine(LARGE)]) == (WaitReason.UNSATISFIABLE, sentence)


def test_each_worker_has_something_but_none_has_all():
    machines = [machine(Need(8_000, GIB)), machine(Need(1_000, 16 * GIB))]
    reason, sentence = explain(Need(4_000, 4 * GIB), machines)
    assert reason is WaitReason.UNSATISFIABLE
    assert sentence == "no registered worker has all of what it asks for together; 2 workers registered"


def test_only_workers_that_could_ever_run_it_are_counted():
    machines = [machine(SMALL), machine(LARGE, used=LARGE)]
    assert explain(Need(4_000, GIB), machines)[1].startswith("1 worker that could run it is busy")


def test_a_cordon_hides_behind_no_busy_worker_of_the_wrong_size():
    machines = [machine(SMALL, used=SMALL), machine(LARGE, eligibility=Eligibility.CORDONED)]
    assert explain(Need(4_000, GIB), machines)[0] is WaitReason.WORKERS_CORDONED
