"""Machines without a key ask to be workers; keys that were revoked are taken out of NATS.

Only on the NATS that Core runs itself. On a foreign one the operator gives workers their logins.
"""

import base64
from collections.abc import Callable
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from nats.aio.msg import Msg

from swarmsync.bus import Bus
from swarmsync.errors import NotAllowed, Unavailable
from swarmsync.nats_config import NatsConfig
from swarmsync.protocol import codec, subjects
from swarmsync.protocol.enrolment import statement
from swarmsync.protocol.messages import Enroll, Enrolled, Refusal
from swarmsync.protocol.subjects import WORKER_NAME
from swarmsync.store import worker_keys
from swarmsync.store.pool import Store

ENROLLING_MAX = 256
_decode = codec.decoder_of(Enroll)


class Enrolment:
    """`config` is None on a foreign NATS: then nothing is ever enrolled here."""

    def __init__(self, store: Store, config: NatsConfig | None, journal: Callable[..., Any]) -> None:
        self._store, self._config, self._journal = store, config, journal
        self._keys: dict[str, str] = {}

    def knows(self, name: str) -> bool:
        """Tell whether NATS itself vouches for this worker: only its key may use its subjects."""
        return name in self._keys

    async def refresh(self) -> None:
        """Bring NATS to the keys in force. A server that was told them already is left alone."""
        if self._config is None:
            return
        keys, told = await worker_keys.live_keys(self._store), self._config.known_keys()
        self._keys = keys
        if keys != told:  # being told disturbs all who are connected
            self._config.tell(keys)
            for name in sorted(told.keys() - keys.keys()):
                self._journal("warning", f"worker {name} has no key any more and was cut off")

    async def listen(self, bus: Bus) -> None:
        """Bring NATS to the keys in force, and answer who asks: one after the other, their transactions decide."""
        await self.refresh()

        async def on_enroll(message: Msg) -> None:
            try:
                answer = await self.answer(_decode(message.data))
                await bus.publish(message.reply, codec.encode(answer))
            except codec.DecodeError:
                self._journal("warning", "a machine asked to be enrolled in words that are none")
            except Unavailable:
                return  # it asks again

        await bus.subscribe(subjects.ENROLL, on_enroll, pending_max=ENROLLING_MAX)

    async def answer(self, word: Enroll) -> Enrolled | Refusal:
        """Enroll, or say why not."""
        if self._config is None:
            return Refusal("this Core does not run its own NATS: its operator gives workers their logins")
        if not WORKER_NAME.fullmatch(word.name):
            return Refusal("a worker's name has letters, digits, - and _, 63 at most")
        if not proves(word):
            return Refusal("the signature does not fit the key")
        try:
            await worker_keys.enroll(self._store, word.token, word.name, word.public_key)
        except NotAllowed as refusal:
            self._journal("warning", f"a machine may not become the worker {word.name}: {refusal}")
            return Refusal(str(refusal))
        await self.refresh()
        self._journal("info", f"worker {word.name} was enrolled")
        return Enrolled(word.name)


def proves(word: Enroll) -> bool:
    """Tell whether the sender has the private key (NATS nkeys: base32 of a prefix, 32 bytes of Ed25519, a CRC)."""
    try:
        raw = base64.b32decode(word.public_key + "=" * (-len(word.public_key) % 8))
        Ed25519PublicKey.from_public_bytes(raw[1:33]).verify(
            word.signature, statement(word.token, word.name, word.public_key)
        )
    except (InvalidSignature, ValueError):
        return False
    return True
