"""Why a shape waits, in one word of the contract and a sentence with numbers."""

from collections import Counter
from collections.abc import Iterable

from engine.scheduler.cluster_view import Machine
from swarmsync.model.lifecycle import Eligibility, Liveness, WaitReason
from swarmsync.model.resources import Need, format_cpus, format_size


def explain(need: Need, machines: Iterable[Machine]) -> tuple[WaitReason, str]:
    """Return the reason that stands first in the contract's order, and its sentence."""
    able, total = [], 0
    largest = Need(0, 0, 0, 0)
    for machine in machines:
        total += 1
        capacity = machine.view.capacity
        largest = Need(
            max(largest.cpus_milli, capacity.cpus_milli),
            max(largest.memory_bytes, capacity.memory_bytes),
            max(largest.gpus, capacity.gpus),
            max(largest.disk_bytes, capacity.disk_bytes),
        )
        if need.fits(capacity):
            able.append(machine)
    if total == 0:
        return WaitReason.NO_WORKERS, "no worker has joined yet"
    if not able:
        return WaitReason.UNSATISFIABLE, _unsatisfiable(need, largest, total)
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
    lacks = Counter(what for machine in taking for what in need.lacks(machine.free))
    detail = ", ".join(
        f"{count} {'lacks' if count == 1 else 'lack'} free {what}" for what, count in lacks.most_common()
    )
    closed = len(alive) - len(taking)
    more = f"; {_workers(closed)} more take{_s(closed)} no work" if closed else ""
    busy = "is" if len(taking) == 1 else "are"
    return WaitReason.RESOURCES, f"{_workers(len(taking))} that could run it {busy} busy: {detail or 'waiting'}{more}"


def _unsatisfiable(need: Need, largest: Need, total: int) -> str:
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
    return f"no registered worker has {what}; {_workers(total)} registered"


def _s(count: int) -> str:
    return "s" if count == 1 else ""


def _workers(count: int) -> str:
    return f"{count} worker{'' if count == 1 else 's'}"


def _counts(states: Counter[str]) -> str:
    return ", ".join(f"{count} {state}" for state, count in states.most_common())
