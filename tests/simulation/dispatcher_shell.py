"""Mirrors `engine/dispatcher/service.py`: rows (committed), then `Offered` to the Harvester, then NATS."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from module_shells import Shell
from programs import Every, Program

from engine.dispatcher.inflight import InFlight
from engine.dispatcher.service import WORDS_MAX, counting
from engine.service_channels import Role
from swarmsync.errors import Unavailable
from swarmsync.model.job import JobRef
from swarmsync.model.lifecycle import EndReason
from swarmsync.protocol.messages import (
    LineWaits,
    Offered,
    Order,
    Orders,
    Place,
    PlacementVoid,
    Receipt,
    Refused,
    Revoke,
    RunJob,
    StopJob,
)
from swarmsync.store.jobs import Dispatched

if TYPE_CHECKING:
    from core import Core
    from network import Letter

RESENDS_PER_TURN = 2_000


class DispatcherShell(Shell):
    role = Role.DISPATCHER

    def __init__(self, core: Core) -> None:
        super().__init__(core)
        self.inflight = InFlight(0, receipt_ms=self.settings.receipt_ms, resends_max=self.settings.resends_max)
        self._names: dict[int, str] = {}
        self._ids: dict[str, int] = {}
        self._receipts: list[tuple[str, Receipt]] = []
        self._unheard: list[tuple[int, int]] = []
        self._words: list[Any] = []
        self._in_doubt = False
        self._slow = Every(self.timeline, self.settings.slow_ms)

    def on_start(self) -> Program:
        self.connection.handlers["receipt"] = self._on_receipt
        epoch = yield from self.call("next_epoch")
        self.inflight = InFlight(epoch, receipt_ms=self.settings.receipt_ms, resends_max=self.settings.resends_max)
        yield from self._resend((yield from self._forgotten()))

    def _on_receipt(self, letter: Letter) -> None:
        self._receipts.append((letter.sender.name, letter.word))
        self.bell.ring()

    def duty(self) -> Program:
        self._take_receipts()
        unheard, self._unheard = self._unheard, []
        for worker_id, seq in unheard:
            self.inflight.unheard(worker_id, seq, self.now_ms)
        if len(self._words) < WORDS_MAX:
            self._words = counting([*self._words, *self.rings["placements"].take()])
        done = len(self._words)
        try:
            yield from self._take_words()
            overdue = self.inflight.overdue(self.now_ms)
            if self._slow() or self._in_doubt:
                self._in_doubt = False
                overdue |= yield from self._forgotten()
            if overdue:
                yield from self._resend(overdue)
        except Unavailable:
            self._in_doubt = True
            raise
        return done + len(overdue)

    def _take_words(self) -> Program:
        places = [word for word in self._words if isinstance(word, Place)]
        if places:
            yield from self._place(places)
            self._words = [word for word in self._words if not isinstance(word, Place)]
        if any(isinstance(word, LineWaits) for word in self._words):
            yield from self.call("save_line_waits")
            self._words = [word for word in self._words if isinstance(word, Revoke)]
        if self._words:
            yield from self._revoke([word.job_id for word in self._words if isinstance(word, Revoke)])
            self._words = []

    def _forgotten(self) -> Program:
        found: dict[int, list[JobRef]] = {}
        for row in (yield from self.call("offered")):
            if not self.inflight.knows(row.worker_id, row.ref):
                found.setdefault(row.worker_id, []).append(row.ref)
        return found

    # ------------------------------------------------ placements

    def _place(self, places: Sequence[Place]) -> Program:
        by_worker: dict[int, list[int]] = {}
        for place in places:
            by_worker.setdefault(place.worker_id, []).append(place.job_id)
        rows = []
        for worker_id, job_ids in by_worker.items():
            for start in range(0, len(job_ids), self.settings.orders_max):
                seq = self.inflight.next_seq(worker_id)
                rows += [(job_id, worker_id, seq) for job_id in job_ids[start : start + self.settings.orders_max]]
        won = yield from self.call("dispatch", rows, self.inflight.epoch)
        there = {(entry.ref.job_id, entry.worker_id) for entry in won}
        void = [PlacementVoid(p.job_id, p.worker_id) for p in places if (p.job_id, p.worker_id) not in there]
        yield from self._send(won, void)

    def _resend(self, by_worker: dict[int, list[JobRef]]) -> Program:
        again: list[tuple[JobRef, int]] = []
        workers = {ref: worker_id for worker_id, refs in by_worker.items() for ref in refs}
        for worker_id, refs in by_worker.items():
            for start in range(0, len(refs), self.settings.orders_max):
                seq = self.inflight.next_seq(worker_id)
                again += [(ref, seq) for ref in refs[start : start + self.settings.orders_max]]
        for start in range(0, len(again), RESENDS_PER_TURN):
            part = again[start : start + RESENDS_PER_TURN]
            still = yield from self.call("resend", part, self.inflight.epoch)
            there = {entry.ref for entry in still}
            for ref, _ in part:
                if ref not in there:
                    self.inflight.ended(ref.job_id, workers[ref])
            yield from self._send(still, [])

    def _send(self, won: Sequence[Dispatched], void: Sequence[PlacementVoid]) -> Program:
        epoch = self.inflight.epoch
        offered = [Offered(e.ref, e.worker_id, e.need, e.grace_ms, epoch, e.orders_seq) for e in won]
        yield from self.rings["bounces"].put([*void, *offered], wakes=bool(void))
        yield from self._know_workers({entry.worker_id for entry in won})
        if won:
            yield from self.call("specs")
        messages: dict[tuple[int, int], list[Dispatched]] = {}
        for entry in won:
            messages.setdefault((entry.worker_id, entry.orders_seq), []).append(entry)
        now_ms = self.now_ms
        for (worker_id, seq), entries in sorted(messages.items()):
            self.inflight.sent(worker_id, seq, [entry.ref for entry in entries], now_ms)
            self._publish(worker_id, seq, [_run_job(entry) for entry in entries])

    def _publish(self, worker_id: int, seq: int, orders: Sequence[Order]) -> None:
        name = self._names.get(worker_id)
        if name is None:
            return
        self.timeline.note("orders", name, self.inflight.epoch, seq, [(type(o).__name__, o.ref) for o in orders[:4]])
        spec_ids = {order.spec_id for order in orders if isinstance(order, RunJob)}
        specs = {spec_id: self.core.store.tables.jobs[spec_id].document.encode() for spec_id in spec_ids}
        word = Orders(self.inflight.epoch, seq, tuple(orders), specs)
        unheard = partial(self._unheard.append, (worker_id, seq))
        with contextlib.suppress(Unavailable):  # the in-flight clock sends them again
            self.core.network.publish(self.connection, f"orders.{name}", word, unheard)

    # ------------------------------------------------ stops and receipts

    def _revoke(self, job_ids: Sequence[int]) -> Program:
        rows = yield from self.call("stops", job_ids)
        yield from self._know_workers({row.worker_id for row in rows})
        for row in rows:
            order = StopJob(row.ref, row.stop_kill, EndReason(row.stop_reason))
            self._publish(row.worker_id, self.inflight.next_seq(row.worker_id), [order])

    def _take_receipts(self) -> None:
        receipts, self._receipts = self._receipts, []
        refused: list[Refused] = []
        for name, receipt in receipts:
            worker_id = self._ids.get(name)
            if worker_id is None or receipt.epoch != self.inflight.epoch:
                continue
            also = frozenset(receipt.also)
            closed = set(self.inflight.receipt(worker_id, receipt.seq, stale=receipt.stale, also=also))
            refused += [
                Refused(ref, worker_id, receipt.epoch, receipt.seq, why)
                for ref, why in receipt.refused
                if ref in closed
            ]
        if refused:
            self.rings["bounces"].offer(refused)

    def _know_workers(self, worker_ids: Iterable[int]) -> Program:
        if all(worker_id in self._names for worker_id in worker_ids):
            return
        for view, _ in (yield from self.call("load_workers")):
            self._names[view.worker_id] = view.name
            self._ids[view.name] = view.worker_id


def _run_job(entry: Dispatched) -> RunJob:
    return RunJob(entry.ref, entry.spec_id, entry.name, entry.need.memory_bytes, entry.array_index, entry.array_size)
