"""A job log through the Scheduler's own core, on a virtual clock: no engine, no containers, the same decisions."""

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from math import ceil
from typing import Final

from msgspec import Struct

from bench.joblogs import LoggedJob, LoggedWorker
from engine.scheduler.placement import Scheduler
from engine.scheduler.ranking import Policy
from swarmsync.errors import SwarmError
from swarmsync.model.job import Waiting
from swarmsync.model.resources import Need
from swarmsync.model.rules import Rules
from swarmsync.model.worker import WorkerView
from swarmsync.protocol.messages import AssignmentEnded, JobsSubmitted, Place, ToScheduler, WorkerJoined

TAU_S: Final = 10.0  # a shorter run does not make a wait count for more
GPU_PARTS: Final = 1_000  # GPUs are counted in thousandths: logs have shares of one
_MIB: Final = 1 << 20


class NothingFits(SwarmError):
    """No job of a log has room on any worker, so there is nothing to measure."""


class Outcome(Struct):
    """What became of the jobs that were placed (by their places in the log), and of the cluster.

    `never` counts the jobs that fit no worker, however empty; they are no part of `queue_max`.
    """

    placed: list[int]
    waits_s: list[float]
    slowdowns: list[float]
    makespan_s: float
    utilisation: float
    queue_max: int
    never: int


class Pool(Struct, frozen=True):
    """The workers; `only` names the resource that counts where the log's others are not to.

    The GPUs of a worker are one amount, as the Scheduler's are: that a share is of one device is not modelled.
    """

    workers: tuple[LoggedWorker, ...]
    only: str = ""

    def need(self, job: LoggedJob) -> Need:
        cpus, gpus = thousandths(job.cpus), thousandths(job.gpus)
        if self.only == "cpus":
            return Need(cpus, 0, 0, 0)
        if self.only == "gpus":
            return Need(0, 0, gpus, 0)
        return Need(cpus, int(job.mem_mb * _MIB), gpus, 0)

    def views(self) -> list[WorkerView]:
        return [
            WorkerView(
                number,
                worker.name,
                Need(thousandths(worker.cpus), int(worker.mem_mb * _MIB), worker.gpus * GPU_PARTS, 0),
                {"gpu.model": worker.gpu_model} if worker.gpu_model else {},
            )
            for number, worker in enumerate(self.workers, 1)
        ]


def thousandths(amount: float) -> int:
    """Round up, for jobs and workers alike, so that who asks for all of a worker fits it (16.1 * 1000 is 16100.0…2)."""
    return ceil(round(amount * 1000, 6))


def run(
    jobs: Sequence[LoggedJob],
    pool: Pool,
    policy: Policy,
    *,
    clairvoyant: bool = False,
    time_scale: float = 1.0,
    progress: Callable[[int], None] = lambda _: None,
) -> Outcome:
    """Submit each job at its time (multiplied by `time_scale`), end it after its run time; count what it waited.

    The core is told the wall time as a timeout; the run time only when a job has ended, unless `clairvoyant`.
    `progress` is called every turn with the number of jobs that are over. Raises NothingFits.
    """
    core = Scheduler(policy=policy)
    core.handle([WorkerJoined(view) for view in pool.views()], now_ms=0, places_max=0)
    waiting = _waiting(jobs, pool, clairvoyant=clairvoyant)
    too_wide = _too_wide([entry.need for entry in waiting], pool)
    submits_ms = [round(job.submit_s * 1000 * time_scale) for job in jobs]
    runs_ms = [max(round(job.runtime_s * 1000), 1) for job in jobs]
    starts_ms: list[int | None] = [None] * len(jobs)
    ends: list[tuple[int, int, int]] = []
    following, over, never, queue_max = 0, 0, 0, 0
    while following < len(jobs) or ends:
        now_ms = min(submits_ms[following : following + 1] + [end_ms for end_ms, _, _ in ends[:1]])
        events: list[ToScheduler] = []
        while ends and ends[0][0] == now_ms:
            _, job_id, worker_id = heappop(ends)
            events.append(AssignmentEnded(job_id, worker_id, runs_ms[job_id - 1]))
            over += 1
        first = following
        while following < len(jobs) and submits_ms[following] == now_ms:
            following += 1
        if following > first:
            events.append(JobsSubmitted(tuple(waiting[first:following])))
            never += sum(entry.need in too_wide for entry in waiting[first:following])
        for effect in core.handle(events, now_ms=now_ms, places_max=1 << 30):
            if isinstance(effect, Place):
                starts_ms[effect.job_id - 1] = now_ms
                heappush(ends, (now_ms + runs_ms[effect.job_id - 1], effect.job_id, effect.worker_id))
        queue_max = max(queue_max, len(core.backlog) - never)
        progress(over)
    return _outcome(jobs, pool, submits_ms, starts_ms, runs_ms, queue_max, never)


def _too_wide(needs: Sequence[Need], pool: Pool) -> set[Need]:
    """Return what has no room on any worker, however empty it is. Raises NothingFits if that is all there is."""
    rooms = {view.capacity for view in pool.views()}
    asked = set(needs)
    found = {need for need in asked if not any(need.fits(room) for room in rooms)}
    if found == asked:
        lacking = sorted({name for need in found for room in rooms for name in need.lacks(room)})
        raise NothingFits(f"none of the {len(needs):,} jobs fits a worker: they lack {', '.join(lacking)}")
    return found


def _waiting(jobs: Sequence[LoggedJob], pool: Pool, *, clairvoyant: bool) -> list[Waiting]:
    users: dict[str, int] = {}
    lines: dict[tuple[object, ...], int] = {}
    found = []
    for number, job in enumerate(jobs, 1):
        need = pool.need(job)
        user_id = users.setdefault(job.user, len(users) + 1)
        limit_s = job.runtime_s if clairvoyant else job.walltime_s
        rules = None if limit_s is None else Rules(timeout_ms=max(round(limit_s * 1000), 1))
        line = lines.setdefault((need, user_id, limit_s), len(lines) + 1)
        found.append(Waiting(number, line, need, job.priority, user_id, "default", line, rules))
    return found


def _outcome(
    jobs: Sequence[LoggedJob],
    pool: Pool,
    submits_ms: Sequence[int],
    starts_ms: Sequence[int | None],
    runs_ms: Sequence[int],
    queue_max: int,
    never: int,
) -> Outcome:
    started = [(place, start_ms) for place, start_ms in enumerate(starts_ms) if start_ms is not None]
    ran = [place for place, _ in started]
    waits = [(start_ms - submits_ms[place]) / 1000 for place, start_ms in started]
    slowdowns = [
        max(1.0, (wait + runs_ms[place] / 1000) / max(runs_ms[place] / 1000, TAU_S))
        for place, wait in zip(ran, waits, strict=True)
    ]
    makespan_s = (max(start_ms + runs_ms[p] for p, start_ms in started) - submits_ms[0]) / 1000 if started else 0.0
    gpus = pool.only == "gpus"
    used = sum((jobs[p].gpus if gpus else jobs[p].cpus) * runs_ms[p] / 1000 for p in ran)
    whole = sum(worker.gpus if gpus else worker.cpus for worker in pool.workers)
    utilisation = used / (whole * makespan_s) if makespan_s and whole else 0.0
    return Outcome(ran, waits, slowdowns, makespan_s, utilisation, queue_max, never)
