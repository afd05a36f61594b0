"""The Harvester's side of questions: from NATS to the Scheduler's ring, or a word that Core is busy."""

import contextlib
from collections.abc import Callable, Sequence

import msgspec
from nats.aio.msg import Msg

from engine.harvester.asks import Asks
from engine.service_channels import ChannelWriter
from swarmsync.bus import Bus
from swarmsync.errors import Unavailable
from swarmsync.protocol import codec, subjects
from swarmsync.protocol.messages import Ask

_decode_ask = codec.decoder_of(Ask)


class Questions:
    """`poke` wakes the turn that will call `pass_on`."""

    def __init__(self, inbox: ChannelWriter, poke: Callable[[], None]) -> None:
        self._inbox = inbox
        self._poke = poke
        self._asks = Asks()
        self._bus: Bus | None = None

    async def listen(self, bus: Bus) -> None:
        self._bus = bus
        await bus.subscribe(subjects.ASK, self._on_ask, pending_max=1_024)

    async def _on_ask(self, message: Msg) -> None:
        try:
            word = _decode_ask(message.data)
        except codec.DecodeError:
            return  # whoever asked falls back on the rows
        if self._asks.arrived(word, message.reply):
            self._poke()
        else:
            await self._refuse([msgspec.structs.replace(word, reply=message.reply)])

    async def pass_on(self, now_ms: int) -> None:
        """Put questions on the ring. They never push out news: what does not fit is refused."""
        if not self._asks:
            return
        asks, refused = self._asks.take(now_ms)
        sent = self._inbox.offer(asks)
        await self._refuse([*asks[sent:], *refused])

    async def _refuse(self, asks: Sequence[Ask]) -> None:
        if self._bus is None:
            return
        with contextlib.suppress(Unavailable):
            for reply, text in self._asks.refused(asks):
                await self._bus.publish(reply, text)
