"""Sends webhooks: makes deliveries from the feed, posts what is due, and stores what came of it; beside the turns.

One loop speaks to PostgreSQL; the posts are its children, some for each webhook. What is on its way when the process
dies is sent again by the next one: at least once, under the same `webhook-id`.
"""

import asyncio
import random
import socket
import time
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final

import aiohttp

from conf.settings import WebhookSettings
from engine.logger.deliveries import Again, Attempt, Delivered, Gone, judge
from engine.service import Every
from swarmsync import ids
from swarmsync.errors import Unavailable
from swarmsync.ids import IdSource
from swarmsync.model import webhooks
from swarmsync.seal import SealBroken, Sealer
from swarmsync.store import deliveries
from swarmsync.store.deliveries import Settled
from swarmsync.store.lists import Row
from swarmsync.store.pool import Store

IN_FLIGHT_MAX: Final = 64
LOOK_S: Final = 0.25
IDLE_S: Final = 1.0
HOUSE_MS: Final = 60_000
ANSWER_BYTES_MAX: Final = 16 << 10
SAID_MAX: Final = 200
USER_AGENT: Final = "SwarmSync-Webhooks/1"
#: Why addresses of the connection that is being made were refused; what tries them tells less.
_REFUSED: ContextVar[list[str]] = ContextVar("refused")


class ForbiddenAddress(OSError):
    """A name resolves to where nothing may be sent."""


class WebhookSink:
    """`tell(level, message, **fields)` writes into the journal."""

    def __init__(self, store: Store, sealer: Sealer, settings: WebhookSettings, tell: Callable[..., None]) -> None:
        self._store = store
        self._sealer = sealer
        self._settings = settings
        self._tell = tell
        self._allowed = webhooks.networks(settings.allow_networks)
        self._sending: dict[int, tuple[int, asyncio.Task[None]]] = {}  # delivery: its webhook, and who sends it
        self._settled: list[Settled] = []
        self._wake = asyncio.Event()
        self._house = Every(HOUSE_MS)
        self._loop: asyncio.Task[None] | None = None
        self._ids: IdSource | None = None
        self._session: aiohttp.ClientSession | None = None

    def start(self) -> None:
        if self._loop is None:
            self._loop = asyncio.create_task(self._run())

    def check(self) -> None:
        """Raise what ended the loop: a bug, which the module does not survive either."""
        if self._loop is not None and self._loop.done():
            self._loop.result()

    async def close(self) -> None:
        children = [self._loop, *(child for _, child in self._sending.values())]
        for child in children:
            if child is not None:
                child.cancel()
        await asyncio.gather(*(child for child in children if child is not None), return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                pause_s = await self.turn()
            except Unavailable:
                pause_s = IDLE_S
            if pause_s:
                try:
                    async with asyncio.timeout(pause_s):
                        await self._wake.wait()
                except TimeoutError:
                    continue

    async def turn(self) -> float:
        """One round; returns how many seconds to wait for the next, unless something ends before."""
        if self._settled:
            await self._settle()
        if self._house():
            self._say_off(await deliveries.keep_house(self._store, self._settings.keep_days))
        if not await deliveries.any_hooks(self._store):
            return IDLE_S
        if self._ids is None:
            number = await self._store.fetchval("SELECT nextval('generator_numbers')")
            self._ids = IdSource(number, lambda: time.time_ns() // 1_000_000)
        more = await deliveries.collect(self._store, self._ids.next)
        room = IN_FLIGHT_MAX - len(self._sending)
        if room > 0:
            each_max = self._settings.concurrent_max
            rows = await deliveries.due(self._store, each_max=each_max, limit=room, sending=[*self._sending])
            busy = Counter(webhook_id for webhook_id, _ in self._sending.values())
            for row in rows:
                if busy[row["webhook_id"]] < each_max:
                    busy[row["webhook_id"]] += 1
                    self._sending[row["id"]] = (row["webhook_id"], asyncio.create_task(self._send(row)))
        return 0.0 if more else LOOK_S

    async def _settle(self) -> None:
        settled = list(self._settled)
        self._say_off(await deliveries.settle(self._store, settled, disable_days=self._settings.disable_days))
        del self._settled[: len(settled)]
        for each in settled:
            self._sending.pop(each.delivery_id, None)

    def _say_off(self, rows: list[Row]) -> None:
        for row in rows:
            self._tell("warning", f"webhook {ids.encode(row['id'])} was switched off: {row['disabled_reason']}")

    async def _send(self, row: Row) -> None:
        attempt = await self._attempt(row)
        verdict = judge(
            attempt,
            tries=row["attempts"] + 1,
            age_s=row["age_s"],
            retry_s=self._settings.retry_hours * 3_600,
            chance=random.random(),  # noqa: S311 spreads retries, guards nothing
        )
        self._settled.append(
            Settled(
                row["id"],
                row["webhook_id"],
                delivered=isinstance(verdict, Delivered),
                again_s=verdict.in_s if isinstance(verdict, Again) else None,
                gone=isinstance(verdict, Gone),
                status=attempt.status or None,
                error=attempt.error,
            )
        )
        self._wake.set()

    async def _attempt(self, row: Row) -> Attempt:
        body = row["body"].encode()
        message_id, at_s = ids.encode(row["id"]), int(time.time())
        try:
            secret = self._sealer.unseal(row["sealed"], webhooks.purpose(row["webhook_id"]))
        except SealBroken as problem:
            return Attempt(0, f"the signing key does not open: {problem}")
        headers = {
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            "webhook-id": message_id,
            "webhook-timestamp": str(at_s),
            "webhook-signature": webhooks.signature(secret, message_id, at_s, body),
        }
        refused: list[str] = []
        _REFUSED.set(refused)
        try:
            # The URL goes out as it was written; redirects are not followed, and no proxy is asked.
            async with self._client().post(row["url"], data=body, headers=headers, allow_redirects=False) as answer:
                said = await answer.content.read(ANSWER_BYTES_MAX)
                error = "" if answer.ok and answer.status < 300 else f"answered {answer.status}: {_line(said)}"
                return Attempt(answer.status, error, answer.headers.get("Retry-After", ""))
        except TimeoutError:
            return Attempt(0, f"no answer within {self._settings.timeout_s} s")
        except (aiohttp.ClientError, OSError, ValueError) as problem:
            return Attempt(0, "; ".join(refused) or str(problem) or type(problem).__name__)

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=IN_FLIGHT_MAX, use_dns_cache=False, socket_factory=self._socket),
                timeout=aiohttp.ClientTimeout(total=self._settings.timeout_s),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session

    def _socket(self, info: Any) -> socket.socket:
        """Make the socket for one resolved address, unless nothing may be sent there."""
        family, kind, protocol, _, address = info
        refused = webhooks.refusal(str(address[0]), self._allowed)
        if refused:
            _REFUSED.get().append(refused)
            raise ForbiddenAddress(refused)
        return socket.socket(family, kind, protocol)


def _line(said: bytes) -> str:
    return " ".join(said.decode("utf-8", "replace").replace("\x00", "").split())[:SAID_MAX]
