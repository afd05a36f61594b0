"""What workers say to a need: in one word of the contract and a sentence with numbers."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from engine.scheduler.cluster_view import Machine
from swarmsync.model.constraints import Demand
from swarmsync.model.lifecycle import Eligibility, Liveness, WaitReason
from swarmsync.model.resources import Need, format_cpus, format_size
from swarmsync.model.worker import WorkerView


def explain(
    need: Need, machines: Collection[Machine], demands: Sequence[Demand] = (), image: str = ""
) -> tuple[WaitReason, str]:
    """Return the reason that stands first in the contract's order, and its sentence.

    Evaluating: a worker has room now. Reserved: only a worker that is kept for another job has.
    """
    total, matching = len(machines), machines
    if demands:
        matching = [m for m in machines if all(demand.holds(m.view, image) for demand in demands)]
    able = [machine for machine in matching if need.fits(machine.view.capacity)]
    if total == 0:
        return WaitReason.NO_WORKERS, "no worker has joined yet"
    if not matching:
        wanted = " and ".join(f"`{demand}`" for demand in demands)
        return WaitReason.UNSATISFIABLE, f"no registered worker matches {wanted}; {_workers(total)} registered"
    if not able:
        among = f" that matches `{' and '.join(map(str, demands))}`" if demands else ""
        return WaitReason.UNSATISFIABLE, _unsatisfiable(need, [m.view for m in matching], total, among)
    return _standing(need, able)


def _standing(need: Need, able: Sequence[Machine]) -> tuple[WaitReason, str]:
    alive = [machine for machine in able if machine.view.liveness is Liveness.READY]
    if not alive:
        states = Counter(machine.view.liveness.value for machine in able)
        return WaitReason.NO_WORKERS, f"of {_workers(len(able))} that could run it none is ready ({_counts(states)})"
    taking = [machine for machine in alive if machine.view.eligibility is Eligibility.OPEN]
    if not taking:
        states = Counter(machine.view.eligibility.value for machine in alive)
        return (
            WaitReason.WORKERS_CORDONED,
            f"{_workers(len(alive))} could run it but take{_s(len(alive))} no work ({_counts(states)})",
        )
    roomy, lacks = _looked_at(need, taking)
    if any(not machine.reserved for machine in roomy):
        return WaitReason.EVALUATING, f"{_workers(len(roomy))} {'has' if len(roomy) == 1 else 'have'} room for it now"
    if roomy:
        return WaitReason.RESERVED, f"{roomy[0].view.name} has room for it, which is kept for another job"
    detail = ", ".join(
        f"{count} {'lacks' if count == 1 else 'lack'} free {what}" for what, count in lacks.most_common()
    )
    closed = len(alive) - len(taking)
    more = f"; {_workers(closed)} more take{_s(closed)} no work" if closed else ""
    busy = "is" if len(taking) == 1 else "are"
    return WaitReason.RESOURCES, f"{_workers(len(taking))} that could run it {busy} busy: {detail}{more}"


def _looked_at(need: Need, machines: Iterable[Machine]) -> tuple[list[Machine], Counter[str]]:
    """Return who has room, and count who has too little free of what.

    In one pass without calls: workers are many, and it is asked often.
    """
    cpus_milli, memory_bytes, gpus, disk_bytes = need.cpus_milli, need.memory_bytes, need.gpus, need.disk_bytes
    roomy: list[Machine] = []
    of_cpus = of_memory = of_gpus = of_disk = 0
    for machine in machines:
        fits = True
        if machine.cpus_milli < cpus_milli:
            of_cpus += 1
            fits = False
        if machine.memory_bytes < memory_bytes:
            of_memory += 1
            fits = False
        if machine.gpus < gpus:
            of_gpus += 1
            fits = False
        if machine.disk_bytes < disk_bytes:
            of_disk += 1
            fits = False
        if fits:
            roomy.append(machine)
    found = {"cpus": of_cpus, "memory": of_memory, "gpus": of_gpus, "disk": of_disk}
    return roomy, Counter({what: count for what, count in found.items() if count})


def _unsatisfiable(need: Need, views: Iterable[WorkerView], total: int, among: str) -> str:
    largest = Need(0, 0, 0, 0)
    for view in views:
        capacity = view.capacity
        largest = Need(
            max(largest.cpus_milli, capacity.cpus_milli),
            max(largest.memory_bytes, capacity.memory_bytes),
            max(largest.gpus, capacity.gpus),
            max(largest.disk_bytes, capacity.disk_bytes),
        )
    parts = []
    if need.cpus_milli > largest.cpus_milli:
        parts.append(f"{format_cpus(need.cpus_milli)} cpus (largest {format_cpus(largest.cpus_milli)})")
    if need.memory_bytes > largest.memory_bytes:
        parts.append(f"{format_size(need.memory_bytes)} memory (largest {format_size(largest.memory_bytes)})")
    if need.gpus > largest.gpus:
        parts.append(f"{need.gpus} gpus (largest {largest.gpus})")
    if need.disk_bytes > largest.disk_bytes:
        parts.append(f"{format_size(need.disk_bytes)} disk (largest {format_size(largest.disk_bytes)})")
    what = " and ".join(parts) if parts else "all of what it asks for together"
    return f"no registered worker{among} has {what}; {_workers(total)} registered"


def _s(count: int) -> str:
    return "s" if count == 1 else ""


def _workers(count: int) -> str:
    return f"{count} worker{'' if count == 1 else 's'}"


def _counts(states: Counter[str]) -> str:
    return ", ".join(f"{count} {state}" for state, count in states.most_common())
