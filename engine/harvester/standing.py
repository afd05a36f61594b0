"""What the Harvester does about workers as such: ends drains, takes out those that fail or lie, lets in the mended.

`quarantine.py` decides; this writes it down and tells it. People may lift a quarantine at any time (uncordon).
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from engine.harvester.quarantine import EARLY, Began, Failed, News, Quarantine
from engine.harvester.registry import Effect, ImagesChanged, Probed, Registry
from swarmsync.model.job import Settlement
from swarmsync.model.lifecycle import Eligibility, EndReason
from swarmsync.protocol.messages import Reports, Started, ToScheduler, WorkerChanged
from swarmsync.store import workers as worker_store
from swarmsync.store.jobs import Settled
from swarmsync.store.pool import Store

NEWS_MAX = 10_000
#: A worker that tells of so many assignments of others is held to be in wrong hands: no accident does that.
FORGED_MAX = 10


class Standing:
    def __init__(
        self,
        store: Store,
        registry: Registry,
        jobs_max: int,
        say: Callable[[list[ToScheduler]], None],
        journal: Callable[..., Any],
    ) -> None:
        self._store, self._registry, self._say, self._journal = store, registry, say, journal
        self._quarantine = Quarantine(jobs_max)
        self._news: list[News] = []
        self._probed: dict[int, str] = {}
        self._images: dict[int, bool] = {}  # workers whose images are to be saved, and whether the Scheduler must hear
        self._forged: Counter[int] = Counter()
        self._told: dict[int, str] = {}  # what was last said of a worker's failed probe

    # ------------------------------------------------ what is heard

    def ended(self, written: Iterable[tuple[Settlement, Settled]]) -> None:
        """Verdicts that were committed. What was over quickly is not told as begun before."""
        for row, won in written:
            reason = row.assignment_reason
            if len(self._news) >= NEWS_MAX:
                return
            if row.ran_ms is not None:
                self._news.append(Began(won.worker_id, row.ref.job_id))
            elif reason in EARLY:
                group = won.array_id or row.ref.job_id
                failed = Failed(won.worker_id, row.ref.job_id, group, EndReason(reason), row.assignment_message)
                self._news.append(failed)

    def began(self, starts: Iterable[Started]) -> None:
        for start in starts:
            live = self._registry.live.get(start.ref.job_id)
            if live is not None and live.ref == start.ref and len(self._news) < NEWS_MAX:
                self._news.append(Began(live.worker_id, start.ref.job_id))

    def own(self, name: str, word: Reports) -> Reports:
        """Return what a worker may report on; of assignments that others have nothing is believed."""
        own = self._registry.own(name, word)
        strange = len(word.reports) - len(own.reports)
        if strange:
            if name in self._registry.workers:
                self._forged[self._registry.workers[name].view.worker_id] += strange
            self._journal("warning", f"worker {name} reported on {strange} assignments of other workers; not believed")
        return own

    def note(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Probed):
                self._probed[effect.worker_id] = effect.problem
            elif isinstance(effect, ImagesChanged):
                self._images[effect.worker_id] = True

    def joined(self, worker_id: int) -> None:
        """The Scheduler hears what images it has with the join itself."""
        self._images.setdefault(worker_id, False)

    def changed(self, worker_id: int, eligibility: Eligibility) -> None:
        """Somebody changed it: a worker that is open again begins anew."""
        if eligibility is Eligibility.OPEN:
            self._quarantine.forget(worker_id)
            self._told.pop(worker_id, None)

    # ------------------------------------------------ what is done

    async def act(self, now_ms: int) -> None:
        """Write and tell. What was not written because PostgreSQL was away is lost news, and will come again."""
        news, self._news = self._news, []
        for verdict in self._quarantine.handle(news, now_ms):
            if await worker_store.quarantine(self._store, verdict.worker_id, verdict.message, verdict.job_id):
                self._set(verdict.worker_id, Eligibility.QUARANTINED)
                name = self._registry.names.get(verdict.worker_id, "?")
                self._journal("error", f"worker {name} is quarantined: {verdict.message}")
        for worker_id in [each for each, reports in self._forged.items() if reports >= FORGED_MAX]:
            why = f"it reported on {self._forged.pop(worker_id)} assignments of other workers; find out who has its key"
            if await worker_store.distrust(self._store, worker_id, why):
                self._set(worker_id, Eligibility.CORDONED)
                self._journal("error", f"worker {self._registry.names.get(worker_id, '?')} is cordoned: {why}")
        probed, self._probed = self._probed, {}
        for worker_id, problem in probed.items():
            await self._after_probe(worker_id, problem)

    async def _after_probe(self, worker_id: int, problem: str) -> None:
        name = self._registry.names.get(worker_id, "?")
        if problem:
            if self._told.get(worker_id) != problem:
                self._told[worker_id] = problem
                self._journal("warning", f"worker {name} stays quarantined, its probe failed: {problem}")
        elif await worker_store.lift(self._store, worker_id):
            self._set(worker_id, Eligibility.OPEN)
            self._journal("info", f"worker {name} takes jobs again: its probe passed")

    def _set(self, worker_id: int, eligibility: Eligibility) -> None:
        self._registry.changed(worker_id, eligibility)
        self.changed(worker_id, eligibility)
        known = self._registry.workers.get(self._registry.names.get(worker_id, ""))
        if known is not None:
            known.probe = ""
            self._say([WorkerChanged(worker_id, known.view.liveness, eligibility)])

    async def ask_for_probes(self) -> None:
        """At the slow pulse: each quarantined worker tries a container of the image that failed last."""
        if not any(k.view.eligibility is Eligibility.QUARANTINED for k in self._registry.workers.values()):
            return
        for worker_id, image in await worker_store.probes(self._store):
            known = self._registry.workers.get(self._registry.names.get(worker_id, ""))
            if known is not None:
                known.probe = image or "-"

    async def save_images(self, tell_room: Callable[[int], None]) -> None:
        """What images workers have now; the Scheduler hears of it with what their room goes to."""
        changed, self._images = self._images, {}
        views = [k.view for k in self._registry.workers.values() if k.view.worker_id in changed]
        if views:
            await worker_store.save_images(self._store, {view.worker_id: view.images for view in views})
        for view in views:
            if changed[view.worker_id]:
                tell_room(view.worker_id)

    async def finish_drains(self, *, look_at_deadlines: bool) -> tuple[bool, list[int]]:
        """A draining worker that holds nothing any more is drained; what is too late there is stopped.

        Return whether any became drained, and the jobs that are to stop.
        """
        draining = [k for k in self._registry.workers.values() if k.view.eligibility is Eligibility.DRAINING]
        done = [known.view.worker_id for known in draining if not self._registry.taken(known.view.worker_id)]
        stopped = []
        if len(done) < len(draining) and look_at_deadlines:
            stopped = await worker_store.stop_drained(self._store)
        if done:
            await worker_store.save_drained(self._store, done)
        return bool(done), stopped
