"""Which orders nobody has confirmed yet, and when to send them again. Pure.

An order message has a number per (epoch, worker). Sending an order again puts it into a new message with a higher
number, after PostgreSQL was told that number: see `Orders` in `protocol/messages.py` for why that makes repeats safe.
A message that nobody heard is sent again sooner: NATS says so at once, and a worker that connects again is soon there.
After `resends_max` the clock lets go: the worker's pulses (or its silence) decide, in the Harvester.
"""

from collections.abc import Collection, Iterable
from typing import Final

from swarmsync.model.job import JobRef

#: How soon after nobody heard it an order is sent again: the first time, and how many times longer each next time.
UNHEARD_MS: Final = 200
UNHEARD_GROWTH: Final = 4
_NEVER_MS: Final = 1 << 60


class _Open:
    __slots__ = ("due_ms", "ref", "resends", "seq")

    def __init__(self, ref: JobRef, seq: int, due_ms: int, resends: int) -> None:
        self.ref = ref
        self.seq = seq
        self.due_ms = due_ms
        self.resends = resends


class InFlight:
    def __init__(self, epoch: int, *, receipt_ms: int, resends_max: int) -> None:
        self.epoch = epoch
        self._receipt_ms = receipt_ms
        self._resends_max = resends_max
        self._seqs: dict[int, int] = {}  # worker id -> number of its last message
        self._open: dict[int, dict[int, _Open]] = {}  # worker id -> job id -> order
        self._due_ms = _NEVER_MS  # nothing is due before; what is closed leaves it as it is

    def __len__(self) -> int:
        return sum(len(orders) for orders in self._open.values())

    def next_seq(self, worker_id: int) -> int:
        """Number the next message to a worker."""
        self._seqs[worker_id] = seq = self._seqs.get(worker_id, 0) + 1
        return seq

    def sent(self, worker_id: int, seq: int, refs: Iterable[JobRef], now_ms: int) -> None:
        """Start (or restart) the clock of each order in message `seq`."""
        orders = self._open.setdefault(worker_id, {})
        for ref in refs:
            known = orders.get(ref.job_id)
            resends = known.resends + 1 if known is not None and known.ref == ref else 0
            orders[ref.job_id] = _Open(ref, seq, now_ms + self._receipt_ms, resends)
        self._due_ms = min(self._due_ms, now_ms + self._receipt_ms)

    def defer(self, worker_id: int, ref: JobRef) -> None:
        """The order did not fit into its message: send it again at once, in another."""
        order = self._open[worker_id][ref.job_id]
        order.due_ms = self._due_ms = 0
        order.resends -= 1

    def receipt(self, worker_id: int, seq: int, *, stale: bool, also: Collection[int] = ()) -> list[JobRef]:
        """A worker answered message `seq`: close its orders and return them; keep them when it was `stale`.

        Orders of the messages `also` are closed as well; none of them was refused.
        """
        orders = self._open.get(worker_id, {})
        for ref in [order.ref for order in orders.values() if order.seq in also] if also else ():
            del orders[ref.job_id]
        closed = [order.ref for order in orders.values() if order.seq == seq]
        if stale:
            for ref in closed:
                orders[ref.job_id].due_ms = 0  # the worker has seen a higher number: send again at once
            self._due_ms = 0
            return []
        for ref in closed:
            del orders[ref.job_id]
        if not orders:
            self._open.pop(worker_id, None)
        if not self._open:
            self._due_ms = _NEVER_MS
        return closed

    def unheard(self, worker_id: int, seq: int, now_ms: int) -> None:
        """Nobody listened when message `seq` was sent: do not wait as long as for a receipt."""
        for order in self._open.get(worker_id, {}).values():
            if order.seq == seq:
                order.due_ms = min(order.due_ms, now_ms + UNHEARD_MS * UNHEARD_GROWTH**order.resends)
                self._due_ms = min(self._due_ms, order.due_ms)

    def knows(self, worker_id: int, ref: JobRef) -> bool:
        """Tell whether a clock runs for this order."""
        order = self._open.get(worker_id, {}).get(ref.job_id)
        return order is not None and order.ref == ref

    def ended(self, job_id: int, worker_id: int) -> None:
        """The assignment is over by other news; stop asking."""
        self._open.get(worker_id, {}).pop(job_id, None)

    def is_due(self, now_ms: int) -> bool:
        """Tell whether `overdue` may have something to return."""
        return now_ms >= self._due_ms

    def overdue(self, now_ms: int) -> dict[int, list[JobRef]]:
        """Return the orders to send again, per worker; those sent too often are let go."""
        again: dict[int, list[JobRef]] = {}
        if now_ms < self._due_ms:
            return again
        self._due_ms = _NEVER_MS
        for worker_id, orders in self._open.items():
            for order in list(orders.values()):
                if order.due_ms > now_ms:
                    self._due_ms = min(self._due_ms, order.due_ms)
                elif order.resends >= self._resends_max:
                    del orders[order.ref.job_id]
                else:
                    again.setdefault(worker_id, []).append(order.ref)
        if again:
            self._due_ms = now_ms  # until they have been sent
        return again
