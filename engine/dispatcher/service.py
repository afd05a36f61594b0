"""The Dispatcher's shell: placements become guarded rows, rows become orders, and orders go out until confirmed.

Order of duties, which makes a crash anywhere harmless: rows (committed), then `Offered` to the Harvester, then NATS. A
successor finds the rows that wait to be accepted and sends their orders again in newer messages.
"""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final, TypeAlias

from nats.aio.msg import Msg

from engine.dispatcher.inflight import InFlight
from engine.dispatcher.logins import Logins
from engine.dispatcher.secret_values import SecretValues
from engine.pulse_system.pulses import Beat
from engine.service import Service
from engine.service_channels import Role
from swarmsync.bus import Bus
from swarmsync.errors import Unavailable
from swarmsync.model.job import JobRef
from swarmsync.model.lifecycle import EndReason
from swarmsync.protocol import codec, subjects
from swarmsync.protocol.messages import (
    Answer,
    LineWaits,
    Offered,
    Order,
    Orders,
    Place,
    PlacementVoid,
    PlanVoid,
    Refused,
    Revoke,
    RunJob,
    SecretValue,
    StopJob,
    ToDispatcher,
)
from swarmsync.seal import Sealer
from swarmsync.store import jobs
from swarmsync.store import workers as worker_store
from swarmsync.store.jobs import Dispatched
from swarmsync.store.pool import Store
from swarmsync.store.queries import sql

SPECS_KEPT = 1_024
RESENDS_PER_TURN = 2_000
#: How many words may wait here while PostgreSQL is away; more stay on the ring.
WORDS_MAX = 20_000
NOBODY = "503"  # no responders, in the words of NATS
MESSAGE_BYTES_MAX = 512 << 10
#: The values that go into an order, and a sentence about what is missing.
Secrets: TypeAlias = tuple[tuple[SecretValue, ...], str]
_NO_SECRETS: Final[Secrets] = ((), "")


class DispatcherService(Service):
    role: ClassVar[Role] = Role.DISPATCHER

    def __init__(
        self,
        store: Store,
        nats_url: str,
        *,
        receipt_ms: int,
        resends_max: int,
        orders_max: int,
        sealer: Sealer,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._store = store
        self._nats_url = nats_url
        self._receipt_ms, self._resends_max, self._orders_max = receipt_ms, resends_max, orders_max
        self._secrets = SecretValues(store, sealer)
        self._bounces = self.wiring.writer("bounces")
        self._names: dict[int, str] = {}
        self._ids: dict[str, int] = {}
        self._specs: dict[int, bytes] = {}
        self._receipts: list[tuple[str, bytes]] = []
        self._unheard: list[tuple[int, int]] = []  # worker id and number of messages that reached nobody
        self._logins = Logins(store, sealer, self.journal)
        self._words: list[Any] = []
        self._in_doubt = False

    async def on_start(self) -> None:
        self._bus = await Bus.connect(self._nats_url, "dispatcher")
        await self._bus.subscribe(subjects.ALL_RECEIPTS, self._on_receipt)
        epoch = await jobs.next_epoch(self._store)
        self._inflight = InFlight(epoch, receipt_ms=self._receipt_ms, resends_max=self._resends_max)
        await self._bus.subscribe(subjects.unheard(epoch, "*", "*"), self._on_unheard)
        await self._resend(await self._forgotten())

    async def _on_receipt(self, message: Msg) -> None:
        self._receipts.append((subjects.worker_of(message.subject), message.data))
        self.poke()

    async def _on_unheard(self, message: Msg) -> None:
        """NATS answers for the worker when nobody listened."""
        if (message.headers or {}).get("Status") == NOBODY:
            _, _, _, worker_id, seq = message.subject.split(".")
            self._unheard.append((int(worker_id), int(seq)))
            self.poke()  # from then on its clock runs faster

    async def duty(self) -> int:
        self._take_receipts()
        unheard, self._unheard = self._unheard, []
        for worker_id, seq in unheard:
            self._inflight.unheard(worker_id, seq, self.clock.monotonic_ms())
        if len(self._words) < WORDS_MAX:  # those that could not be done may be void by now
            self._words = counting([*self._words, *self.readers["placements"].take()])
        done = len(self._words)
        try:
            await self._take_words()
            overdue = self._inflight.overdue(self.clock.monotonic_ms())
            if self.due(Beat.SLOW) or self._in_doubt:
                self._in_doubt = False
                overdue |= await self._forgotten()
            if overdue:
                await self._resend(overdue)
        except Unavailable:
            self._in_doubt = True  # a commit may have passed although its answer was lost
            raise
        return done + len(overdue)

    async def _take_words(self) -> None:
        """Do what the ring said. Each kind leaves the list once it is done: the guards make trying again safe."""
        answers = [word for word in self._words if isinstance(word, Answer)]
        if answers:
            self._words = [word for word in self._words if not isinstance(word, Answer)]
            await self._answer(answers)
        places = [word for word in self._words if isinstance(word, Place)]
        if places:
            await self._place(places)
            self._words = [word for word in self._words if not isinstance(word, Place)]
        waits = [word for word in self._words if isinstance(word, LineWaits)]
        if waits:
            await jobs.save_line_waits(self._store, waits)
            self._words = [word for word in self._words if isinstance(word, Revoke)]
        if self._words:
            await self._revoke([word.job_id for word in self._words if isinstance(word, Revoke)])
            self._words = []

    async def _forgotten(self) -> dict[int, list[JobRef]]:
        """Orders that wait to be accepted although no clock runs for them here."""
        found: dict[int, list[JobRef]] = {}
        for row in await self._store.fetch(sql("offered")):
            ref = JobRef(row["id"], row["fence"])
            if not self._inflight.knows(row["worker_id"], ref):
                found.setdefault(row["worker_id"], []).append(ref)
        return found

    def restless(self) -> bool:
        return bool(self._words) or self._in_doubt or self._inflight.is_due(self.clock.monotonic_ms() + self.calm_ms)

    async def on_stop(self) -> None:
        await self._bus.close()
        await self._store.close()

    # ------------------------------------------------ placements

    async def _place(self, places: Sequence[Place]) -> None:
        by_worker: dict[int, list[int]] = {}
        for place in places:
            by_worker.setdefault(place.worker_id, []).append(place.job_id)
        rows = []
        for worker_id, job_ids in by_worker.items():
            for start in range(0, len(job_ids), self._orders_max):
                seq = self._inflight.next_seq(worker_id)
                rows += [(job_id, worker_id, seq) for job_id in job_ids[start : start + self._orders_max]]
        limited = [place.job_id for place in places if place.limited]
        won = await jobs.dispatch(self._store, rows, self._inflight.epoch, limited)
        there = {(entry.ref.job_id, entry.worker_id) for entry in won}
        void = [PlacementVoid(p.job_id, p.worker_id) for p in places if (p.job_id, p.worker_id) not in there]
        await self._send(won, void)

    async def _resend(self, by_worker: dict[int, list[JobRef]]) -> None:
        again: list[tuple[JobRef, int]] = []
        workers = {ref: worker_id for worker_id, refs in by_worker.items() for ref in refs}
        for worker_id, refs in by_worker.items():
            for start in range(0, len(refs), self._orders_max):
                seq = self._inflight.next_seq(worker_id)
                again += [(ref, seq) for ref in refs[start : start + self._orders_max]]
        for start in range(0, len(again), RESENDS_PER_TURN):
            part = again[start : start + RESENDS_PER_TURN]
            still = await jobs.resend(self._store, part, self._inflight.epoch)
            there = {entry.ref for entry in still}
            for ref, _ in part:
                if ref not in there:
                    self._inflight.ended(ref.job_id, workers[ref])
            await self._send(still, [])

    async def _send(self, won: Sequence[Dispatched], void: Sequence[PlacementVoid]) -> None:
        epoch = self._inflight.epoch
        offered = [
            Offered(entry.ref, entry.worker_id, entry.need, entry.grace_ms, epoch, entry.orders_seq) for entry in won
        ]
        # Who reads this need not wake for what is on its way: it reads the ring before it reads a worker's answer.
        await self._bounces.put([*void, *offered], wakes=bool(void))
        await self._know_workers({entry.worker_id for entry in won})
        await self._know_specs(won)
        secrets = await self._secrets.of(won, self._specs)
        await self._logins.refresh(self.clock.monotonic_ms())
        messages: dict[tuple[int, int], list[Dispatched]] = {}
        for entry in won:
            messages.setdefault((entry.worker_id, entry.orders_seq), []).append(entry)
        now_ms = self.clock.monotonic_ms()
        for (worker_id, seq), entries in sorted(messages.items()):
            self._inflight.sent(worker_id, seq, [entry.ref for entry in entries], now_ms)
            await self._publish(worker_id, seq, self._that_fit(worker_id, entries, secrets))

    def _that_fit(
        self, worker_id: int, entries: Sequence[Dispatched], secrets: Mapping[JobRef, Secrets]
    ) -> list[RunJob]:
        """Return the orders for one message; those that would make it too large go out in the next turn."""
        size, counted = 0, set[int]()
        orders: list[RunJob] = []
        for entry in entries:
            if entry.spec_id not in counted:
                counted.add(entry.spec_id)
                size += len(self._specs.get(entry.spec_id, b""))
            values, missing = secrets.get(entry.ref, _NO_SECRETS)
            size += sum(len(secret.value) for secret in values)
            if orders and size > MESSAGE_BYTES_MAX:
                self._inflight.defer(worker_id, entry.ref)
            else:
                orders.append(_run_job(entry, values, missing))
        return orders

    async def _publish(self, worker_id: int, seq: int, orders: Sequence[Order]) -> None:
        name = self._names.get(worker_id)
        if name is None:
            return  # the worker was deleted; its assignments end with their leases
        spec_ids = {order.spec_id for order in orders if isinstance(order, RunJob)}
        specs = {spec_id: self._specs[spec_id] for spec_id in spec_ids if spec_id in self._specs}
        logins = self._logins.of_orders(specs, orders)
        payload = codec.encode(Orders(self._inflight.epoch, seq, tuple(orders), specs, logins))
        try:
            reply = subjects.unheard(self._inflight.epoch, worker_id, seq)
            await self._bus.publish(subjects.orders(name), payload, reply)
        except Unavailable as problem:
            self.journal("warning", f"orders to {name} wait: {problem}")  # the in-flight clock sends them again

    # ------------------------------------------------ stops and receipts

    async def _revoke(self, job_ids: Sequence[int]) -> None:
        rows = await self._store.fetch(sql("stops"), job_ids)
        await self._know_workers({row["worker_id"] for row in rows})
        for row in rows:
            order = StopJob(JobRef(row["id"], row["fence"]), row["stop_kill"], EndReason(row["stop_reason"]))
            await self._publish(row["worker_id"], self._inflight.next_seq(row["worker_id"]), [order])

    def _take_receipts(self) -> None:
        receipts, self._receipts = self._receipts, []
        refused: list[Refused] = []
        for name, payload in receipts:
            worker_id = self._ids.get(name)
            try:
                receipt = codec.decode_receipt(payload)
            except codec.DecodeError:
                self.journal("warning", f"worker {name} sent a receipt that is none")
                continue
            if worker_id is None or receipt.epoch != self._inflight.epoch:
                continue
            also = frozenset(receipt.also)
            closed = set(self._inflight.receipt(worker_id, receipt.seq, stale=receipt.stale, also=also))
            refused += [
                Refused(ref, worker_id, receipt.epoch, receipt.seq, why)
                for ref, why in receipt.refused
                if ref in closed
            ]
        if refused:
            self._bounces.offer(refused)  # what does not fit is found by the worker's next pulse

    # ------------------------------------------------ what orders are made of

    async def _know_workers(self, worker_ids: Iterable[int]) -> None:
        if all(worker_id in self._names for worker_id in worker_ids):
            return
        for view, _ in await worker_store.load(self._store):
            self._names[view.worker_id] = view.name
            self._ids[view.name] = view.worker_id

    async def _know_specs(self, won: Sequence[Dispatched]) -> None:
        documents = {entry.spec_id: entry.document for entry in won if entry.document is not None}
        spec_ids = {entry.spec_id for entry in won}
        missing = [spec_id for spec_id in spec_ids if spec_id not in self._specs and spec_id not in documents]
        if missing:
            documents |= await jobs.specs(self._store, missing)
        if len(self._specs) + len(documents) > SPECS_KEPT:
            self._specs = {spec_id: self._specs[spec_id] for spec_id in spec_ids if spec_id in self._specs}
        self._specs |= documents

    async def _answer(self, answers: Sequence[Answer]) -> None:
        """Send the Scheduler's answers to whoever asked: they wait a second, and then ask the rows."""
        with contextlib.suppress(Unavailable):
            for word in answers:
                await self._bus.publish(word.reply, word.text)


def counting(words: Sequence[ToDispatcher]) -> list[ToDispatcher]:
    """Leave out placements that a later word makes void: the Scheduler has read, or will read, that those jobs wait."""
    last = max((number for number, word in enumerate(words) if isinstance(word, PlanVoid)), default=-1)
    return [
        word
        for number, word in enumerate(words)
        if not isinstance(word, PlanVoid) and not (number < last and isinstance(word, Place))
    ]


def _run_job(entry: Dispatched, secrets: tuple[SecretValue, ...], missing: str) -> RunJob:
    return RunJob(
        entry.ref,
        entry.spec_id,
        entry.name,
        entry.need.memory_bytes,
        entry.array_index,
        entry.array_size,
        secrets,
        missing,
        entry.image,
        entry.user_id,
    )
