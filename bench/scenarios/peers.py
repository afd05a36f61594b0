"""SwarmSync and its peers at the same work, side by side in one run: jobs that do nothing, and one job alone.

Ours: a batch of jobs through HTTP, placed on simulated workers, to the verdict in PostgreSQL (three durable states a
job); alone: from the request until the client, which waits, has the verdict. What the peers do is in their column;
only pgqueuer and procrastinate are durable as ours is, and none of the quick ones places anything. Our rounds stand
before and after each peer's, and it is compared with these, so that the machine's drift is in both. Some take several
turns: single ones differ by a third here.
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from bench import peers
from bench.apart import apart
from bench.harness import core
from bench.peer_programs import Measured, Peer
from bench.plots import Chart
from bench.results import Say, spread
from bench.scenarios import throughput
from swarmsync.client import Client

#: Quick or not: share of each peer's jobs, single jobs, our jobs.
#: A run shall take some seconds, so that its first and last half second count little.
_SIZES: Final = {True: (0.1, 5, 6_000), False: (1.0, 60, 60_000)}
_WARM: Final = 1_000
OURS: Final = "SwarmSync"


def measure(*, quick: bool, say: Say) -> dict[str, Any]:
    share, singles, jobs = _SIZES[quick]
    ours: list[float] = []
    cpu: list[float] = []
    single_ms: list[float] = []
    systems: dict[str, Any] = {}

    def own_round() -> None:
        with core("simulated", config=throughput.CONFIG) as there:
            throughput.run(there, _WARM, say)
            single_ms.extend(alone_ms(there.client(), singles))  # before PostgreSQL tidies up after a flood
            figures = throughput.run(there, jobs, say)
        ours.append(figures["jobs_per_s"])
        cpu.append(figures["cpu_us_per_job"])

    own_round()
    for name, peer in peers.installed().items():
        say(f"{name}: {peer.what}")
        count = max(100, round(peer.jobs * share))
        rates: list[float] = []
        milliseconds: list[float] = []
        first = len(ours) - 1
        failed = ""
        for _ in range(1 if quick else peer.turns):
            try:
                took_s, alone_s = _turn(peer, count, singles)
            except Exception as problem:  # noqa: BLE001 one peer that does not run must not cost the others
                failed = str(problem).strip().splitlines()[-1]
                say(f"{name} failed: {failed}")
                break
            rates.append(round(count / took_s, 1))
            milliseconds += [value * 1_000 for value in alone_s]
            own_round()
        if not rates:
            systems[name] = {"what": peer.what, "failed": failed}
            continue
        rate = statistics.median(rates)
        systems[name] = {
            "what": peer.what,
            "jobs": count,
            "jobs_per_s": rate,
            "rounds": rates,
            "alone_ms": spread(milliseconds),
            "ours_to_it": round(statistics.median(ours[first:]) / rate, 2),
        }
    own = {
        "what": "containers on workers, durable; placed, simulated runtime",
        "jobs": jobs,
        "jobs_per_s": round(statistics.median(ours)),
        "alone_ms": spread(single_ms),
        "cpu_us_per_job": round(statistics.median(cpu), 1),
    }
    return {"unit": "jobs/s", "rounds": ours, "systems": {OURS: own, **systems}}


def _turn(peer: Peer, jobs: int, singles: int) -> Measured:
    with tempfile.TemporaryDirectory(prefix="swarmsync-bench-", ignore_cleanup_errors=True) as directory:
        return apart(peer.measure, jobs, singles, Path(directory))


def alone_ms(client: Client, singles: int) -> list[float]:
    """Run so many jobs one after the other; return how long each took until the client had the verdict."""
    took = []
    for _ in range(singles + 1):
        began = time.perf_counter()
        job = client.submit(throughput.SPEC)
        client.wait(job["id"], timeout_s=60)
        took.append((time.perf_counter() - began) * 1_000)
    return took[1:]


def charts(figures: dict[str, Any]) -> list[Chart]:
    ran = {name: figure for name, figure in figures["systems"].items() if "jobs_per_s" in figure}
    return [
        Chart(
            "Jobs that do nothing, submit to end",
            "jobs/s",
            {"all at once": [(name, figure["jobs_per_s"]) for name, figure in ran.items()]},
            logarithmic=True,
        ),
        Chart(
            "One job alone, submit to end",
            "ms",
            {part: [(name, figure["alone_ms"][part]) for name, figure in ran.items()] for part in ("p50", "p99")},
            logarithmic=True,
        ),
    ]
