"""One-way bytes between two processes: our ring beside what Python offers, in one run and all batched alike.

A record has 128 bytes. A batch of 1, 64 or 512 records is one prepared message for everybody; the writer sends it as
fast as it can, the reader copies it out, and nobody parses the records: this compares transports. Ours also checks a
hash of every frame, which none of the others does. Rounds of all transports alternate, and the median counts, since
the machine's speed drifts. Latency: one record every half millisecond towards a reader that sleeps, from the writer's
clock to the reader's. "reader spins" shows what waiting costs; the engine sleeps.
"""

import os
import signal
import statistics
import struct
import time
from collections.abc import Callable
from typing import Any, Final

from bench.plots import Chart
from bench.results import Say, spread
from bench.transports import Transport, transports

RECORD_BYTES: Final = 128
BATCHES: Final = (1, 64, 512)
_STAMP: Final = struct.Struct("<Q")
_GAP_S: Final = 0.000_5
#: Quick or not: seconds of one round, rounds, samples of latency.
_ROUNDS: Final = {True: (0.15, 1, 200), False: (0.4, 5, 3_000)}


def measure(*, quick: bool, say: Say) -> dict[str, Any]:
    seconds, rounds, samples = _ROUNDS[quick]
    kinds = transports()
    rates: dict[str, dict[str, Any]] = {}
    for batch in BATCHES:
        seen: dict[str, list[float]] = {name: [] for name in kinds}
        for number in range(rounds):
            say(f"batch {batch}, round {number + 1} of {rounds}")
            for name, make in kinds.items():
                seen[name].append(rate(make(), batch, seconds))
        medians = {name: statistics.median(values) for name, values in seen.items()}
        rates[f"batch {batch}"] = {
            "records_per_s": {name: round(value) for name, value in medians.items()},
            "spread": {name: [round(min(values)), round(max(values))] for name, values in seen.items()},
            "ring_to": {
                name: round(medians["ring"] / value, 2)
                for name, value in medians.items()
                if not name.startswith("ring")
            },
        }
    latency = {}
    for name, make in kinds.items():
        say(f"one-way latency of {name}")
        latency[name] = spread(one_way_us(make(), samples), 1)
    return {"unit": "records/s", "record_bytes": RECORD_BYTES, **rates, "one_way_us": latency}


def rate(transport: Transport, batch: int, seconds: float) -> float:
    """Return records/s of one writer that never stops, counted from its first message on."""
    payload = bytes(RECORD_BYTES * batch)

    def write() -> None:
        while True:
            transport.put(payload)

    writer = _fork(write)
    try:
        transport.take()
        messages = 0
        began = time.perf_counter()
        while (now := time.perf_counter()) - began < seconds:
            messages += len(transport.take())
    finally:
        _end(writer)
        transport.close()
    return messages * batch / (now - began)


def one_way_us(transport: Transport, samples: int) -> list[float]:
    """Return how long single records took, in microseconds."""
    rest = bytes(RECORD_BYTES - _STAMP.size)

    def write() -> None:
        while True:
            transport.put(_STAMP.pack(time.perf_counter_ns()) + rest)
            time.sleep(_GAP_S)

    writer = _fork(write)
    took: list[float] = []
    try:
        while len(took) < samples:
            took += [(time.perf_counter_ns() - _STAMP.unpack_from(one)[0]) / 1_000 for one in transport.take()]
    finally:
        _end(writer)
        transport.close()
    return took[samples // 10 :]


def _fork(body: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        parent = os.getppid()
        try:
            if parent != 1:
                body()
        finally:
            os._exit(1)
    return pid


def _end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def charts(figures: dict[str, Any]) -> list[Chart]:
    names = list(figures["batch 1"]["records_per_s"])
    return [
        Chart(
            "Records of 128 bytes a second, one writer, one reader",
            "records/s",
            {name: [(batch, figures[batch]["records_per_s"][name]) for batch in _batches(figures)] for name in names},
            logarithmic=True,
        ),
        Chart(
            "One-way latency of a lone record",
            "us",
            {part: [(name, figures["one_way_us"][name][part]) for name in names] for part in ("p50", "p99")},
        ),
    ]


def _batches(figures: dict[str, Any]) -> list[str]:
    return [key for key in figures if key.startswith("batch ")]
