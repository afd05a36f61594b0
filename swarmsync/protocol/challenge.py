"""What a key signs to log in. The same bytes are made by both sides; nothing else of ours is signed in this form."""

from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

DOMAIN: Final = "swarmsync-cli-auth-v1"
#: Points of small order, the sign bit taken off: whoever registers one of these could sign without any secret.
_SMALL_ORDER: Final = frozenset(
    bytes.fromhex(point)
    for point in (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    )
)


def key_id(public_key: bytes) -> str:
    """Return the name of an Ed25519 key: half of the SHA-256 of its 32 bytes."""
    return sha256(public_key).hexdigest()[:32]


def is_weak(public_key: bytes) -> bool:
    """Tell whether these 32 bytes are no key that stands for a secret."""
    return len(public_key) != 32 or public_key[:-1] + bytes((public_key[-1] & 0x7F,)) in _SMALL_ORDER


def audience(url: str) -> str:
    """Return the address of a Core in one way of writing it: scheme, name and port in small letters, nothing else."""
    parts = urlsplit(url.strip())
    try:
        port = parts.port
    except ValueError:
        port = None
    port = port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    return f"{parts.scheme}://{parts.hostname or ''}:{port}"


def message(*, server_id: str, url: str, named_key: str, nonce: str, expires_at: str) -> bytes:
    """Return the bytes to sign: each part as its length in four bytes and itself, so that no two lists read alike."""
    parts = (DOMAIN, server_id, audience(url), named_key, nonce, expires_at)
    encoded = [part.encode() for part in parts]
    return b"".join(len(part).to_bytes(4, "big") + part for part in encoded)
