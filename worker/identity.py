"""A worker's identity: a key that it made itself, whose private half never leaves this machine.

The first time, a join token lets Core bind the key to the worker's name; from then on NATS lets whoever has the key use
this worker's subjects, and nobody else. The key lies in the worker's state directory, mode 0600.
"""

import asyncio
import json
import os
from hashlib import blake2b
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import msgspec
import nkeys
import structlog
from msgspec import Struct

from swarmsync.bus import Bus
from swarmsync.errors import ConfigError, NotAllowed, Unavailable
from swarmsync.protocol import codec, subjects
from swarmsync.protocol.enrolment import statement
from swarmsync.protocol.messages import Enroll, Enrolled, Refusal

JOIN: Final = "join"
ANSWER_S: Final = 5.0
TRIES: Final = 120
PAUSE_S: Final = 0.5
#: Who was just enrolled is refused until NATS has read its file again: so often it tries, with so long a pause.
NEW_KEY_TRIES: Final = 100
NEW_KEY_PAUSE_S: Final = 0.1

log = structlog.get_logger()


class NotAWorkerError(Exception):
    """Core does not take this machine; somebody must register it. No fault of the settings: others go on."""


class Identity(Struct, frozen=True):
    name: str
    seed: str
    enrolled: bool = False
    owner: str = ""  # whose containers are ours: chosen once, so that a later token changes nothing

    def __repr__(self) -> str:
        return f"Identity({self.name!r}, ***)"

    @property
    def public_key(self) -> str:
        pair = nkeys.from_seed(bytearray(self.seed, "ascii"))
        return pair.public_key.decode() if isinstance(pair.public_key, bytes) else str(pair.public_key)

    def sign(self, content: bytes) -> bytes:
        return bytes(nkeys.from_seed(bytearray(self.seed, "ascii")).sign(content))


async def connect(nats_url: str, name: str, state_dir: Path, token: str) -> Bus:
    """Connect as the worker `name`, enrolling it first where need be. Raises NotAWorkerError when Core refuses.

    A URL with a login other than `join` is one that an operator gave this worker: it is used as it is.
    """
    if urlsplit(nats_url).username != JOIN:
        return await Bus.connect(nats_url, "worker")
    path = state_dir / f"identity-{name}.json"
    identity = _load(path, name)
    if identity.enrolled:
        try:
            return await _with_key(nats_url, identity)
        except NotAllowed:
            log.warning("Core does not know this worker's key any more", worker=name)
            identity = _fresh(name, identity.owner)
    await _enroll(nats_url, identity, token)
    owner = identity.owner or blake2b(token.encode(), digest_size=16).hexdigest()
    _save(path, msgspec.structs.replace(identity, enrolled=True, owner=owner))
    for _ in range(NEW_KEY_TRIES):
        try:
            return await _with_key(nats_url, identity)
        except NotAllowed:
            await asyncio.sleep(NEW_KEY_PAUSE_S)
    return await _with_key(nats_url, identity)


async def _with_key(nats_url: str, identity: Identity) -> Bus:
    parts = urlsplit(nats_url)
    address = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return await Bus.connect(address, "worker", inbox=subjects.inbox(identity.name), seed=identity.seed)


async def _enroll(nats_url: str, identity: Identity, token: str) -> None:
    """Ask until Core answers. Raises NotAWorkerError when it refuses."""
    if not token:
        raise NotAWorkerError("this machine has no key in force; make a join token: consumer worker register")
    word = Enroll(
        token, identity.name, identity.public_key, identity.sign(statement(token, identity.name, identity.public_key))
    )
    try:
        bus = await Bus.connect(nats_url, "join", inbox=subjects.inbox(JOIN))
        try:
            for _ in range(TRIES):
                try:
                    payload = await bus.request(subjects.ENROLL, codec.encode(word), ANSWER_S)
                except Unavailable:
                    await asyncio.sleep(PAUSE_S)
                    continue
                match codec.decode_to_worker(payload):
                    case Enrolled():
                        return
                    case Refusal(message):
                        raise NotAWorkerError(f"Core does not take this machine as a worker: {message}")
            raise NotAWorkerError("Core does not answer; is it up?")
        finally:
            await bus.close()
    except NotAllowed as problem:
        raise ConfigError(f"{problem}: the password in --nats is not Core's") from None


def owner(state_dir: Path, name: str) -> str:
    """Return whose containers are this worker's; empty where it was not enrolled with a key."""
    path = state_dir / f"identity-{name}.json"
    return _load(path, name).owner if path.exists() else ""


def _fresh(name: str, owned_by: str = "") -> Identity:
    seed = bytes(nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)).decode()
    return Identity(name, seed, owner=owned_by)


def _load(path: Path, name: str) -> Identity:
    """Return the stored identity, or a new one that is stored at once: a repeated question names the same key."""
    try:
        mode = path.stat().st_mode
        if mode & 0o077:
            raise ConfigError(f"{path} can be read by others; make it yours alone: chmod 600 {path}")
        return msgspec.json.decode(path.read_bytes(), type=Identity)
    except FileNotFoundError:
        identity = _fresh(name)
        _save(path, identity)
        return identity
    except msgspec.DecodeError as problem:
        raise ConfigError(f"{path} cannot be read ({problem}); remove it and register the worker again") from None


def _save(path: Path, identity: Identity) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(msgspec.to_builtins(identity), file)
    fresh.rename(path)
