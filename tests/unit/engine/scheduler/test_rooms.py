"""The index of free room beside a scan of all workers, over random changes."""

import random

import pytest

from engine.scheduler.cluster_view import Machine
from engine.scheduler.rooms import Grid, Near, Rooms
from swarmsync.model.resources import Need
from swarmsync.model.worker import WorkerView

GIB = 1 << 30


def need_of(chance):
    return Need(
        chance.choice((0, 250, 500, 501, 1_000, 4_000, 9_999, 95_000)),
        chance.choice((0, 1, GIB, GIB + 1, 3 * GIB, 40 * GIB)),
        chance.choice((0, 0, 0, 1, 2)),
        chance.choice((0, 0, 5)),
    )


@pytest.mark.parametrize("seed", range(12))
def test_something_is_found_if_and_only_if_something_fits_and_never_for_what_was_taken_out(seed):
    chance = random.Random(seed)
    rooms = Rooms()
    machines = [
        Machine(
            WorkerView(n, f"w{n}", Need(chance.choice((4_000, 16_000, 96_000)), 64 * GIB, n % 3, chance.choice((3, 9))))
        )
        for n in range(1, 30)
    ]
    inside: dict[int, Machine] = {}
    nears: dict[Need, Near] = {}
    found_some = found_none = 0
    for job_id in range(600):
        machine = chance.choice(machines)
        if chance.random() < 0.2:
            rooms.take_out(machine)
            inside.pop(machine.view.worker_id, None)
        else:
            need, more = need_of(chance), machine.view.worker_id not in inside
            if machine.fits(need):
                machine.hold(job_id, need)
            elif machine.holds:
                more |= machine.release(next(iter(machine.holds)))
            (rooms.grew if more else rooms.put)(machine)
            inside[machine.view.worker_id] = machine
        wanted = need_of(chance)
        able = [other for other in inside.values() if other.fits(wanted)]
        for chosen in (rooms.choose(wanted, nears.setdefault(wanted, Near())), rooms.choose(wanted)):
            assert (chosen is None) == (not able)
            assert chosen is None or (chosen in able and chosen.gpus == min(other.gpus for other in able))
        if chosen is None:
            found_none += 1
            continue
        found_some += 1
    assert found_some > 50
    assert found_none > 5


def test_what_is_left_keeps_the_proportions_of_the_cluster():
    """2 GiB a cpu: of workers with enough cpus, the one that is left with neither cpus nor memory too many."""
    rooms = Rooms()
    sizes = ((16_000, 32), (4_000, 30), (4_000, 8), (15_000, 8))
    for number, (cpus, gib) in enumerate(sizes, 1):
        rooms.put(Machine(WorkerView(number, f"w{number}", Need(cpus, gib * GIB))))

    def chosen(cpus, gib):
        machine = rooms.choose(Need(cpus, gib * GIB))
        return machine and machine.view.worker_id

    assert [chosen(1_000, 2), chosen(2_000, 28), chosen(12_000, 4), chosen(5_000, 20)] == [3, 2, 4, 1]
    assert chosen(16_001, 1) is None


def test_workers_beyond_the_grid_are_told_apart_by_what_they_have():
    rooms = Rooms()
    for number, cpus in enumerate((1 << 40, 1 << 41), 1):
        rooms.put(Machine(WorkerView(number, f"w{number}", Need(cpus, 1 << 60))))
    chosen = rooms.choose(Need((1 << 40) + 1, 1 << 50))
    assert chosen is not None
    assert chosen.view.worker_id == 2
    assert rooms.choose(Need((1 << 41) + 1, 1)) is None


def test_what_one_search_found_serves_the_next_decisions_until_something_much_better_fits():
    """2 GiB a cpu. Two jobs go to the worker that is left with least; then only looser ones are near: a new search."""
    rooms, near = Rooms(), Near()
    wanted = Need(1_000, 2 * GIB)
    machines = {}
    for number, (cpus, gib) in enumerate(((3_000, 6), (40_000, 80)), 1):
        machines[number] = Machine(WorkerView(number, f"w{number}", Need(cpus, gib * GIB)))
        rooms.put(machines[number])
    order = []
    for job_id in range(4):
        machine = rooms.choose(wanted, near)
        assert machine is not None
        order.append(machine.view.worker_id)
        machine.hold(job_id, wanted)
        rooms.put(machine)
    assert order == [1, 1, 1, 2]
    machines[3] = Machine(WorkerView(3, "w3", Need(1_000, 2 * GIB)))
    rooms.put(machines[3])
    near.uses = 0  # as after some decisions
    chosen = rooms.choose(wanted, near)
    assert chosen is machines[3]


def test_who_was_chosen_last_is_chosen_again_while_it_gets_better_and_compared_once_it_got_worse():
    rooms, near = Rooms(), Near()
    wanted = Need(1_000, 2 * GIB)
    machines = [
        Machine(WorkerView(n, f"w{n}", Need(cpus, 2 * cpus // 1_000 * GIB))) for n, cpus in ((1, 8_000), (2, 9_000))
    ]
    for machine in machines:
        rooms.put(machine)
    machines[0].hold(99, Need(2_000, 4 * GIB))
    rooms.put(machines[0])
    for job_id in range(3):
        assert rooms.choose(wanted, near) is machines[0]
        machines[0].hold(job_id, wanted)
        rooms.put(machines[0])
    machines[1].hold(98, Need(6_000, 12 * GIB))  # as much room as the first has
    rooms.put(machines[1])
    machines[0].release(99)
    rooms.put(machines[0])
    assert rooms.choose(wanted, near) is machines[1]


def with_gpus(count):
    return [Machine(WorkerView(n, f"g{n}", Need(64_000, 512 * GIB, 8))) for n in range(1, count + 1)]


def test_jobs_that_take_some_of_a_workers_gpus_leave_the_other_workers_whole():
    rooms, near = Rooms(), Near()
    rooms.bytes_per_milli = 8 * GIB // 1_000
    wanted = Need(4_000, 32 * GIB, 1)
    machines = with_gpus(8)
    for machine in machines:
        rooms.put(machine)
    for job_id in range(8):
        chosen = rooms.choose(wanted, near)
        chosen.hold(job_id, wanted)
        rooms.put(chosen)
    assert sorted(machine.gpus for machine in machines) == [0] + [8] * 7


def test_work_without_gpus_goes_to_a_worker_without_as_soon_as_one_has_room():
    rooms, near = Rooms(), Near()
    rooms.bytes_per_milli = 8 * GIB // 1_000
    wanted = Need(4_000, 32 * GIB)
    plain = Machine(WorkerView(99, "plain", Need(64_000, 512 * GIB)))
    plain.hold(1, Need(64_000, 512 * GIB))
    for machine in (plain, *with_gpus(8)):
        rooms.put(machine)
    first = rooms.choose(wanted, near)
    first.hold(2, wanted)
    rooms.put(first)
    plain.release(1)
    rooms.put(plain)
    assert first is not plain
    assert rooms.choose(wanted, near) is plain


@pytest.mark.interpreted
def test_workers_that_were_as_good_as_the_best_are_taken_before_any_that_is_worse_unless_they_changed(monkeypatch):
    """The first job makes a worker even, the next would make it odd: that goes to an untouched twin, unsearched."""
    rooms, near = Rooms(), Near()
    wanted = Need(1_000, 6 * GIB)  # where the cluster has 2 GiB a cpu
    twins = [Machine(WorkerView(n, f"w{n}", Need(8_000, 20 * GIB))) for n in range(1, 6)]
    others = [Machine(WorkerView(n, f"w{n}", Need(12_000, 24 * GIB))) for n in range(6, 9)]
    for machine in (*twins, *others):
        rooms.put(machine)
    searches = []
    search = Grid.search
    monkeypatch.setattr(Grid, "search", lambda *args: searches.append(1) or search(*args))

    def place(job_id):
        machine = rooms.choose(wanted, near)
        machine.hold(job_id, wanted)
        rooms.put(machine)
        return machine

    chosen = [place(1)]
    changed, gone, *left = [machine for machine in twins if machine not in chosen]
    changed.hold(99, Need(2_000, 4 * GIB))
    rooms.put(changed)
    rooms.take_out(gone)
    chosen += [place(2), place(3)]
    assert chosen[1:] == left or chosen[:0:-1] == left
    assert len(searches) == 1
