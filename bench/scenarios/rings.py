"""One-way messages of 128 bytes between two processes: our ring beside multiprocessing's pipe, at batch 1, 64 and 512.

The batch is prepared bytes, as the engine sends it; the reader copies each batch out.
"""

import multiprocessing
import os
import time
from collections.abc import Callable
from typing import Any

from engine.shared_resource.ring import Ring
from engine.shared_resource.segment import Segment

RECORD = bytes(128)


def measure(*, quick: bool = False) -> dict[str, Any]:
    seconds = 0.3 if quick else 1.5
    result: dict[str, Any] = {"unit": "records/s"}
    for batch in (1, 64, 512):
        ring, pipe = _ring(batch, seconds), _pipe(batch, seconds)
        result[f"batch {batch}"] = {"ring": round(ring), "pipe": round(pipe), "ratio": round(ring / pipe, 2)}
    return result


def _ring(batch: int, seconds: float) -> float:
    segment = Segment.create(f"bench_{os.getpid()}", f"ring{batch}", Ring.segment_bytes(8 << 20))
    ring = Ring.create(segment, 8 << 20)
    try:
        payload = RECORD * batch
        return _run(lambda: ring.put_frame(payload, batch), lambda: len(ring.take_frames(64)), batch, seconds)
    finally:
        segment.unlink()


def _pipe(batch: int, seconds: float) -> float:
    reader, writer = multiprocessing.Pipe(duplex=False)
    payload = RECORD * batch

    def put() -> bool:
        writer.send_bytes(payload)
        return True

    def take() -> int:
        if not reader.poll(0.05):
            return 0
        reader.recv_bytes()
        return 1

    return _run(put, take, batch, seconds)


def _run(put: Callable[[], bool], take: Callable[[], int], batch: int, seconds: float) -> float:
    """Fork a writer; count what arrives here within `seconds`."""
    pid = os.fork()
    if pid == 0:
        end = time.monotonic() + seconds + 0.2
        while time.monotonic() < end:
            for _ in range(64):
                if not put():
                    time.sleep(0)
        os._exit(0)
    began = time.monotonic()
    frames = 0
    while (now := time.monotonic()) - began < seconds:
        frames += take()
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        take()
    return frames * batch / (now - began)
