"""The header `Idempotency-Key`: the same key and body give the first answer again, another body a conflict."""

from hashlib import sha256
from typing import Final

import msgspec

from api.endpoint import Call
from swarmsync.errors import FieldError, RequestError
from swarmsync.store import answers
from swarmsync.store.submit import Answer, Key

KEY_MAX: Final = 255


class HeaderError(RequestError):
    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.errors = [FieldError(name, message)]


def key_of(call: Call, body: bytes) -> Key | None:
    """Return the request's key, still without its answer. Raises HeaderError."""
    text = call.request.get_header("Idempotency-Key")
    if text is None:
        return None
    if not 1 <= len(text) <= KEY_MAX or not text.isascii() or not text.isprintable():
        raise HeaderError("Idempotency-Key", f"must be 1 to {KEY_MAX} printable ASCII characters")
    target = f"{call.request.method} {call.request.path}\n".encode()
    return Key(text, sha256(target + body).digest(), call.response.status_code, b"")


async def first_answer(call: Call, key: Key | None) -> bytes | None:
    """Give the answer that this key got first, if it got one. Raises Conflict where it came with another request."""
    first = None if key is None else await answers.find(call.services.store, call.caller, key.text, key.body_hash)
    return None if first is None else again(call, first)


def again(call: Call, first: Answer) -> bytes:
    call.response.status = first.status
    call.response.set_header("Idempotent-Replay", "true")
    return first.response


def with_answer(key: Key | None, answer: bytes) -> Key | None:
    return None if key is None else msgspec.structs.replace(key, response=answer)
