"""A job log through the Scheduler's own core, on a virtual clock: no engine, no containers, the same decisions."""

from collections.abc import Sequence
from heapq import heappop, heappush
from math import ceil
from typing import Final

from msgspec import Struct

from bench.joblogs import LoggedJob, LoggedWorker
from engine.scheduler.placement import Scheduler
from engine.scheduler.ranking import Policy
from swarmsync.model.job import Waiting
from swarmsync.model.resources import Need
from swarmsync.model.rules import Rules
from swarmsync.model.worker import WorkerView
from swarmsync.protocol.messages import AssignmentEnded, JobsSubmitted, Place, ToScheduler, WorkerJoined

TAU_S: Final = 10.0  # a shorter run does not make a wait count for more
GPU_PARTS: Final = 1_000  # GPUs are counted in thousandths: logs have shares of one
_MIB: Final = 1 << 20


class Outcome(Struct):
    """What became of the jobs that were placed (by their places in the log), and of the cluster."""

    placed: list[int]
    waits_s: list[float]
    slowdowns: list[float]
    makespan_s: float
    utilisation: float
    queue_max: int


class Pool(Struct, frozen=True):
    """The workers; `only` names the resource that counts where the log's others are not to."""

    workers: tuple[LoggedWorker, ...]
    only: str = ""

    def need(self, job: LoggedJob) -> Need:
        cpus, gpus = ceil(job.cpus * 1000), ceil(job.gpus * GPU_PARTS)
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
                Need(round(worker.cpus * 1000), int(worker.mem_mb * _MIB), worker.gpus * GPU_PARTS, 0),
                {"gpu.model": worker.gpu_model} if worker.gpu_model else {},
            )
            for number, worker in enumerate(self.workers, 1)
        ]


def run(
    jobs: Sequence[LoggedJob], pool: Pool, policy: Policy, *, clairvoyant: bool = False, time_scale: float = 1.0
) -> Outcome:
    """Submit each job at its time (multiplied by `time_scale`), end it after its run time; count what it waited.

    The core is told the wall time as a timeout; the run time only when a job has ended, unless `clairvoyant`.
    """
    core = Scheduler(policy=policy)
    core.handle([WorkerJoined(view) for view in pool.views()], now_ms=0, places_max=0)
    waiting = _waiting(jobs, pool, clairvoyant=clairvoyant)
    submits_ms = [round(job.submit_s * 1000 * time_scale) for job in jobs]
    runs_ms = [max(round(job.runtime_s * 1000), 1) for job in jobs]
    starts_ms = [-1] * len(jobs)
    ends: list[tuple[int, int, int]] = []
    following, queue_max, now_ms = 0, 0, 0
    while following < len(jobs) or ends:
        now_ms = min(submits_ms[following] if following < len(jobs) else ends[0][0], ends[0][0] if ends else 1 << 62)
        events: list[ToScheduler] = []
        while ends and ends[0][0] == now_ms:
            _, job_id, worker_id = heappop(ends)
            events.append(AssignmentEnded(job_id, worker_id, runs_ms[job_id - 1]))
        first = following
        while following < len(jobs) and submits_ms[following] == now_ms:
            following += 1
        if following > first:
            events.append(JobsSubmitted(tuple(waiting[first:following])))
        for effect in core.handle(events, now_ms=now_ms, places_max=1 << 30):
            if isinstance(effect, Place):
                starts_ms[effect.job_id - 1] = now_ms
                heappush(ends, (now_ms + runs_ms[effect.job_id - 1], effect.job_id, effect.worker_id))
        queue_max = max(queue_max, len(core.backlog))
    return _outcome(jobs, pool, submits_ms, starts_ms, runs_ms, queue_max)


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
    starts_ms: Sequence[int],
    runs_ms: Sequence[int],
    queue_max: int,
) -> Outcome:
    ran = [place for place, start_ms in enumerate(starts_ms) if start_ms >= 0]
    waits = [(starts_ms[place] - submits_ms[place]) / 1000 for place in ran]
    slowdowns = [
        max(1.0, (wait + runs_ms[place] / 1000) / max(runs_ms[place] / 1000, TAU_S))
        for place, wait in zip(ran, waits, strict=True)
    ]
    makespan_s = (max(starts_ms[p] + runs_ms[p] for p in ran) - submits_ms[0]) / 1000 if ran else 0.0
    gpus = pool.only == "gpus"
    used = sum((jobs[p].gpus if gpus else jobs[p].cpus) * runs_ms[p] / 1000 for p in ran)
    whole = sum(worker.gpus if gpus else worker.cpus for worker in pool.workers)
    utilisation = used / (whole * makespan_s) if makespan_s and whole else 0.0
    return Outcome(ran, waits, slowdowns, makespan_s, utilisation, queue_max)
