"""Why a job waits: every blocker in the contract's order, with numbers; and what would start it. Read only.

Lists show the first blocker of a job's line (`telling.py`); `answer` is for one job, asked for by a person.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from msgspec import Struct

from engine.scheduler.backlog import Line, Terms
from engine.scheduler.books import Books
from engine.scheduler.cluster_view import Machine, Shape, shape_key
from engine.scheduler.fair_share import dominant
from engine.scheduler.limits import REASONS, Gate, Kind
from engine.scheduler.ranking import Standing, width
from engine.scheduler.refusals import explain
from engine.scheduler.reservation import Reservation, earliest, forecast, passes
from swarmsync.ids import encode
from swarmsync.model import explanation
from swarmsync.model.explanation import Explanation, write
from swarmsync.model.job import Waiting
from swarmsync.model.lifecycle import Eligibility, Liveness, WaitReason
from swarmsync.model.resources import Need, format_cpus, format_duration, format_size
from swarmsync.protocol.messages import Ask

HOLDERS_SHOWN: Final = 20
ORDER: Final = {reason: place for place, reason in enumerate(WaitReason)}


class Blocker(Struct, frozen=True):
    """One thing in the way (or, if not `blocking`, worth knowing), and what would take it out of the way."""

    reason: WaitReason
    message: str
    holders: tuple[int, ...] = ()
    blocking: bool = True
    until: str = ""
    opens_ms: int | None = None  # when it is expected to be gone


class Case(Struct):
    """A job as the question sees it, in the backlog or not."""

    terms: Terms
    shape: Shape
    priority: int
    job_id: int
    rank: tuple[Any, ...]


# ------------------------------------------------ blockers


def case_of(books: Books, line: Line, priority: int, job_id: int) -> Case:
    return Case(
        line.terms, line.shape, priority, job_id, books.policy.order(_standing(books, line.terms, priority, job_id))
    )


def _standing(books: Books, terms: Terms, priority: int, job_id: int) -> Standing:
    return Standing(
        priority,
        job_id,
        books.backlog.since(job_id) if job_id in books.backlog else books.now_ms,
        *books.run_times.both_ms(terms),
        terms.timed,
        dominant(terms.need, books.cluster.total),
        level_of(books, terms.user_id),
        books.now_ms,
        width(terms.need),
    )


def level_of(books: Books, user_id: int) -> float:
    if not books.policy.changes:
        return 0.0
    return books.shares.level(user_id, books.limits.weight_of(user_id), books.now_ms)


def blockers(books: Books, reserved: Reservation | None, case: Case) -> list[Blocker]:
    """Return all blockers, in the contract's order."""
    found = list(at_gates(books, case.terms))
    room = at_workers(books, reserved, case.shape, case.terms, case.job_id, case.rank)
    found.append(room)
    if room.reason in (WaitReason.RESOURCES, WaitReason.RESERVED):
        found += before_it(books, case)
    if room.reason is not WaitReason.WORKERS_CORDONED:
        found += _closed_workers(books, case.shape)
    if room.reason is WaitReason.EVALUATING and any(entry.blocking for entry in found if entry is not room):
        found.remove(room)
    return sorted(found, key=lambda blocker: ORDER[blocker.reason])


def at_gates(books: Books, terms: Terms) -> Iterable[Blocker]:
    for gate in books.limits.seen(terms):
        if gate.closed(terms, books.now_ms):
            holders = tuple(sorted(gate.holders))[:HOLDERS_SHOWN] if gate.kind is not Kind.RATE else ()
            message = gate.say(terms, books.now_ms)
            if holders:
                message += f" ({_jobs(holders, len(gate.holders))})"
            yield Blocker(
                REASONS[gate.kind], message, holders, until=_until(gate), opens_ms=_gate_opens(books, gate, terms)
            )


def _until(gate: Gate) -> str:
    match gate.kind:
        case Kind.PAUSE:
            return f"queue {gate.name} is resumed"
        case Kind.RATE:
            return "the rate allows another start"
        case _:
            return f"{_either(tuple(sorted(gate.holders)))} ends" if gate.holders else "the limit is raised"


def _gate_opens(books: Books, gate: Gate, terms: Terms) -> int | None:
    if gate.kind is Kind.PAUSE or (gate.kind is not Kind.RATE and not gate.holders):
        return None
    if gate.kind is Kind.RATE:
        return gate.opens_ms(terms)
    return min(books.ends_of(gate.holders))[0]


def at_workers(
    books: Books,
    reserved: Reservation | None,
    shape: Shape,
    terms: Terms,
    job_id: int,
    rank: tuple[Any, ...] | None = None,
    *,
    foresee: bool = True,
) -> Blocker:
    """Return what the workers say to it; Evaluating when one of them would take it now.

    `rank`, where it is known: who goes before the job that a worker is kept for, may have that worker. Without
    `foresee` it leaves out when there will be room, which takes another look at every worker.
    """
    reason, message = explain(shape.need, books.cluster.machines.values(), shape.demands, shape.image)
    if reason is WaitReason.RESERVED and reserved is not None:
        machine = books.cluster.machines[reserved.worker_id]
        before = rank is not None and rank < reserved.rank
        if before or reserved.job_id == job_id or may_pass(books, reserved, terms, machine):
            return Blocker(WaitReason.EVALUATING, f"{machine.view.name} has room for it now")
        seen = foreseen(books, reserved, machine)
        when = "" if seen is None else f", which is to start within {format_duration(_whole(seen[0] - books.now_ms))}"
        message = f"{machine.view.name} has room for it, but keeps it for job {encode(reserved.job_id)}{when}"
        if reserved.strict and not terms.timed:
            message += "; that one was put off for so long that only jobs with a timeout may go before it"
        return Blocker(
            reason, message, (reserved.job_id,), until=f"job {encode(reserved.job_id)} has started",
            opens_ms=None if seen is None else seen[0],
        )  # fmt: skip
    if reason is WaitReason.RESOURCES and foresee:
        found = earliest(shape, books.cluster.machines.values(), books.ends_of, books.now_ms)
        if found is not None:
            ends = tuple([job_id for _, job_id in sorted(books.ends_of(found[1].holds))])
            until = f"{_either(ends)} ends on {found[1].view.name}" if ends else ""
            return Blocker(reason, message, until=until, opens_ms=found[0])
    return Blocker(reason, message, until=_until_workers(books, shape, reason))


def _until_workers(books: Books, shape: Shape, reason: WaitReason) -> str:
    match reason:
        case WaitReason.UNSATISFIABLE:
            return f"a worker with {_amounts(shape)} joins"
        case WaitReason.NO_WORKERS:
            return f"a worker with {_amounts(shape)} is ready"
        case WaitReason.WORKERS_CORDONED:
            return f"one of {', '.join(_names(books.cluster.able(shape)))} takes work again"
        case _:
            return ""


def foreseen(books: Books, reserved: Reservation, machine: Machine) -> tuple[int, Need] | None:
    """Return what `forecast` says of the reserved worker, by guesses or at the worst."""
    ends_of = books.latest_ends_of if reserved.strict else books.ends_of
    return forecast(machine, reserved.shape.need, ends_of, books.now_ms)


def may_pass(books: Books, reserved: Reservation, terms: Terms, machine: Machine) -> bool:
    """Tell whether a job with these terms may use the reserved worker now; changes nothing."""
    seen = foreseen(books, reserved, machine)
    if seen is None or not machine.fits(terms.need):
        return False
    return passes(seen, reserved, machine, terms, books.now_ms + books.run_times.bound_ms(terms))


def before_it(books: Books, case: Case) -> list[Blocker]:
    """Return Priority and FairShare: who else waits for room and goes first."""
    urgent = fairer = 0
    users: set[int] = set()
    mine = level_of(books, case.terms.user_id)
    for line in books.backlog.lines.values():
        if line.gate is not None or not has_worker(books, line.shape):
            continue
        for priority, level in line.levels.items():
            if priority > case.priority:
                urgent += level.jobs
            elif priority == case.priority and level_of(books, line.terms.user_id) < mine:
                fairer += level.jobs
                users.add(line.terms.user_id)
    found = []
    if urgent:
        found.append(Blocker(WaitReason.PRIORITY, f"{_count(urgent, 'job')} of higher priority wait for room, too"))
    if fairer:
        message = (
            f"{_count(fairer, 'job')} of {_count(len(users), 'user')} that had less of the cluster lately go first"
        )
        found.append(Blocker(WaitReason.FAIR_SHARE, message))
    return found


def has_worker(books: Books, shape: Shape) -> bool:
    return any(machine.view.assignable for machine in books.cluster.able(shape))


def _closed_workers(books: Books, shape: Shape) -> list[Blocker]:
    able = [machine.view for machine in books.cluster.able(shape)]
    closed = [view for view in able if view.liveness is Liveness.READY and view.eligibility is not Eligibility.OPEN]
    if not closed:
        return []
    states = sorted({view.eligibility.value for view in closed})
    message = f"{len(closed)} of {_count(len(able), 'worker')} that could run it {'is' if len(closed) == 1 else 'are'}"
    return [Blocker(WaitReason.WORKERS_CORDONED, f"{message} {' or '.join(states)}", blocking=False)]


# ------------------------------------------------ answers


def answer(books: Books, reserved: Reservation | None, ask: Ask) -> bytes:
    """Answer a question about one job; changes nothing."""
    job = ask.job
    if ask.kind == "why" and job.job_id in books.cluster.placed:
        machine = books.cluster.machines.get(books.cluster.placed[job.job_id])
        return write(Explanation(verdict="placed", worker=None if machine is None else machine.view.name))
    case = _case(books, job)
    found = blockers(books, reserved, case)
    hard = [entry for entry in found if entry.blocking and entry.reason is not WaitReason.EVALUATING]
    position = _position(books, case)
    if not hard:
        machine = choose(books, reserved, case)
        name = None if machine is None else machine.view.name
        return write(Explanation(_shown(found), position, (), "now", name, 0))
    never = any(entry.reason is WaitReason.UNSATISFIABLE for entry in hard)
    helps = tuple(dict.fromkeys(entry.until for entry in hard if entry.until))
    return write(
        Explanation(_shown(found), position, helps, "never" if never else "waits", start_in_ms=_start_in(books, hard))
    )


def _shown(found: Iterable[Blocker]) -> tuple[explanation.Blocker, ...]:
    shown = []
    for b in found:
        if b.reason is not WaitReason.EVALUATING:
            holders = tuple([encode(holder) for holder in b.holders[:HOLDERS_SHOWN]])
            shown.append(explanation.Blocker(b.reason, b.message, b.blocking, holders, b.until))
    return tuple(shown)


def _case(books: Books, job: Waiting) -> Case:
    line = books.backlog.line_of(job.job_id)
    if line is not None:
        return case_of(books, line, books.backlog.priority_of(job.job_id), job.job_id)
    terms = Terms(job.need, job.user_id, job.queue, job.rules, job.array_id)
    spread = books.limits.spreads(job.queue)
    key = shape_key(terms, spread=spread)
    shape = books.cluster.shapes.get(key) or Shape(key, terms, spread=spread)
    rank = books.policy.order(_standing(books, terms, job.priority, job.job_id))
    return Case(terms, shape, job.priority, job.job_id, rank)


def choose(books: Books, reserved: Reservation | None, case: Case) -> Machine | None:
    """Return the worker that this job would get now."""
    shape = case.shape
    fitting = [
        m for m in books.cluster.machines.values() if m.view.assignable and m.fits(shape.need) and shape.admits(m.view)
    ]
    free = [machine for machine in fitting if not machine.reserved]
    if free and shape.plain:
        return books.cluster.best_fit(shape)
    if free:
        return min(free, key=lambda machine: (shape.score(machine), machine.view.worker_id))
    if fitting and reserved is not None:
        machine = fitting[0]
        before = case.rank < reserved.rank or reserved.job_id == case.job_id
        return machine if before or may_pass(books, reserved, case.terms, machine) else None
    return None


def _position(books: Books, case: Case) -> int:
    """Count who stands before it, itself included: by priority, then by the rank of its line, then by age."""
    before = 0
    own = books.backlog.line_of(case.job_id)
    for line in books.backlog.lines.values():
        if line is own:
            before += books.backlog.ahead(case.job_id)
            continue
        for priority, level in line.levels.items():
            if priority > case.priority or (priority == case.priority and books.rank(line) < case.rank):
                before += level.jobs
    return before + 1


def _start_in(books: Books, hard: Iterable[Blocker]) -> int | None:
    """Return in how many milliseconds the last of the blockers is expected to be gone; None where nobody can tell."""
    times = [entry.opens_ms for entry in hard if entry.reason not in (WaitReason.PRIORITY, WaitReason.FAIR_SHARE)]
    known = [at_ms for at_ms in times if at_ms is not None]
    return max(max(known) - books.now_ms, 0) if known and len(known) == len(times) else None


# ------------------------------------------------ sentences


def _jobs(holders: tuple[int, ...], total: int) -> str:
    more = "" if total <= len(holders) else f" and {total - len(holders)} more"
    return f"{'job' if total == 1 else 'jobs'} {', '.join(map(encode, holders))}{more}"


def _either(holders: tuple[int, ...]) -> str:
    shown = [encode(job_id) for job_id in holders[:5]]
    if len(holders) > len(shown):
        return f"one of {len(holders)} jobs ({', '.join(shown)}, ...)"
    return f"job {shown[0]}" if len(shown) == 1 else f"job {', '.join(shown[:-1])} or {shown[-1]}"


def _amounts(shape: Shape) -> str:
    need = shape.need
    parts = [f"{format_cpus(need.cpus_milli)} cpus", format_size(need.memory_bytes)]
    if need.gpus:
        parts.append(f"{need.gpus} gpus")
    return " and ".join([", ".join(parts), *(f"`{demand}`" for demand in shape.demands)])


def _names(machines: Iterable[Machine]) -> list[str]:
    return sorted(machine.view.name for machine in machines)[:5]


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _whole(milliseconds: int) -> int:
    return max(milliseconds // 1000, 1) * 1000
