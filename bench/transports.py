"""Ways to move bytes from one process to another, behind one small protocol, for the `rings` scenario.

Each is used as its documentation proposes for one writer and one reader. What a peer would do with records by itself
(pickling, copying) it does; nobody parses the records. Optional peers need `pip install swarmsync[peers]`.
"""

import importlib
import importlib.util
import multiprocessing
import os
import select
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from engine.shared_resource.doorbell import Doorbell, RingWriter
from engine.shared_resource.ring import Ring
from engine.shared_resource.segment import Segment

#: For everybody who lets one choose: fits into the processor's caches, and has room for many batches.
RING_BYTES: Final = 4 << 20
QUEUE_MESSAGES: Final = 20_000
FULL_S: Final = 0.000_02


class Transport(ABC):
    """Made before the fork. The child calls `put`, the parent `take`; both block, as a program would."""

    @abstractmethod
    def put(self, payload: bytes) -> None:
        """Send one message, waiting while there is no room."""

    @abstractmethod
    def take(self) -> list[bytes]:
        """Wait for at least one message."""

    def close(self) -> None:  # noqa: B027 most leave that to the garbage collector
        """Give back what outlives the process."""


class OurRing(Transport):
    """The engine's ring; the reader sleeps on its doorbell, or spins."""

    def __init__(self, *, spin: bool = False) -> None:
        self._segment = Segment.create(f"bench_{os.getpid()}", "ring", Ring.segment_bytes(RING_BYTES))
        self._ring = Ring.create(self._segment, RING_BYTES)
        self._bell = Doorbell.create()
        self._writer = RingWriter(self._ring, self._bell)
        self._spin = spin

    def put(self, payload: bytes) -> None:
        while not self._writer.put_frame(payload):
            time.sleep(FULL_S)  # not a spin: on a busy machine the reader needs the processor

    def take(self) -> list[bytes]:
        ring = self._ring
        while not (messages := ring.take_frames(256)):
            if self._spin:
                continue
            ring.set_reader_sleeps(True)
            if not ring.has_frames():
                select.select([self._bell], [], [], 0.05)
            ring.set_reader_sleeps(False)
        return messages

    def close(self) -> None:
        self._bell.close()
        self._segment.unlink()


class Pipe(Transport):
    def __init__(self) -> None:
        self._reader, self._writer = multiprocessing.Pipe(duplex=False)

    def put(self, payload: bytes) -> None:
        self._writer.send_bytes(payload)

    def take(self) -> list[bytes]:
        return [self._reader.recv_bytes()]

    def close(self) -> None:
        self._reader.close()
        self._writer.close()


class StandardQueue(Transport):
    def __init__(self) -> None:
        self._queue: Any = multiprocessing.Queue(QUEUE_MESSAGES)

    def put(self, payload: bytes) -> None:
        self._queue.put(payload)

    def take(self) -> list[bytes]:
        return [self._queue.get()]

    def close(self) -> None:
        self._queue.close()


class SimpleQueue(Transport):
    def __init__(self) -> None:
        self._queue: Any = multiprocessing.SimpleQueue()

    def put(self, payload: bytes) -> None:
        self._queue.put(payload)

    def take(self) -> list[bytes]:
        return [self._queue.get()]

    def close(self) -> None:
        self._queue.close()


class ZeroMq(Transport):
    """PUSH and PULL over ipc; each side makes its context after the fork."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="swarmsync-bench-")
        self._address = f"ipc://{self._directory.name}/zmq"
        self._socket: Any = None

    def _open(self, *, writes: bool) -> Any:
        if self._socket is None:
            zmq: Any = importlib.import_module("zmq")
            self._socket = zmq.Context.instance().socket(zmq.PUSH if writes else zmq.PULL)
            self._socket.set_hwm(QUEUE_MESSAGES)
            self._socket.linger = 0
            (self._socket.connect if writes else self._socket.bind)(self._address)
        return self._socket

    def put(self, payload: bytes) -> None:
        self._open(writes=True).send(payload)

    def take(self) -> list[bytes]:
        return [self._open(writes=False).recv()]

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._directory.cleanup()


class FasterFifo(Transport):
    """A queue in shared memory with a lock; bytes go through unpickled, and many are taken at once."""

    def __init__(self) -> None:
        faster_fifo: Any = importlib.import_module("faster_fifo")
        self._full: Any = faster_fifo.Full
        self._empty: Any = faster_fifo.Empty
        self._queue: Any = faster_fifo.Queue(RING_BYTES, loads=bytes, dumps=bytes)

    def put(self, payload: bytes) -> None:
        while True:
            try:
                self._queue.put(payload, timeout=10)
            except self._full:
                continue
            return

    def take(self) -> list[bytes]:
        while True:
            try:
                messages: list[bytes] = self._queue.get_many(block=True, timeout=10, max_messages_to_get=1_000)
            except self._empty:
                continue
            return messages


def transports() -> dict[str, Callable[[], Transport]]:
    """Return what is installed, ours first."""
    found: dict[str, Callable[[], Transport]] = {
        "ring": OurRing,
        "ring, reader spins": partial(OurRing, spin=True),
        "Pipe": Pipe,
        "SimpleQueue": SimpleQueue,
        "Queue": StandardQueue,
    }
    if importlib.util.find_spec("zmq") is not None:
        found["pyzmq ipc"] = ZeroMq
    if importlib.util.find_spec("faster_fifo") is not None:
        found["faster-fifo"] = FasterFifo
    return found
