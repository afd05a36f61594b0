"""What an old leader still says when another one leads: whether anybody obeys.

All orders and receipts between Cores and workers are listened to. Beside what an old leader really sends, what it might
send is tried: an order of its epoch, and a statement of its term.
"""

import asyncio
import threading
import time
from concurrent.futures import Future
from typing import Final

import asyncpg
import nats
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg

from swarmsync.protocol import codec, subjects
from swarmsync.protocol.messages import Orders

WAIT_S: Final = 10.0
TAKE_OVER_S: Final = 90.0
LOOK_S: Final = 0.01
_ALL_ORDERS: Final = "w.*.down.orders"
_REFUSED: Final = "SS001"
#: Two of the tables that the engine writes, and no row of theirs: the trigger speaks for the statement.
STATEMENTS: Final = ("UPDATE jobs SET priority = priority WHERE false", "UPDATE workers SET name = name WHERE false")


class Ear(threading.Thread):
    """Listens from `start` to `stop`. Orders are those that were obeyed or not by the word of the worker's receipt."""

    def __init__(self, nats_url: str, database_url: str) -> None:
        super().__init__(name="ear", daemon=True)
        self._nats_url, self._database_url = nats_url, database_url
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._over = asyncio.Event()
        self._last: dict[str, Orders] = {}  # by worker
        self._epoch = 0
        self._stale: dict[tuple[str, int, int], asyncio.Event] = {}
        self.late_orders = 0  # of an epoch that was over, and really sent
        self.obeyed = 0
        self.refused = 0

    def run(self) -> None:
        self._loop.run_until_complete(self._listen())

    def begin(self) -> None:
        self.start()
        if not self._ready.wait(WAIT_S):
            raise TimeoutError("NATS does not let the bench listen")

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self.join(WAIT_S)

    async def _listen(self) -> None:
        self._bus: Nats = await nats.connect(self._nats_url.split(","), max_reconnect_attempts=-1)
        await self._bus.subscribe(_ALL_ORDERS, cb=self._on_orders)
        await self._bus.subscribe(subjects.ALL_RECEIPTS, cb=self._on_receipt)
        self._ready.set()
        await self._over.wait()
        await self._bus.close()

    async def _on_orders(self, message: Msg) -> None:
        orders = codec.decode_orders(message.data)
        worker = subjects.worker_of(message.subject)
        if orders.epoch < self._epoch and (worker, orders.epoch, orders.seq) not in self._stale:
            self.late_orders += 1
        self._epoch = max(self._epoch, orders.epoch)
        if orders.epoch == self._epoch:
            self._last[worker] = orders

    async def _on_receipt(self, message: Msg) -> None:
        receipt = codec.decode_receipt(message.data)
        if receipt.epoch >= self._epoch:
            return
        if receipt.stale:
            self.refused += 1
        else:
            self.obeyed += 1
        asked = self._stale.get((subjects.worker_of(message.subject), receipt.epoch, receipt.seq))
        if asked is not None:
            asked.set()

    # ------------------------------------------------ what an old leader might say

    def try_orders(self, before: dict[str, Orders]) -> int:
        """Send an order of that time, newer than all before, to each worker that the new leader has told something.

        Return how many there were; all were answered.
        """
        return asyncio.run_coroutine_threadsafe(self._try_orders(before), self._loop).result(2 * WAIT_S)

    def last(self) -> dict[str, Orders]:
        """Return the newest orders, by worker."""
        return dict(self._last)

    async def _try_orders(self, before: dict[str, Orders]) -> int:
        answered = 0
        for worker, orders in before.items():
            if self._last[worker].epoch == orders.epoch:
                continue
            late = Orders(orders.epoch, orders.seq + 1_000_000, orders.orders, orders.specs, orders.logins)
            asked = self._stale[worker, late.epoch, late.seq] = asyncio.Event()
            await self._bus.publish(subjects.orders(worker), codec.encode(late))
            async with asyncio.timeout(WAIT_S):
                await asked.wait()
            answered += 1
        return answered

    def try_writes(self, term: int) -> int:
        """Write as the modules of that term would; return how many statements PostgreSQL refused."""
        return asyncio.run_coroutine_threadsafe(self._try_writes(term), self._loop).result(2 * WAIT_S)

    async def _try_writes(self, term: int) -> int:
        settings = {"search_path": "swarmsync", "swarmsync.term": str(term)}
        connection = await asyncpg.connect(self._database_url, timeout=WAIT_S, server_settings=settings)
        refused = 0
        try:
            for statement in STATEMENTS:
                try:
                    await connection.execute(statement)
                except asyncpg.PostgresError as problem:
                    refused += problem.sqlstate == _REFUSED
        finally:
            await connection.close()
        return refused

    # ------------------------------------------------ who leads

    def term(self) -> int:
        """Return the term by the row."""
        return asyncio.run_coroutine_threadsafe(self._next_term(-1), self._loop).result(2 * WAIT_S)[0]

    def next_term(self, after: int) -> "Future[tuple[int, float]]":
        """Begin to wait for a higher term: it, and when it was seen (monotonic seconds)."""
        return asyncio.run_coroutine_threadsafe(self._next_term(after), self._loop)

    async def _next_term(self, after: int) -> tuple[int, float]:
        connection = await asyncpg.connect(
            self._database_url, timeout=WAIT_S, server_settings={"search_path": "swarmsync"}
        )
        try:
            async with asyncio.timeout(TAKE_OVER_S):
                while (term := await connection.fetchval("SELECT term FROM engine_epoch")) <= after:  # noqa: ASYNC110 another process writes it
                    await asyncio.sleep(LOOK_S)
        finally:
            await connection.close()
        return term, time.monotonic()
