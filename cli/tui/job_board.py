"""Jobs, workers and assignments as the events of Core tell them: now, or at a moment that is over. Pure.

The board begins with every job that has not ended and goes on with events. An event that is older than what is known of
its job changes nothing, so that overlaps of the two do no harm. Boards of the same events are equal, whenever they are
made: that is what makes a replay true.
"""

from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime
from operator import attrgetter
from typing import Any, Final

from msgspec import Struct

from cli.documents import Board, BoardLane
from cli.tui.screens import Document

PLACED: Final = ("starting", "running", "stopping")
WAITING: Final = ("queued", "scheduled", "held", "blocked")
ACTIVE: Final = (*PLACED, *WAITING)
_RANK: Final = {state: rank for rank, state in enumerate(ACTIVE)}
GROUPS: Final = {"active": ACTIVE, "waiting": WAITING, "placed": PLACED}
#: Jobs that have ended are still shown for a while.
ENDED_MAX: Final = 500


class JobRow(Struct, frozen=True):
    """A job as its last event left it."""

    job: str
    state: str
    reason: str
    message: str
    at: str
    seq: int
    attempt: int
    worker: str
    name: str
    user: str
    queue: str
    cpus: float
    memory: int
    index: int | None

    @property
    def label(self) -> str:
        """What people call it."""
        return self.name if self.index is None else f"{self.name or self.job}[{self.index}]"

    @property
    def placed(self) -> bool:
        return self.state in PLACED


class Filter(Struct, frozen=True):
    """Which jobs are shown; empty is no condition."""

    user: str = ""
    state: str = ""
    queue: str = ""
    worker: str = ""
    text: str = ""

    def admits(self, job: JobRow) -> bool:
        wanted = GROUPS.get(self.state, (self.state,))
        return (
            (not self.state or job.state in wanted)
            and (not self.user or job.user == self.user)
            and (not self.queue or job.queue == self.queue)
            and (not self.worker or job.worker == self.worker)
            and (not self.text or any(self.text in part for part in (job.job, job.label, job.reason, job.worker)))
        )

    def words(self) -> str:
        """Return the filter as it is typed."""
        named = [
            f"{name}={getattr(self, name)}" for name in ("user", "state", "queue", "worker") if getattr(self, name)
        ]
        return " ".join([*named, *([self.text] if self.text else [])])


EVERYTHING: Final = Filter()


def read_filter(words: str) -> Filter:
    """Read `user=ann state=queued queue=q worker=w text`; a word without a name is searched for."""
    found: dict[str, str] = {}
    for word in words.split():
        name, equals, value = word.partition("=")
        if equals and name in ("user", "state", "queue", "worker"):
            found[name] = value
        else:
            found["text"] = word
    return Filter(**found)


def seconds(moment: str) -> float:
    """Return an RFC 3339 time as seconds since the epoch."""
    return datetime.fromisoformat(moment).timestamp()


def read_event(event: Document) -> JobRow | None:
    """Return the job of an event; an array's own row is none, only its members are."""
    if event.get("array_size") is not None and event.get("array_index") is None:
        return None
    state = event["state"]
    return JobRow(
        event["job"],
        state,
        event.get("reason") or "",
        event.get("message") or "",
        event["at"],
        int(str(event.get("id") or "-0").rpartition("-")[2]),
        event.get("attempt") or 0,
        (event.get("worker") or "") if state not in WAITING else "",
        event.get("name") or "",
        event.get("user") or "",
        event.get("queue") or "",
        event.get("cpus") or 0.0,
        event.get("memory") or 0,
        event.get("array_index"),
    )


class JobBoard:
    """All jobs that have not ended, and those that ended last."""

    def __init__(self) -> None:
        self.jobs: dict[str, JobRow] = {}
        self.ended: deque[JobRow] = deque(maxlen=ENDED_MAX)
        self.at = ""
        self._last: dict[str, int] = {}  # sequence numbers of the ended
        self._listed: tuple[Filter, list[JobRow]] | None = None  # until something changes

    def begin(self, at: str, items: Iterable[Document]) -> None:
        """Forget everything and begin with what was at a moment."""
        self.jobs = {job.job: job for job in map(read_event, items) if job is not None}
        self.ended.clear()
        self._last.clear()
        self._listed = None
        self.at = at

    def apply(self, event: Document) -> JobRow | None:
        """Take an event; returns the job where it changed something."""
        job = read_event(event)
        if job is None:
            return None
        known = self.jobs.get(job.job)
        if job.seq <= max(known.seq if known else 0, self._last.get(job.job, 0)):
            return None
        self.at, self._listed = max(self.at, job.at), None
        if job.state in ACTIVE:
            self.jobs[job.job] = job
            return job
        self.jobs.pop(job.job, None)
        if len(self.ended) == ENDED_MAX:
            self._last.pop(self.ended[0].job, None)
        self.ended.append(job)
        self._last[job.job] = job.seq
        return job

    def find(self, job_id: str) -> JobRow | None:
        return self.jobs.get(job_id) or next((job for job in self.ended if job.job == job_id), None)

    def shown(self, wanted: Filter) -> list[JobRow]:
        """Return the jobs that a filter admits: placed ones, then waiting ones, then those that ended last."""
        if self._listed is not None and self._listed[0] == wanted:
            return self._listed[1]
        found = [job for job in self.jobs.values() if wanted == EVERYTHING or wanted.admits(job)]
        found.sort(key=_order)
        if wanted.state not in GROUPS and wanted.state not in ACTIVE:
            found += [job for job in reversed(self.ended) if wanted.admits(job)]
        self._listed = (wanted, found)
        return found

    def counts(self) -> dict[str, int]:
        return _counted(self.jobs.values(), attrgetter("state"), ACTIVE)

    def waiting(self) -> dict[str, int]:
        """Return how many jobs wait for which reason, as far as events say."""
        waiting = [job for job in self.jobs.values() if not job.placed]
        return _counted(waiting, lambda job: job.reason or job.state)

    def lanes(self, workers: Iterable[Document] = ()) -> "dict[str, Lane]":
        """Return every worker that is registered or has jobs, by name."""
        lanes = {worker["name"]: Lane(worker["name"], worker) for worker in workers}
        for job in self.jobs.values():
            if job.placed and job.worker:
                lanes.setdefault(job.worker, Lane(job.worker)).add(job)
        return dict(sorted(lanes.items()))

    def snapshot(self, wanted: Filter | None = None) -> Board:
        """Return the whole board as one document; of equal boards it is equal."""
        jobs = sorted((job for job in self.jobs.values() if (wanted or Filter()).admits(job)), key=attrgetter("job"))
        lanes = self.lanes()
        return {
            "at": self.at,
            "jobs": self.counts(),
            "waiting": dict(sorted(self.waiting().items())),
            "workers": [lane.document() for lane in lanes.values()],
            "items": [
                {
                    "id": job.job, "name": job.name, "user": job.user, "queue": job.queue, "state": job.state,
                    "reason": job.reason, "message": job.message, "since": job.at, "attempt": job.attempt,
                    "worker": job.worker or None, "array_index": job.index,
                }
                for job in jobs
            ],
        }  # fmt: skip


class Lane:
    """A worker with what it runs."""

    def __init__(self, name: str, worker: Document | None = None) -> None:
        self.name = name
        self.worker: Document = worker or {}
        self.jobs: list[JobRow] = []
        self.cpus_used = 0.0
        self.memory_used = 0

    def add(self, job: JobRow) -> None:
        self.jobs.append(job)
        self.cpus_used += job.cpus
        self.memory_used += job.memory

    def share(self) -> float | None:
        """Return the fuller of CPUs and memory, 0 to 1; None where the capacity is not known."""
        capacity = self.worker.get("capacity") or {}
        shares = [
            used / capacity[name]
            for name, used in (("cpus", self.cpus_used), ("memory", self.memory_used))
            if capacity.get(name)
        ]
        return max(shares) if shares else None

    def document(self) -> BoardLane:
        return {
            "name": self.name,
            "jobs": len(self.jobs),
            "by_state": _counted(self.jobs, attrgetter("state")),
            "cpus_used": round(self.cpus_used, 3),
            "memory_used": self.memory_used,
        }


def _order(job: JobRow) -> tuple[int, str]:
    return (_RANK[job.state], job.job)


def _counted(jobs: Iterable[JobRow], name: Callable[[JobRow], Any], order: Iterable[str] = ()) -> dict[str, int]:
    found: dict[str, int] = dict.fromkeys(order, 0)
    for job in jobs:
        key = name(job)
        found[key] = found.get(key, 0) + 1
    return {key: count for key, count in found.items() if count}
