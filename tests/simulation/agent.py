"""Mirrors `worker/agent.py`: joins Core, keeps the pulse, takes orders, repeats reports; around the real Reactor."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from attempt import Attempt
from programs import Bell, Life, Program

from swarmsync.errors import Unavailable
from swarmsync.model.job import JobRef
from swarmsync.model.lifecycle import AssignmentState
from swarmsync.model.worker import WorkerOffer
from swarmsync.protocol.codec import decode_stored_spec
from swarmsync.protocol.messages import (
    Join,
    Pulse,
    PulseAnswer,
    Receipt,
    Refusal,
    Report,
    Reports,
    ReportsAck,
    RunJob,
    StopJob,
    Welcome,
)
from worker.container_runtime import Seen
from worker.reactor import Reactor, terms_key
from worker.receipts import WAIT_MS, Taken, may_wait
from worker.terms import Terms, terms_of

if TYPE_CHECKING:
    from machine import Machine
    from network import Letter
    from world import World

ANSWER_MS = 5_000
RETRY_MS = 200
DRAIN_MS = 7_000


class Agent:
    """One process of a worker's agent; the next one of its machine has another session."""

    def __init__(self, world: World, machine: Machine, number: int) -> None:
        self.world = world
        self.machine = machine
        self.timeline = world.timeline
        self.session = f"{machine.name}-{number}"
        self.began_ms = self.monotonic_ms()
        self.life = Life(world.timeline, machine.name)
        self.connection = world.network.connect(machine.name, self.life)
        self.reactor = Reactor(machine.capacity, now_ms=self.monotonic_ms())
        self.attempts: dict[JobRef, Attempt] = {}
        self.joins = 0
        self.joining = False
        self.draining = False
        self.well_since_ms = world.timeline.now_ms  # neither dead nor paused since then
        self.stood_still = False  # it was paused once
        self.troubled = False  # it was, or it is not the first one of its machine
        self.taken = Taken()
        self._reports_wake = Bell(world.timeline)
        self._pulse_ms = 1_000
        self._pulse_seq = 0

    def monotonic_ms(self) -> int:
        return self.timeline.now_ms + self.machine.clock_offset_ms

    def run(self) -> Program:
        self._adopt()
        yield from self._join()
        self.connection.handlers[f"orders.{self.machine.name}"] = self._on_orders
        self.life.run(self._pulses())
        self.life.run(self._reports())

    # ------------------------------------------------ joining

    def _adopt(self) -> None:
        for container in sorted(self.machine.containers.values(), key=lambda seen: seen.ref.fence, reverse=True):
            state = AssignmentState.RUNNING if container.seen is Seen.RUNNING else AssignmentState.COLLECTING
            if container.seen is Seen.CREATED or container.ref.job_id in self.reactor.held:
                self.machine.remove(container.ref)
                continue
            self.reactor.hold(container.ref, container.terms, state)
            self._begin(container.ref, container.terms, adopted=True)

    def _join(self) -> Program:
        self.joining = True
        while True:
            self._stop_all(self.reactor.lease_ends(self.monotonic_ms()))
            sent_ms = self.monotonic_ms()
            offer = WorkerOffer(self.machine.name, self.machine.capacity, machine=self.machine.name)
            try:
                answer = yield self._ask(
                    "join", Join(self.session, offer, self.reactor.joining(), "", self.machine.name, self.began_ms)
                )
            except Unavailable:
                yield RETRY_MS
                continue
            if isinstance(answer, Welcome):
                break
            yield 1_000
        self.joins += 1
        self.joining = False
        self._pulse_ms = answer.pulse_ms
        self.reactor.welcome((answer.orders_epoch, answer.orders_seq), answer.lease_ms, sent_ms)
        self._want_stopped(answer.stop)
        self.timeline.note("joined", self.session, answer.orders_epoch, answer.orders_seq, len(self.reactor.held))

    # ------------------------------------------------ the pulse

    def _pulses(self) -> Program:
        while True:
            began_ms = self.monotonic_ms()
            yield from self._pulse(leaving=self.reactor.draining)
            self._stop_all(self.reactor.lease_ends(self.monotonic_ms()))
            yield max(0, self._pulse_ms - (self.monotonic_ms() - began_ms))

    def _pulse(self, *, leaving: bool) -> Program:
        sent_ms = self.monotonic_ms()
        self._pulse_seq += 1
        holds, everything = self.reactor.holds_if_changed(), self.reactor.holds()
        epoch, seq = self.reactor.high
        try:
            answer = yield self._ask("pulse", Pulse(self.session, self._pulse_seq, epoch, seq, holds, leaving))
        except Unavailable:
            self.reactor.told(None)
            return
        if isinstance(answer, Refusal):
            yield from self._join()
        elif isinstance(answer, PulseAnswer):
            self.reactor.heard(sent_ms)
            self.reactor.told(None if answer.send_holds else everything)
            self._want_stopped(answer.stop)

    # ------------------------------------------------ orders

    def _on_orders(self, letter: Letter) -> None:
        message = letter.word
        specs = {number: decode_stored_spec(document) for number, document in message.specs.items()}
        terms = {
            terms_key(order): terms_of(specs[order.spec_id], order)
            for order in message.orders
            if isinstance(order, RunJob) and order.spec_id in specs
        }
        receipt, begin, stop = self.reactor.take(message, terms, self.monotonic_ms())
        self.timeline.note("take", self.machine.name, message.epoch, message.seq, receipt.stale, len(begin))
        for order in begin:
            self._begin(order.ref, self.reactor.held[order.ref.job_id].terms)
        if not may_wait(receipt):
            self._send_receipt(receipt)
        elif self.taken.add(receipt):
            self.life.run(self._send_receipts())
        self._stop_all(stop)

    def _send_receipts(self) -> Program:
        yield WAIT_MS
        while (receipt := self.taken.take()) is not None:
            self._send_receipt(receipt)

    def _send_receipt(self, receipt: Receipt) -> None:
        with contextlib.suppress(Unavailable):  # without a receipt the orders come again
            self.world.network.publish(self.connection, "receipt", receipt)

    def _begin(self, ref: JobRef, terms: Terms, *, adopted: bool = False) -> None:
        attempt = self.attempts[ref] = Attempt(self, ref, terms, adopted=adopted)
        self.life.run(attempt.live())

    def _want_stopped(self, orders: Sequence[StopJob]) -> None:
        for order in orders:
            self._stop_all(self.reactor.stop(order))

    def _stop_all(self, decided: Sequence[StopJob]) -> None:
        for order in decided:
            self.timeline.note("stop", self.machine.name, order.ref.job_id, order.ref.fence, order.reason, order.kill)
            attempt = self.attempts.get(order.ref)
            if attempt is not None:
                attempt.stop(order)

    # ------------------------------------------------ reports

    def say(self, report: Report) -> None:
        due_ms = self.reactor.report(report, self.monotonic_ms())
        if due_ms:
            self.life.run(self._wake_later(due_ms))
        else:
            self._reports_wake.ring()

    def _wake_later(self, wait_ms: int) -> Program:
        yield wait_ms
        self._reports_wake.ring()

    def _reports(self) -> Program:
        while True:
            first_seq, reports = self.reactor.unacknowledged(self.monotonic_ms())
            if not reports:
                yield self._reports_wake.wait()
                continue
            try:
                answer = yield self._ask("reports", Reports(self.session, first_seq, reports))
            except Unavailable:
                yield RETRY_MS
                continue
            if isinstance(answer, ReportsAck):
                for ref in self.reactor.acknowledged(answer.through_seq, self.monotonic_ms()):
                    self.world.checks.acknowledged(ref)
                    self.attempts.pop(ref, None)
                    self.life.run(self._remove(ref))

    def _remove(self, ref: JobRef) -> Program:
        yield round(self.timeline.chance.random() * 40)
        self.machine.remove(ref)

    def _ask(self, kind: str, word: Any) -> Any:
        return self.world.network.request(self.connection, kind, word, ANSWER_MS)

    # ------------------------------------------------ the end

    def drain(self) -> Program:
        """A clean stop: end everything, tell Core, and go."""
        self.draining = True
        deadline_ms = self.monotonic_ms() + DRAIN_MS
        self._stop_all(self.reactor.drain())
        yield from self._until_idle(deadline_ms - 2_000)
        for held in list(self.reactor.held.values()):
            self._want_stopped([StopJob(held.ref, kill=True)])
        yield from self._until_idle(deadline_ms)
        yield from self._pulse(leaving=True)
        self.world.kill_agent(self.machine.name)

    def _until_idle(self, deadline_ms: int) -> Program:
        while self.reactor.held and self.monotonic_ms() < deadline_ms:
            yield 100
