"""When a worker on which different jobs fail early is taken out, and when it comes back. Pure: time is an argument.

Jobs that never started count, and only where Docker or a pull failed, not the command. A job (an array is one job) that
fails on a second worker is to blame itself and counts nowhere.

Two ways lead into quarantine, each with `jobs_max` different jobs within `WINDOW_MS`:
- they failed here and then started elsewhere: pulls and Docker alike;
- Docker failed for each of them, nothing started here in between, and none of them failed elsewhere.
"""

from collections.abc import Iterable
from typing import Final, TypeAlias

from msgspec import Struct

from swarmsync.model.lifecycle import EndReason

WINDOW_MS: Final = 600_000
#: Jobs that failed on two workers are remembered, lest they count again; at most so many.
BAD_KEPT: Final = 10_000
SUSPECTS_MAX: Final = 1_000

EARLY: Final = frozenset({EndReason.DOCKER_ERROR, EndReason.IMAGE_PULL_FAILED})


class Failed(Struct, frozen=True):
    """An assignment ended before its container ran. `group` is its array, or the job itself."""

    worker_id: int
    job_id: int
    group: int
    reason: EndReason
    message: str


class Began(Struct, frozen=True):
    """A container runs."""

    worker_id: int
    job_id: int


class Quarantined(Struct, frozen=True):
    """Take the worker out; `job_id` is the last that failed: a probe tries its image."""

    worker_id: int
    message: str
    job_id: int


News: TypeAlias = Failed | Began


class _Suspicion(Struct):
    at_ms: int
    failed: Failed
    confirmed: bool = False  # it ran elsewhere


class Quarantine:
    """`jobs_max` 0 switches it off."""

    def __init__(self, jobs_max: int) -> None:
        self._jobs_max = jobs_max
        self._suspects: dict[int, dict[int, _Suspicion]] = {}  # worker id -> group -> its failure
        self._where: dict[int, set[int]] = {}  # group -> workers on which it is a suspicion
        self._groups: dict[int, int] = {}  # job id -> group, of suspicions
        self._bad: dict[int, None] = {}  # groups that failed on two workers, oldest first

    def handle(self, news: Iterable[News], now_ms: int) -> list[Quarantined]:
        if not self._jobs_max:
            return []
        touched = set()
        for word in news:
            match word:
                case Failed():
                    if word.reason in EARLY:
                        touched.add(word.worker_id)
                        self._failed(word, now_ms)
                case Began():
                    touched |= self._began(word)
        found = []
        for worker_id in sorted(touched):
            verdict = self._judge(worker_id, now_ms)
            if verdict is not None:
                found.append(verdict)
                self.forget(worker_id)
        return found

    def forget(self, worker_id: int) -> None:
        """Begin anew with this worker: it was taken out, or somebody let it in again."""
        for group in list(self._suspects.get(worker_id, ())):
            self._drop(worker_id, group)
        self._suspects.pop(worker_id, None)

    def _failed(self, word: Failed, now_ms: int) -> None:
        if word.group in self._bad:
            return
        elsewhere = self._where.get(word.group, set()) - {word.worker_id}
        if any(not self._suspects[worker_id][word.group].confirmed for worker_id in elsewhere):
            for worker_id in list(self._where[word.group]):
                self._drop(worker_id, word.group)
            self._bad[word.group] = None
            while len(self._bad) > BAD_KEPT:
                del self._bad[next(iter(self._bad))]
            return
        suspects = self._suspects.setdefault(word.worker_id, {})
        if len(suspects) >= SUSPECTS_MAX:
            self._drop(word.worker_id, next(iter(suspects)))
        known = suspects.get(word.group)
        suspects[word.group] = _Suspicion(now_ms, word, known.confirmed if known is not None else False)
        self._where.setdefault(word.group, set()).add(word.worker_id)
        self._groups[word.job_id] = word.group

    def _began(self, word: Began) -> set[int]:
        """What ran clears its worker of Docker's failures, and confirms those that it had elsewhere."""
        own = self._suspects.get(word.worker_id, {})
        for group in [group for group, entry in own.items() if not entry.confirmed]:
            if own[group].failed.reason is EndReason.DOCKER_ERROR or own[group].failed.job_id == word.job_id:
                self._drop(word.worker_id, group)
        tried = self._groups.get(word.job_id)
        if tried is None:
            return set()
        others = self._where.get(tried, set()) - {word.worker_id}
        for worker_id in others:
            self._suspects[worker_id][tried].confirmed = True
        return others

    def _judge(self, worker_id: int, now_ms: int) -> Quarantined | None:
        suspects = self._suspects.get(worker_id, {})
        for group in [group for group, entry in suspects.items() if now_ms - entry.at_ms > WINDOW_MS]:
            self._drop(worker_id, group)
        confirmed = [entry for entry in suspects.values() if entry.confirmed]
        rest = [entry for entry in suspects.values() if not entry.confirmed]
        by_docker = [entry for entry in rest if entry.failed.reason is EndReason.DOCKER_ERROR]
        last = max(suspects.values(), key=lambda entry: entry.at_ms, default=None)
        if last is None or max(len(confirmed), len(by_docker)) < self._jobs_max:
            return None
        count, how = len(by_docker), "and nothing started in between"
        if len(confirmed) >= self._jobs_max:
            count, how = len(confirmed), "and ran on other workers"
        message = f"{count} different jobs failed here before they started, {how}; the last one: {last.failed.message}"
        return Quarantined(worker_id, message, last.failed.job_id)

    def _drop(self, worker_id: int, group: int) -> None:
        entry = self._suspects[worker_id].pop(group)
        self._groups.pop(entry.failed.job_id, None)
        where = self._where[group]
        where.discard(worker_id)
        if not where:
            del self._where[group]
