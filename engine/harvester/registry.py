"""Workers, their sessions and what they hold; who is silent, what is gone. Pure: time is an argument.

Three proofs let an assignment go back to the queue, and nothing else does:
- the worker says it refused the order;
- the worker's pulse does not hold it although it has seen the order message (or a later one) that carried it;
- the worker was silent for the assignment's whole lease, after which it has stopped its containers by itself.
Each `Gone` names the order message it rests on; PostgreSQL lets it pass only if the order was not sent again since.
"""

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from swarmsync.model.job import JobRef
from swarmsync.model.lifecycle import Eligibility, EndReason, Liveness
from swarmsync.model.resources import Need
from swarmsync.model.worker import WorkerOffer, WorkerView
from swarmsync.protocol.messages import Ended, Holding, Offered, Pulse, PulseAnswer, Refusal, Refused, Reports, StopJob
from swarmsync.protocol.subjects import WORKER_NAME

#: A pause of ours (SIGSTOP, a suspended laptop) longer than this is not held against the workers.
OWN_PAUSE_MS: Final = 3_000
#: Another machine may take over a name that has been silent this long.
SAME_NAME_MS: Final = 3_000


class Limits(NamedTuple):
    suspect_ms: int
    lost_ms: int
    lease_ms: int
    lease_slack_ms: int

    def lease_of(self, grace_ms: int) -> int:
        """How long an assignment may live without an answered pulse: it must leave time to stop within it."""
        return max(self.lease_ms, 2 * grace_ms + 10_000)


class Live:
    """An assignment that is not over, as far as Core knows."""

    __slots__ = ("held", "lease_ms", "need", "orders", "ref", "stop", "worker_id")

    def __init__(
        self,
        ref: JobRef,
        worker_id: int,
        need: Need,
        lease_ms: int,
        orders: tuple[int, int],
        *,
        held: bool = False,
    ) -> None:
        self.ref = ref
        self.worker_id = worker_id
        self.need = need
        self.lease_ms = lease_ms
        self.orders = orders  # (epoch, seq) of the last message that carried its order
        self.held = held  # the worker has shown it at least once
        self.stop: StopJob | None = None


class Known:
    """A worker. `holds` is None until this session said what it has."""

    __slots__ = ("holds", "last_ms", "orders", "probe", "sent", "session", "view")

    def __init__(self, view: WorkerView, session: str, last_ms: int, void: tuple[int, int] = (0, 0)) -> None:
        self.view = view
        self.session = session
        self.last_ms = last_ms
        self.holds: dict[int, int] | None = None  # job id -> fence
        self.orders = void  # of the order messages up to here it has taken what it ever will
        self.sent = void  # the newest order message for it; void in its next session, however late it comes
        self.probe = ""  # it is asked to try a container of this image


class Gone(NamedTuple):
    """The assignment will never produce a result. `began` tells whether it may have run (and so costs crash budget)."""

    ref: JobRef
    worker_id: int
    orders: tuple[int, int]
    began: bool
    reason: EndReason
    message: str


class LivenessChanged(NamedTuple):
    worker_id: int
    liveness: Liveness


class Probed(NamedTuple):
    """A worker tried what it was asked to; `problem` is empty when it worked."""

    worker_id: int
    problem: str


class ImagesChanged(NamedTuple):
    worker_id: int


Effect: TypeAlias = Gone | LivenessChanged | Probed | ImagesChanged


class Registry:
    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.workers: dict[str, Known] = {}  # by name: names are the identity on the wire
        self.names: dict[int, str] = {}
        self.live: dict[int, Live] = {}
        self._of_worker: defaultdict[int, set[int]] = defaultdict(set)
        self._stops: dict[int, tuple[bool, EndReason]] = {}  # of assignments that were not yet offered here
        self._last_tick_ms: int | None = None
        self._machines: dict[str, str] = {}  # by name: where it works
        self._began: dict[str, tuple[str, int]] = {}  # by name: which start of the machine, and when since that

    # ------------------------------------------------ told by PostgreSQL, the Dispatcher and people

    def load(self, workers: Iterable[Known], live: Iterable[Live]) -> None:
        """Begin from the rows. Every worker gets a whole lease from now (`last_ms`)."""
        for known in workers:
            self.workers[known.view.name] = known
            self.names[known.view.worker_id] = known.view.name
        for entry in live:
            self._add(entry)

    def ages(self, now_ms: int, of: Container[int] | None = None) -> list[tuple[int, int]]:
        """Return how many ms ago workers were last heard of: `of` these, by id, or of all that were heard at all.

        One that was not counts from our start: rather too late than too early for who waits for the end of its leases.
        """
        return [
            (known.view.worker_id, now_ms - known.last_ms)
            for known in self.workers.values()
            if (known.holds is not None if of is None else known.view.worker_id in of)
        ]

    def forget(self, name: str) -> int:
        """Drop a worker whose row was deleted; return its id."""
        worker_id = self.workers.pop(name).view.worker_id
        self.names.pop(worker_id, None)
        return worker_id

    def offered(self, said: Offered) -> None:
        known, orders = self.live.get(said.ref.job_id), (said.epoch, said.orders_seq)
        if known is None or known.ref.fence < said.ref.fence:
            self._add(Live(said.ref, said.worker_id, said.need, self._limits.lease_of(said.grace_ms), orders))
        elif known.ref == said.ref:
            known.orders = max(known.orders, orders)
            self._sent(known)

    def refused(self, said: Refused) -> list[Effect]:
        known = self.live.get(said.ref.job_id)
        if known is None or known.ref != said.ref:
            return []
        orders = (said.epoch, said.orders_seq)  # not `known.orders`: the order may have gone out again since
        message = f"the worker refused it: {said.message}"
        return [Gone(known.ref, known.worker_id, orders, known.held, EndReason.WORKER_DRAINED, message)]

    def stop_wanted(self, job_id: int, *, kill: bool, reason: EndReason) -> None:
        """Repeat the stop in pulse answers until the assignment is over, should the order get lost."""
        known = self.live.get(job_id)
        if known is not None:
            known.stop = StopJob(known.ref, kill, reason)
        else:
            self._stops[job_id] = (kill, reason)  # it is in PostgreSQL, so the Dispatcher is about to offer it

    def stop_over(self, job_id: int) -> None:
        """The job has ended, or is an array, which is never offered: nothing is left to stop."""
        self._stops.pop(job_id, None)

    def over(self, job_id: int, fence: int) -> Live | None:
        """Forget an assignment whose end is committed; None when it was not known (a repeat)."""
        known = self.live.get(job_id)
        if known is None or known.ref.fence != fence:
            return None
        self._of_worker[known.worker_id].discard(job_id)
        return self.live.pop(job_id)

    def changed(self, worker_id: int, eligibility: Eligibility) -> None:
        known = self.workers.get(self.names.get(worker_id, ""))
        if known is not None:
            known.view.eligibility = eligibility

    # ------------------------------------------------ told by workers

    def high_water(self, worker_id: int) -> tuple[int, int]:
        """The highest order message that any of the worker's assignments rests on."""
        return max((self.live[job_id].orders for job_id in self._of_worker.get(worker_id, ())), default=(0, 0))

    def taken(self, worker_id: int) -> tuple[tuple[int, Need], ...]:
        """What the worker's room goes to, as Core knows it; what it still has of ended assignments is no job."""
        return tuple([(job_id, self.live[job_id].need) for job_id in sorted(self._of_worker.get(worker_id, ()))])

    def refuses(self, name: str, offer: WorkerOffer, now_ms: int, *, boot: str = "", began_ms: int = 0) -> str | None:
        """Say why a worker of this name may not join; None when it may. Two machines must not share a name.

        Of two processes of one machine the younger one counts: what the older one says may just be late.
        """
        if offer.name != name or not WORKER_NAME.fullmatch(name):
            return "a worker's name is its subject: letters, digits, - and _"
        known, other = self.workers.get(name), self._machines.get(name)
        alive = known is not None and known.view.liveness is Liveness.READY and now_ms - known.last_ms < SAME_NAME_MS
        if alive and other not in (None, offer.machine):
            return f"another machine works under the name {name}; give this one another name"
        last_boot, last_began_ms = self._began.get(name, ("", 0))
        if boot and boot == last_boot and began_ms < last_began_ms:
            return f"a younger process works under the name {name} on this machine"
        self._machines[name] = offer.machine
        self._began[name] = (boot, began_ms)
        return None

    def own(self, name: str, word: Reports) -> Reports:
        """Leave out what a worker tells of assignments that another one has: its name on the wire is its identity."""
        known = self.workers.get(name)
        worker_id = known.view.worker_id if known is not None else None
        reports = tuple([report for report in word.reports if self._whose(report.ref) in (None, worker_id)])
        return word if len(reports) == len(word.reports) else Reports(word.session, word.first_seq, reports)

    def has_open_end(self, name: str, word: Reports) -> bool:
        """Say whether an end that this worker tells of was not written, though its assignment is still the last.

        It was judged by a row that has changed since (a cancel came between): it must be told and judged again.
        """
        known = self.workers.get(name)
        ends = [report.ref for report in word.reports if isinstance(report, Ended)]
        return known is not None and any(self._whose(ref) == known.view.worker_id for ref in ends)

    def _whose(self, ref: JobRef) -> int | None:
        live = self.live.get(ref.job_id)
        return live.worker_id if live is not None and live.ref == ref else None

    def joined(
        self, view: WorkerView, session: str, holds: Iterable[Holding], now_ms: int
    ) -> tuple[tuple[int, int], list[StopJob], list[Effect]]:
        """A session began. Return (void order messages up to here, held ones to stop, what is gone)."""
        self.names[view.worker_id] = view.name
        high = self.high_water(view.worker_id)
        before = self.workers.get(view.name)
        if before is not None:
            high = max(high, before.orders, before.sent)
        known = self.workers[view.name] = Known(view, session, now_ms, high)
        stops, effects = self._reconcile(known, tuple(holds))
        return high, stops, effects

    def pulse(self, name: str, said: Pulse, now_ms: int) -> tuple[PulseAnswer | Refusal, list[Effect]]:
        known = self.workers.get(name)
        if known is None or known.session != said.session:
            return Refusal("this session is not known here; join again", rejoin=True), []
        known.last_ms = now_ms
        known.orders = max(known.orders, (said.orders_epoch, said.orders_seq))
        effects: list[Effect] = []
        if said.leaving:
            effects += self._set_liveness(known, Liveness.OFFLINE)
        elif known.view.liveness is not Liveness.READY:
            effects += self._set_liveness(known, Liveness.READY)
        if said.probed is not None:
            known.probe = ""
            effects.append(Probed(known.view.worker_id, said.probed))
        if said.images is not None and said.images != known.view.images:
            known.view.images = said.images
            effects.append(ImagesChanged(known.view.worker_id))
        if said.holds is None and known.holds is None:
            return PulseAnswer(send_holds=True, probe=known.probe), effects
        stops, gone = self._reconcile(known, said.holds)
        return PulseAnswer(stop=tuple(stops), probe=known.probe), effects + gone

    def tick(self, now_ms: int) -> list[Effect]:
        """Look at the silent ones; call about once a second."""
        paused = self._last_tick_ms is not None and now_ms - self._last_tick_ms > OWN_PAUSE_MS
        self._last_tick_ms = now_ms
        effects: list[Effect] = []
        for known in self.workers.values():
            if paused:
                known.last_ms = max(known.last_ms, now_ms - self._limits.suspect_ms + OWN_PAUSE_MS)
            silent_ms = now_ms - known.last_ms
            if silent_ms <= self._limits.suspect_ms:
                continue
            if silent_ms > self._limits.lost_ms:
                effects += self._set_liveness(known, Liveness.LOST)
            else:
                effects += self._set_liveness(known, Liveness.SUSPECT)
            effects += self._expired(known, silent_ms)
        return effects

    # ------------------------------------------------ inside

    def _add(self, entry: Live) -> None:
        job_id = entry.ref.job_id
        old = self.live.get(job_id)
        if old is not None:
            self._of_worker[old.worker_id].discard(job_id)
        if job_id in self._stops:
            entry.stop = StopJob(entry.ref, *self._stops.pop(job_id))
        self.live[job_id] = entry
        self._of_worker[entry.worker_id].add(job_id)
        self._sent(entry)

    def _sent(self, entry: Live) -> None:
        known = self.workers.get(self.names.get(entry.worker_id, ""))
        if known is not None and known.sent < entry.orders:
            known.sent = entry.orders

    def _reconcile(self, known: Known, holds: tuple[Holding, ...] | None) -> tuple[list[StopJob], list[Effect]]:
        """Compare what the worker has with what it should have."""
        if holds is not None:
            known.holds = {holding.ref.job_id: holding.ref.fence for holding in holds}
        held = known.holds or {}
        worker_id = known.view.worker_id
        stops = []
        for job_id, fence in held.items():
            entry = self.live.get(job_id)
            if entry is None or entry.ref.fence != fence or entry.worker_id != worker_id:
                stops.append(StopJob(JobRef(job_id, fence), kill=True, reason=EndReason.WORKER_LOST))
                continue
            entry.held = True
            if entry.stop is not None:
                stops.append(entry.stop)
        effects: list[Effect] = []
        for job_id in self._of_worker.get(worker_id, ()):
            entry = self.live[job_id]
            if job_id not in held and entry.orders <= known.orders:
                message = f"worker {known.view.name} does not have it (any more)"
                effects.append(_gone(entry, message, EndReason.WORKER_LOST))
        return stops, effects

    def _expired(self, known: Known, silent_ms: int) -> list[Effect]:
        """What a silent worker has lost. It must join anew: orders may still be on the way, and are void then."""
        effects: list[Effect] = []
        for job_id in self._of_worker.get(known.view.worker_id, ()):
            entry = self.live[job_id]
            if silent_ms > entry.lease_ms + self._limits.lease_slack_ms:
                known.session = ""
                message = f"worker {known.view.name} was silent for {silent_ms / 1000:.0f} s; the lease has ended"
                effects.append(Gone(entry.ref, entry.worker_id, entry.orders, True, EndReason.WORKER_LOST, message))
        return effects

    def _set_liveness(self, known: Known, liveness: Liveness) -> list[Effect]:
        if known.view.liveness is liveness or (
            known.view.liveness is Liveness.OFFLINE and liveness is not Liveness.READY
        ):
            return []
        known.view.liveness = liveness
        return [LivenessChanged(known.view.worker_id, liveness)]


def _gone(entry: Live, message: str, reason: EndReason) -> Gone:
    return Gone(entry.ref, entry.worker_id, entry.orders, entry.held, reason, message)


def live_of(row: Mapping[str, Any], limits: Limits) -> Live:
    """An assignment that is not over, as `load_placed.sql` reads it."""
    ref = JobRef(row["id"], row["fence"])
    need = Need(row["cpus_milli"], row["memory_bytes"], row["gpus"], row["disk_bytes"])
    orders = (row["orders_epoch"], row["orders_seq"])
    live = Live(ref, row["worker_id"], need, limits.lease_of(row["grace_ms"]), orders)
    live.held = row["assignment_state"] != "offered"
    if row["state"] == "stopping":
        live.stop = StopJob(ref, row["stop_kill"], EndReason(row["stop_reason"]))
    return live
