"""What keeps a job waiting although there is room: limits of queues and users, concurrency keys, arrays, rates.

Each limit in force is a gate. A placed job is a holder of every gate that its line counts against, so a gate has no
counter that could be wrong. A line that meets a closed gate stands there, out of the way, until something leaves it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from enum import IntEnum
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Final

from engine.scheduler.backlog import Terms
from swarmsync.model.lifecycle import WaitReason
from swarmsync.model.limits import QueueLimits, UserLimits
from swarmsync.model.resources import Need, format_cpus, format_size

if TYPE_CHECKING:
    from engine.scheduler.backlog import Line

#: PostgreSQL counts a start when it is committed, somewhat later than it was decided here.
RATE_SLACK_MS: Final = 250
QUIET_LOOK_MS: Final = 60_000
WIDTH: Final = 64


class Kind(IntEnum):
    """In the order in which they are asked."""

    PAUSE = 0
    USER = 1
    QUEUE_USER = 2
    QUEUE = 3
    KEY = 4
    RATE = 5
    ARRAY = 6


REASONS: Final = {
    Kind.PAUSE: WaitReason.QUEUE_PAUSED,
    Kind.USER: WaitReason.USER_QUOTA,
    Kind.QUEUE_USER: WaitReason.USER_QUOTA,
    Kind.QUEUE: WaitReason.QUEUE_LIMIT,
    Kind.KEY: WaitReason.CONCURRENCY_LIMIT,
    Kind.RATE: WaitReason.RATE_LIMIT,
    Kind.ARRAY: WaitReason.ARRAY_LIMIT,
}


class Gate:
    """One limit in force, who counts against it, and which lines stand before it."""

    __slots__ = ("caps", "cpus", "gpus", "holders", "kind", "lines", "memory", "name", "standing", "starts", "width")

    def __init__(self, kind: Kind, name: Any) -> None:
        self.kind = kind
        self.name = name
        self.caps: tuple[int | None, ...] = (None, None, None, None)
        self.holders: dict[int, Need] = {}
        self.cpus = self.memory = self.gpus = 0
        self.starts: deque[tuple[int, int]] = deque()  # (when, job) of the latest starts, for a rate
        self.lines = 0  # how many lines count against it
        self.standing: list[tuple[tuple[Any, ...], int, Line]] = []
        self.width = WIDTH  # how many lines are woken at once; doubles while the gate stays open

    def enter(self, job_id: int, need: Need) -> None:
        self.leave(job_id)
        self.holders[job_id] = need
        self.cpus += need.cpus_milli
        self.memory += need.memory_bytes
        self.gpus += need.gpus

    def leave(self, job_id: int) -> None:
        need = self.holders.pop(job_id, None)
        if need is not None:
            self.cpus -= need.cpus_milli
            self.memory -= need.memory_bytes
            self.gpus -= need.gpus

    def closed(self, terms: Terms, now_ms: int) -> bool:
        match self.kind:
            case Kind.PAUSE:
                return True
            case Kind.KEY:
                return len(self.holders) >= _key_limit(terms)
            case Kind.ARRAY:
                return len(self.holders) >= _parallel(terms)
            case Kind.RATE:
                return self.opens_ms(terms) > now_ms
            case _:
                return bool(self.over(terms))

    def over(self, terms: Terms) -> list[tuple[str, int, int, int]]:
        """Name what one more job would exceed: (what, in use, wanted, limit)."""
        need, (jobs, cpus, memory, gpus) = terms.need, self.caps
        pairs = (
            ("jobs", len(self.holders), 1, jobs),
            ("cpus", self.cpus, need.cpus_milli, cpus),
            ("memory", self.memory, need.memory_bytes, memory),
            ("gpus", self.gpus, need.gpus, gpus),
        )
        return [(what, used, more, cap) for what, used, more, cap in pairs if cap is not None and used + more > cap]

    def shut(self, now_ms: int) -> bool:
        """Tell whether it is closed for whoever stands there, as far as the first of them shows."""
        if self.kind in (Kind.USER, Kind.QUEUE, Kind.QUEUE_USER):
            return self.caps[0] is not None and len(self.holders) >= self.caps[0]
        return bool(self.standing) and self.closed(self.standing[0][2].terms, now_ms)

    def opens_ms(self, terms: Terms) -> int:
        """Tell when this rate lets the next job start; 0 when it does so at once."""
        rate = None if terms.rules is None else terms.rules.rate
        if rate is None or len(self.starts) < rate.starts:
            return 0
        return self.starts[-rate.starts][0] + rate.interval_ms + RATE_SLACK_MS

    def started(self, job_id: int, at_ms: int, terms: Terms) -> None:
        """Note a start that counts against this rate."""
        self.starts.append((at_ms, job_id))
        keep = 1 if terms.rules is None or terms.rules.rate is None else terms.rules.rate.starts
        while len(self.starts) > max(keep, 1) and self.starts[0][0] < at_ms - 86_400_000:
            self.starts.popleft()

    def say(self, terms: Terms, now_ms: int) -> str:
        """Return the sentence, with numbers, for a line that finds this closed."""
        match self.kind:
            case Kind.PAUSE:
                return f"queue {self.name} is paused"
            case Kind.KEY:
                return f"key {self.name}: {len(self.holders)}/{_key_limit(terms)} jobs at a time"
            case Kind.ARRAY:
                return f"the array runs {len(self.holders)}/{_parallel(terms)} jobs at a time"
            case Kind.RATE:
                rate = terms.rules.rate if terms.rules is not None else None
                assert rate is not None
                wait = max(self.opens_ms(terms) - now_ms, 0) / 1000
                return f"rate {self.name}: {rate.starts} starts per {rate.interval_ms / 1000:g} s; next in {wait:.1f} s"
            case _:
                whose = {Kind.USER: "user limit", Kind.QUEUE: f"limit of queue {self.name}"}.get(
                    self.kind, f"user limit in queue {self.name[0] if isinstance(self.name, tuple) else ''}"
                )
                return f"{whose}: {', '.join(_amount(*part) for part in self.over(terms))}"


def _amount(what: str, used: int, more: int, cap: int) -> str:
    if what == "jobs":
        return f"{used}/{cap} jobs"
    if what == "gpus":
        return f"{used}/{cap} gpus in use, {more} wanted"
    show = format_cpus if what == "cpus" else format_size
    return f"{show(used)}/{show(cap)} {what} in use, {show(more)} wanted"


def _key_limit(terms: Terms) -> int:
    assert terms.rules is not None
    assert terms.rules.concurrency is not None
    return terms.rules.concurrency.limit


def _parallel(terms: Terms) -> int:
    assert terms.rules is not None
    assert terms.rules.parallel is not None
    return terms.rules.parallel


class Limits:
    """All gates. The Scheduler says who enters and leaves; `opened` are gates at which lines may go on."""

    def __init__(self) -> None:
        self.queues: dict[str, QueueLimits] = {}
        self.users: dict[int, UserLimits] = {}
        self.opened: dict[Gate, None] = {}
        self._gates: dict[tuple[Kind, Any], Gate] = {}
        self._timers: list[tuple[int, int, Gate]] = []
        self._look_ms = 0
        self._order = 0

    def replace(self, queues: Iterable[QueueLimits], users: Iterable[UserLimits]) -> None:
        """Take over new limits. The caller then asks `gates_for` again for all that it knows."""
        self.queues = {entry.name: entry for entry in queues}
        self.users = {entry.user_id: entry for entry in users}
        self._gates = {key: gate for key, gate in self._gates.items() if gate.kind is Kind.RATE}
        self.opened = {}
        for gate in self._gates.values():
            gate.lines, gate.holders, gate.standing = 0, {}, []

    def spreads(self, queue: str) -> bool:
        limits = self.queues.get(queue)
        return limits is not None and limits.placement == "spread"

    def weight_of(self, user_id: int) -> int:
        limits = self.users.get(user_id)
        return 1 if limits is None else max(limits.weight, 1)

    # ------------------------------------------------ who counts against what

    def gates_for(self, terms: Terms) -> tuple[Gate, ...]:
        """Return the gates that jobs with these terms count against, in the order in which they are asked."""
        return tuple([self._gate(kind, name, caps) for kind, name, caps in self._wanted(terms)])

    def _wanted(self, terms: Terms) -> Iterator[tuple[Kind, Any, tuple[int | None, ...]]]:
        nothing = (None, None, None, None)
        queue, user, rules = self.queues.get(terms.queue), self.users.get(terms.user_id), terms.rules
        if queue is not None and queue.paused:
            yield Kind.PAUSE, terms.queue, nothing
        if user is not None:
            caps = (user.max_running, user.max_cpus_milli, user.max_memory_bytes, user.max_gpus)
            if caps != nothing:
                yield Kind.USER, terms.user_id, caps
        if queue is not None:
            if queue.max_running_per_user is not None:
                yield (
                    Kind.QUEUE_USER,
                    (terms.queue, terms.user_id),
                    (queue.max_running_per_user, None, None, None),
                )
            if (queue.max_running, queue.max_cpus_milli, queue.max_memory_bytes) != (None, None, None):
                yield (
                    Kind.QUEUE,
                    terms.queue,
                    (queue.max_running, queue.max_cpus_milli, queue.max_memory_bytes, None),
                )
        if rules is not None:
            if rules.concurrency is not None:
                yield Kind.KEY, rules.concurrency.key, nothing
            if rules.rate is not None:
                yield Kind.RATE, rules.rate.key, nothing
            if rules.parallel is not None and terms.array_id is not None:
                yield Kind.ARRAY, terms.array_id, nothing

    def _gate(self, kind: Kind, name: Any, caps: tuple[int | None, ...]) -> Gate:
        gate = self._gates.get((kind, name))
        if gate is None:
            gate = self._gates[kind, name] = Gate(kind, name)
        gate.caps = caps
        return gate

    def seen(self, terms: Terms) -> list[Gate]:
        """Return those of its gates that exist, changing nothing; for questions."""
        found = []
        for kind, name, caps in self._wanted(terms):
            gate = self._gates.get((kind, name))
            if gate is None:
                gate = Gate(kind, name)
                gate.caps = caps
            found.append(gate)
        return found

    def enter(self, job_id: int, terms: Terms, gates: tuple[Gate, ...]) -> None:
        for gate in gates:
            gate.enter(job_id, terms.need)

    def started(self, job_id: int, terms: Terms, gates: tuple[Gate, ...], at_ms: int) -> None:
        for gate in gates:
            if gate.kind is Kind.RATE:
                gate.started(job_id, at_ms, terms)

    def recall_start(self, key: str, job_id: int, at_ms: int) -> None:
        """A start from before this core began that still counts; told in order of time."""
        self._gate(Kind.RATE, key, (None, None, None, None)).starts.append((at_ms, job_id))

    def leave(self, job_id: int, gates: tuple[Gate, ...], *, void: bool = False) -> None:
        """A placed job ended; `void`: it has not even started, which gives a rate its start back."""
        for gate in gates:
            gate.leave(job_id)
            if void and gate.kind is Kind.RATE:
                gate.starts = deque([entry for entry in gate.starts if entry[1] != job_id])
            if gate.standing:
                self.opened[gate] = None
            self._drop_if_unused(gate)

    def close_line(self, gates: tuple[Gate, ...]) -> None:
        for gate in gates:
            gate.lines -= 1
            self._drop_if_unused(gate)

    def _drop_if_unused(self, gate: Gate) -> None:
        if gate.lines <= 0 and not gate.holders and not gate.starts:
            self._gates.pop((gate.kind, gate.name), None)

    # ------------------------------------------------ who stands where

    def stand(self, line: Line, gate: Gate, rank: tuple[Any, ...]) -> None:
        """Put a line before a closed gate."""
        line.gate = gate
        self._order += 1
        heappush(gate.standing, (rank, self._order, line))
        if gate.kind is Kind.RATE:
            heappush(self._timers, (gate.opens_ms(line.terms), self._order, gate))

    def due(self, now_ms: int) -> bool:
        """Whether `wake` may have lines for a turn at that time, without news of ends."""
        return bool(self.opened) or bool(self._timers and self._timers[0][0] <= now_ms)

    def wake(self, now_ms: int) -> Iterator[Line]:
        """Yield lines whose gates may be open now, the most urgent first.

        A gate wakes a few at first, and twice as many in each later turn in which it is still open: so one place that
        comes free does not stir up all who wait for it, and none is overlooked.
        """
        while self._timers and self._timers[0][0] <= now_ms:
            self.opened[heappop(self._timers)[2]] = None
        for gate in list(self.opened):
            if gate.width == WIDTH or not gate.shut(now_ms):
                woken = 0
                while gate.standing and woken < gate.width:
                    line = heappop(gate.standing)[2]
                    if line.gate is gate:
                        line.gate = None
                        woken += 1
                        yield line
                gate.width *= 2
                if gate.standing:
                    continue
            gate.width = WIDTH
            del self.opened[gate]
        if now_ms >= self._look_ms:
            self._look_ms = now_ms + QUIET_LOOK_MS
            self._forget_old_starts(now_ms)

    def _forget_old_starts(self, now_ms: int) -> None:
        for gate in [gate for gate in self._gates.values() if gate.kind is Kind.RATE]:
            if gate.lines <= 0 and gate.starts and gate.starts[-1][0] < now_ms - 86_400_000:
                gate.starts.clear()
                self._drop_if_unused(gate)
