"""What a worker decides: which orders to take, what it holds, when its leases end, which reports are not acknowledged.

Pure: time is an argument and nothing here waits. The agent performs what it returns. One reactor is one worker.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

from swarmsync.model.job import JobRef
from swarmsync.model.lifecycle import AssignmentState, EndReason
from swarmsync.model.resources import NOTHING, Need
from swarmsync.protocol.messages import Ended, Holding, Orders, Receipt, Report, RunJob, Started, StopJob
from worker.leases import WATCHDOG_MARGIN_MS
from worker.terms import Terms

#: The container must be gone this long before the lease ends, beside its grace.
LEASE_MARGIN_MS: Final = 2_000
REPORTS_PER_MESSAGE: Final = 500
#: A beginning that follows another message within this time waits as long for its end, and is then told with it.
STARTS_WAIT_MS: Final = 250
#: For how long a worker remembers assignments that are over, lest an order that took its time begins one of them again:
#: at least for this long or until so many more are over, and about twice that at most.
OVER_KEPT_MS: Final = 150_000
OVER_KEPT: Final = 10_000
_NOT_YOUNG: Final = (0, None)


#: What an order's terms hang on: its spec, and the memory that its attempt gets.
TermsKey: TypeAlias = tuple[int, int]


def terms_key(order: RunJob) -> TermsKey:
    return order.spec_id, order.memory_bytes


class Held:
    """An assignment from its acceptance until Core has acknowledged its end."""

    __slots__ = ("ended_seq", "lease_ms", "ref", "state", "stop", "terms")

    def __init__(self, ref: JobRef, terms: Terms, lease_ms: int, state: AssignmentState) -> None:
        self.ref = ref
        self.terms = terms
        self.lease_ms = lease_ms
        self.state = state
        self.stop: StopJob | None = None
        self.ended_seq: int | None = None  # the report that Core must acknowledge

    @property
    def occupies(self) -> bool:
        return self.ended_seq is None


class Reactor:
    def __init__(self, capacity: Need, *, now_ms: int, lease_ms: int = 30_000) -> None:
        self.capacity = capacity
        self.held: dict[int, Held] = {}
        self.high = (0, 0)  # (epoch, seq) of the newest order message seen
        self.draining = False
        self._joining = False
        self._used = NOTHING
        self._lease_ms = lease_ms
        self._heard_ms = now_ms  # when the last answered pulse was *sent*
        self._outbox: deque[tuple[int, Report]] = deque()
        self._next_seq = 1
        self._young: dict[JobRef, tuple[int, Started]] = {}  # beginnings that wait, with when they do no more
        self._spoke_ms = now_ms - STARTS_WAIT_MS  # when the last message was made
        self._told: tuple[Holding, ...] | None = None
        self._over: dict[int, int] = {}  # job id -> fence of its last assignment here that Core has acknowledged
        self._over_before: dict[int, int] = {}  # those of the time before that
        self._over_since_ms = now_ms

    # ------------------------------------------------ contact with Core

    def joining(self) -> tuple[Holding, ...]:
        """Return what a Join says. Until `welcome` nothing is taken: Core would count it as gone and order it again."""
        self._joining = True
        return self.holds()

    def welcome(self, orders: tuple[int, int], lease_ms: int, sent_ms: int) -> None:
        """A session began: order messages up to `orders` are void here."""
        self._joining = False
        self.high = max(self.high, orders)
        self._lease_ms = lease_ms
        for held in self.held.values():
            held.lease_ms = self._lease_of(held.terms)
        self._told = None
        self.heard(sent_ms)

    def heard(self, sent_ms: int) -> None:
        """Core answered what we sent at `sent_ms`: all leases count from then."""
        self._heard_ms = max(self._heard_ms, sent_ms)

    def holds(self) -> tuple[Holding, ...]:
        return tuple([Holding(held.ref, held.state, held.terms.need) for held in self.held.values()])

    def holds_if_changed(self) -> tuple[Holding, ...] | None:
        """What a pulse says: None while Core knows it already (`told` notes that it does)."""
        now = self.holds()
        return None if now == self._told else now

    def told(self, holds: tuple[Holding, ...] | None) -> None:
        """A pulse with these holds was answered; None makes the next pulse say everything again."""
        self._told = holds

    def in_touch(self, now_ms: int) -> bool:
        """Orders may be taken only while the shortest lease is alive."""
        return now_ms - self._heard_ms < self._lease_ms

    def lease_ends(self, now_ms: int) -> list[StopJob]:
        """Return stops for what must be gone before Core may give it to another worker."""
        silent_ms = now_ms - self._heard_ms
        stops = []
        for held in self.held.values():
            if silent_ms > _silence_max(held.lease_ms, held.terms) and held.occupies and held.stop is None:
                held.stop = StopJob(held.ref, reason=EndReason.WORKER_LOST)
                stops.append(held.stop)
        return stops

    @property
    def heard_ms(self) -> int:
        return self._heard_ms

    @property
    def lease_ms(self) -> int:
        return self._lease_ms

    def kill_ats(self) -> dict[JobRef, int]:
        """When the watchdog begins to stop each container, should this agent not do it before."""
        return {
            held.ref: self._heard_ms + held.lease_ms - held.terms.grace_ms - WATCHDOG_MARGIN_MS
            for held in self.held.values()
        }

    # ------------------------------------------------ orders

    def take(
        self, message: Orders, terms: Mapping[TermsKey, Terms], now_ms: int
    ) -> tuple[Receipt, list[RunJob], list[StopJob]]:
        """Decide on an order message. Return the receipt, what to begin and what to stop."""
        if self._joining or (message.epoch, message.seq) <= self.high or not self.in_touch(now_ms):
            return Receipt(message.epoch, message.seq, stale=True), [], []
        self.high = (message.epoch, message.seq)
        begin: list[RunJob] = []
        stop: list[StopJob] = []
        refused: list[tuple[JobRef, str]] = []
        for order in message.orders:
            if isinstance(order, StopJob):
                stop += self.stop(order)
                continue
            known = self.held.get(order.ref.job_id)
            if known is not None and known.ref == order.ref:
                continue  # a repeat: it is under way
            if self._is_over(order.ref):
                continue  # a repeat that was under way when Core heard of the end
            own = terms.get(terms_key(order))
            if own is None:
                refused.append((order.ref, "the order came without its spec"))
                continue
            why = self._refuses(order, own, now_ms)
            if why is not None:
                refused.append((order.ref, why))
                continue
            self.hold(order.ref, own)
            begin.append(order)
        return Receipt(message.epoch, message.seq, tuple(refused)), begin, stop

    def _refuses(self, order: RunJob, terms: Terms, now_ms: int) -> str | None:
        if self.draining:
            return "it is stopping"
        if now_ms - self._heard_ms > _silence_max(self._lease_of(terms), terms):
            return "it has had no contact with Core for too long"  # it would have to be stopped at once
        earlier = self.held.get(order.ref.job_id)
        if earlier is not None and (earlier.occupies or earlier.ref.fence > order.ref.fence):
            return "it still holds an earlier attempt of this job"  # one that has ended: the order overtook Core's word
        if not self._used.plus(terms.need).fits(self.capacity):
            return "it has no room: " + " and ".join(terms.need.lacks(self.capacity.minus(self._used)))
        return None

    def hold(self, ref: JobRef, terms: Terms, state: AssignmentState = AssignmentState.ACCEPTED) -> Held:
        """Take an assignment in: a new order, or a container that an earlier agent left."""
        old = self.held.get(ref.job_id)
        if old is not None and old.occupies:
            self._used = self._used.minus(old.terms.need)
        held = Held(ref, terms, self._lease_of(terms), state)
        self.held[ref.job_id] = held
        self._used = self._used.plus(terms.need)
        return held

    def _lease_of(self, terms: Terms) -> int:
        return max(self._lease_ms, 2 * terms.grace_ms + 10_000)

    def stop(self, order: StopJob) -> list[StopJob]:
        """Return the order if it changes anything: a first stop, or a kill after a stop."""
        held = self.held.get(order.ref.job_id)
        if held is None or held.ref != order.ref or not held.occupies:
            return []
        if held.stop is not None and (held.stop.kill or not order.kill):
            return []
        held.stop = order if held.stop is None else StopJob(order.ref, kill=True, reason=held.stop.reason)
        return [held.stop]

    def drain(self) -> list[StopJob]:
        """Take nothing more and stop everything."""
        self.draining = True
        return [
            stop
            for held in list(self.held.values())
            for stop in self.stop(StopJob(held.ref, reason=EndReason.WORKER_DRAINED))
        ]

    # ------------------------------------------------ reports

    def report(self, report: Report, now_ms: int) -> int:
        """Queue a report; it is repeated until Core acknowledges it. Return in how many milliseconds it may go."""
        held = self.held.get(report.ref.job_id)
        own = held if held is not None and held.ref == report.ref else None
        if isinstance(report, Started):
            if own is not None:
                own.state = AssignmentState.RUNNING
            if now_ms - self._spoke_ms < STARTS_WAIT_MS:
                self._young[report.ref] = now_ms + STARTS_WAIT_MS, report
                return STARTS_WAIT_MS
        _, began = self._young.pop(report.ref, _NOT_YOUNG)
        if began is not None and not (isinstance(report, Ended) and report.reason is EndReason.COMPLETED):
            self._queue(began)  # another attempt gets the image that this one had
        if own is not None and isinstance(report, Ended) and own.occupies:
            own.ended_seq = self._next_seq
            own.state = AssignmentState.COLLECTING
            self._used = self._used.minus(own.terms.need)
        self._queue(report)
        return 0

    def _queue(self, report: Report) -> None:
        self._outbox.append((self._next_seq, report))
        self._next_seq += 1

    def next_due_ms(self, now_ms: int) -> int | None:
        """Return in how many milliseconds the next of the beginnings that wait is due; None: none waits."""
        return next((due_ms - now_ms for due_ms, _ in self._young.values() if due_ms > now_ms), None)

    def unacknowledged(self, now_ms: int) -> tuple[int, tuple[Report, ...]]:
        """Return the next message: the number of its first report, and the reports."""
        for ref in [ref for ref, (due_ms, _) in self._young.items() if due_ms <= now_ms]:
            self._queue(self._young.pop(ref)[1])
        if not self._outbox:
            return self._next_seq, ()
        self._spoke_ms = now_ms
        count = min(len(self._outbox), REPORTS_PER_MESSAGE)
        return self._outbox[0][0], tuple([self._outbox[index][1] for index in range(count)])

    def ended(self) -> list[Ended]:
        """Return the ends that Core has not acknowledged."""
        return [report for _, report in self._outbox if isinstance(report, Ended)]

    def acknowledged(self, through_seq: int, now_ms: int) -> list[JobRef]:
        """Core has committed reports up to here; return the assignments whose containers may go now."""
        over: list[JobRef] = []
        if len(self._over) >= OVER_KEPT or now_ms - self._over_since_ms >= OVER_KEPT_MS:
            self._over_before, self._over, self._over_since_ms = self._over, {}, now_ms
        while self._outbox and self._outbox[0][0] <= through_seq:
            _, report = self._outbox.popleft()
            held = self.held.get(report.ref.job_id)
            if not isinstance(report, Ended) or held is None or held.ref.fence < report.ref.fence:
                continue
            if held.ref == report.ref:
                del self.held[report.ref.job_id]
            self._over[report.ref.job_id] = report.ref.fence  # the next attempt may have begun, on newer orders
            over.append(report.ref)
        return over

    def _is_over(self, ref: JobRef) -> bool:
        return ref.fence <= max(self._over.get(ref.job_id, 0), self._over_before.get(ref.job_id, 0))

    def forget(self, refs: Iterable[JobRef]) -> None:
        """Drop assignments that never came to life."""
        for ref in refs:
            held = self.held.get(ref.job_id)
            if held is not None and held.ref == ref:
                if held.occupies:
                    self._used = self._used.minus(held.terms.need)
                del self.held[ref.job_id]


def _silence_max(lease_ms: int, terms: Terms) -> int:
    """How long a container may live without an answered pulse: its grace must end before its lease does."""
    return lease_ms - terms.grace_ms - LEASE_MARGIN_MS
