"""Values sealed at rest: PostgreSQL holds what only this Core's keys open, and the keys are never in PostgreSQL.

A key ring is a text: one key (32 bytes in base64) a line, or parted by commas. The first key seals, all of them open.
So a key is rotated by putting a new one before it, and may go once nothing is sealed with it any more.

A sealed value is one `bytes`: version, key id (8), nonce (12), AES-256-GCM's ciphertext and tag. It is bound to a
`purpose`, say `secret:USER:NAME`: moved to another row it does not open.
"""

import base64
import binascii
import os
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from swarmsync.errors import ConfigError, SwarmError

KEY_BYTES: Final = 32
KEYS_MAX: Final = 64
_VERSION: Final = b"\x01"
_ID_BYTES: Final = 8
_NONCE_BYTES: Final = 12
_HEAD_BYTES: Final = len(_VERSION) + _ID_BYTES + _NONCE_BYTES


class SealBroken(SwarmError):
    """A sealed value does not open: its key is not on the ring, or it was changed or moved. Says nothing about it."""


class Sealer:
    """A ring of keys. Its `repr` shows key ids only."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        """Take keys of 32 bytes, the sealing one first. Raises ConfigError."""
        ring = list(dict.fromkeys(keys))
        if not 0 < len(ring) <= KEYS_MAX or any(len(key) != KEY_BYTES for key in ring):
            raise ConfigError(f"a seal key is {KEY_BYTES} bytes in base64, and a ring has 1 to {KEYS_MAX} of them")
        self._ciphers = {key_id_of(key): AESGCM(key) for key in ring}
        self._first = key_id_of(ring[0])

    @classmethod
    def of(cls, ring: str) -> "Sealer":
        """Read a ring's text. Raises ConfigError, which never quotes it."""
        try:
            return cls(base64.b64decode(line, validate=True) for line in ring.replace(",", "\n").split())
        except (binascii.Error, ValueError):
            raise ConfigError("a seal key is not base64") from None

    def __repr__(self) -> str:
        return f"Sealer({', '.join(key_id.hex() for key_id in self._ciphers)})"

    @property
    def key_ids(self) -> frozenset[str]:
        """The ids of all keys, in hexadecimal."""
        return frozenset(key_id.hex() for key_id in self._ciphers)

    @property
    def key_id(self) -> bytes:
        """The id of the key that seals."""
        return self._first

    def seal(self, value: bytes, purpose: str) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        head = _VERSION + self._first + nonce
        return head + self._ciphers[self._first].encrypt(nonce, value, head + purpose.encode())

    def unseal(self, sealed: bytes, purpose: str) -> bytes:
        """Return the value. Raises SealBroken."""
        head = sealed[:_HEAD_BYTES]
        cipher = self._ciphers.get(sealed_by(sealed))
        if cipher is None or not sealed.startswith(_VERSION):
            raise SealBroken("a value was sealed with a key that this Core does not have")
        try:
            return cipher.decrypt(head[-_NONCE_BYTES:], sealed[_HEAD_BYTES:], head + purpose.encode())
        except (InvalidTag, ValueError):
            raise SealBroken("a sealed value was changed, or belongs elsewhere") from None


def key_id_of(key: bytes) -> bytes:
    return blake2b(key, digest_size=_ID_BYTES, person=b"swarmsync-seal").digest()


def sealed_by(sealed: bytes) -> bytes:
    """Return the id of the key that sealed this."""
    return sealed[len(_VERSION) : len(_VERSION) + _ID_BYTES]


def new_ring() -> str:
    """Return the text of a ring with one new key."""
    return base64.b64encode(os.urandom(KEY_BYTES)).decode()


def load_ring(path: Path) -> str:
    """Return the ring in this file; made at first use, mode 0600. Raises ConfigError."""
    try:
        if not path.exists():
            fresh = path.with_suffix(".new")
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(new_ring() + "\n")
                file.flush()
                os.fsync(file.fileno())
            fresh.rename(path)
        return path.read_text()
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(f"the seal key {path} cannot be read: {problem}") from None
