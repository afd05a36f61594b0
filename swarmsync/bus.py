"""NATS behind four verbs. Hints, orders and reports travel here; nothing that is lost here is lost for good.

The client's defaults give up after 60 tries and notice a half-open link after minutes; these settings never give up and
notice within 20 s (measured, docs/decisions/0005). Dropped messages of a slow subscriber are counted, never silent.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from swarmsync.errors import ConfigError, NotAllowed, Unavailable

Handler = Callable[[Msg], Awaitable[None]]
FIRST_TIMEOUT_S = 5.0
RETRY_S = 0.2


class Bus:
    """One connection. `publish` and `request` raise Unavailable while NATS is away; subscriptions come back alone."""

    def __init__(self) -> None:
        self._client = Client()
        self.errors = 0
        self.last_error = ""
        self.on_reconnect: Callable[[], None] | None = None

    @classmethod
    async def connect(
        cls,
        url: str,
        name: str,
        *,
        wait: bool = True,
        inbox: str = "_INBOX",
        seed: str | None = None,
        echo: bool = True,
    ) -> "Bus":
        """Connect. With `wait` this goes on trying for ever; else Unavailable is raised at the first failure.

        `inbox` is the prefix under which answers come; `seed` is a private key (NATS nkeys) in place of a password;
        without `echo` it does not hear what it says itself.
        Raises NotAllowed when the server refuses the login, at once where `wait` is off or a key was given.
        """
        while True:
            try:
                return await cls._connect(url, name, wait=wait, inbox=inbox, seed=seed, echo=echo)
            except Unavailable:
                if not wait:
                    raise
                await asyncio.sleep(RETRY_S)

    @classmethod
    async def _connect(cls, url: str, name: str, *, wait: bool, inbox: str, seed: str | None, echo: bool) -> "Bus":
        bus = cls()
        address, trust = _trusting(url)
        refused = asyncio.Event()

        async def error(problem: Exception) -> None:
            bus.errors += 1
            bus.last_error = f"{type(problem).__name__}: {problem}"
            if "authorization violation" in str(problem).lower():
                refused.set()

        async def reconnected() -> None:
            if bus.on_reconnect is not None:
                bus.on_reconnect()

        connecting = asyncio.ensure_future(
            nats.connect(
                address,
                tls=trust,
                name=name,
                allow_reconnect=True,
                max_reconnect_attempts=-1,
                reconnect_time_wait=0.2,
                connect_timeout=2,
                ping_interval=5,
                max_outstanding_pings=3,
                pending_size=16 << 20,
                flusher_queue_size=4096,
                inbox_prefix=inbox,
                no_echo=not echo,
                nkeys_seed_str=seed,
                error_cb=error,
                reconnected_cb=reconnected,
            )
        )
        refusal = asyncio.ensure_future(refused.wait())
        sternly = seed is not None or not wait  # the client itself goes on for ever, also with a login that is refused
        try:
            await asyncio.wait(
                {connecting, refusal} if sternly else {connecting},
                timeout=None if wait else FIRST_TIMEOUT_S,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if connecting.done():
                bus._client = connecting.result()
                return bus
            if refused.is_set():
                raise NotAllowed("NATS refuses this login")
            raise Unavailable(f"NATS does not answer ({bus.last_error or 'no connection'})")
        except (NatsError, OSError, TimeoutError) as problem:
            raise Unavailable(f"NATS does not answer ({type(problem).__name__})") from problem
        finally:
            refusal.cancel()
            connecting.cancel()

    @property
    def connected(self) -> bool:
        return self._client.is_connected

    async def publish(self, subject: str, payload: bytes, reply: str = "") -> None:
        try:
            await self._client.publish(subject, payload, reply=reply)
        except (NatsError, OSError) as problem:
            raise Unavailable(f"NATS does not take messages ({type(problem).__name__})") from problem

    async def request(self, subject: str, payload: bytes, timeout_s: float) -> bytes:
        """Publish and wait for one reply. Raises Unavailable after `timeout_s`, or at once when nobody listens."""
        try:
            reply = await self._client.request(subject, payload, timeout=timeout_s)
        except (NatsError, OSError, TimeoutError) as problem:
            raise Unavailable(f"no answer on {subject} ({type(problem).__name__})") from problem
        data: bytes = reply.data
        return data

    async def subscribe(self, subject: str, handler: Handler, *, pending_max: int = 65_536) -> Any:
        """Call `handler` for each message, one after the other, in order."""
        return await self._client.subscribe(
            subject, cb=handler, pending_msgs_limit=pending_max, pending_bytes_limit=256 << 20
        )

    async def flush(self) -> None:
        """Return when the server has done what was asked of it before. Raises Unavailable."""
        await asyncio.sleep(0)  # the client writes its PING at once, and all else in the next turn
        try:
            await self._client.flush(timeout=2)
        except (NatsError, OSError, TimeoutError) as problem:
            raise Unavailable(f"NATS does not answer ({type(problem).__name__})") from problem

    async def close(self) -> None:
        try:
            await asyncio.wait_for(self._client.close(), 2)
        except (NatsError, OSError, TimeoutError, RuntimeError):
            return  # RuntimeError is what uvloop says where the server has cut us off


def _trusting(urls: str) -> tuple[list[str], ssl.SSLContext | None]:
    """Split URLs at their commas, and `?ca=FILE` from them: whoever is there must show a certificate of that authority.

    Raises ConfigError.
    """
    contexts: list[ssl.SSLContext | None] = []
    addresses: list[str] = []
    for url in filter(None, map(str.strip, urls.split(","))):
        address, context = _one_trusting(url)
        addresses.append(address)
        contexts.append(context)
    return addresses, next(filter(None, contexts), None)


def _one_trusting(url: str) -> tuple[str, ssl.SSLContext | None]:
    parts = urlsplit(url)
    authority = parse_qs(parts.query).get("ca")
    if authority is None:
        return url, None
    try:
        context = ssl.create_default_context(cafile=authority[0])
    except OSError as problem:
        raise ConfigError(f"cannot read the authority's certificate {authority[0]}: {problem}") from None
    return urlunsplit(parts._replace(query="")), context
