"""What a machine signs to become a worker, the same for the one that signs and the one that verifies."""

from hashlib import sha256
from typing import Final

PURPOSE: Final = "swarmsync-worker-enroll-v1"


def statement(token: str, name: str, public_key: str) -> bytes:
    """Return the bytes to sign: no other message of this key can be taken for them."""
    return "\n".join((PURPOSE, sha256(token.encode()).hexdigest(), name, public_key)).encode()
