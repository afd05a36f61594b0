"""How much of the GPUs can be allocated: the protocol of Weng et al. (USENIX ATC'23).

Jobs are drawn in a random order until they ask for 130 % of the workers' GPUs; nothing ends, and what does not fit is
skipped. The ratio is the share of all GPUs that was allocated, in percent. Policies: `default` (fragmentation gradient
descent over the mix of the log itself) and `best-fit`.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bench.joblogs import LoggedJob, LoggedWorker, read_jobs, read_workers
from bench.plots import Chart
from bench.results import Say
from engine.scheduler.packing import WHOLE, Ask, Fragmentation, Left
from swarmsync.errors import RequestError

DEMAND: Final = 1.3


def measure(
    *, file: Path, workers: Path, seeds: int = 10, quick: bool = False, say: Say = lambda _: None
) -> dict[str, Any]:
    jobs, machines = read_jobs(file), read_workers(workers)
    _demand_packable(file, jobs)
    asks = [ask_of(job) for job in jobs]
    if not any(machine.gpus for machine in machines) or not any(ask.devices for ask in asks):
        raise RequestError("there is no GPU in the workers' file, or none asked for in the log")
    ratios, plain = [], []
    mix = typical(asks)
    for seed in range(2 if quick else seeds):
        drawn = draw(asks, sum(machine.gpus for machine in machines), seed)
        ratios.append(round(100 * pack(drawn, machines, Fragmentation(mix)), 3))
        plain.append(round(100 * pack(drawn, machines, None), 3))
        say(f"seed {seed}: {ratios[-1]} %, best fit {plain[-1]} %")
    return {
        "jobs": len(jobs),
        "workers": len(machines),
        "gpus": sum(machine.gpus for machine in machines),
        "allocation_ratio_mean": round(sum(ratios) / len(ratios), 3),
        "per_seed": ratios,
        "best_fit_mean": round(sum(plain) / len(plain), 3),
        "best_fit_per_seed": plain,
    }


def _demand_packable(file: Path, jobs: Sequence[LoggedJob]) -> None:
    """A share is of one device: an ask for one and a half has no meaning in the protocol, and none is made up."""
    mixed = [job.gpus for job in jobs if job.gpus > 1 and round(job.gpus * WHOLE) % WHOLE]
    if mixed:
        raise RequestError(
            f"{file}: {len(mixed):,} of its {len(jobs):,} jobs ask for whole GPUs and a share of one more, "
            f"the first for {mixed[0]:g}; a job may have a share of one GPU, or whole ones"
        )


def ask_of(job: LoggedJob) -> Ask:
    parts = round(job.gpus * WHOLE)
    devices, share = (1, parts) if parts < WHOLE else (parts // WHOLE, WHOLE)
    return Ask(round(job.cpus * 1000), round(job.mem_mb), devices if parts else 0, share if parts else 0)


def typical(asks: Sequence[Ask]) -> list[tuple[float, Ask]]:
    """Return the mix of the log: each ask with its count."""
    return [(float(count), ask) for ask, count in Counter(asks).most_common()]


def draw(asks: Sequence[Ask], gpus: int, seed: int) -> list[Ask]:
    """Shuffle; draw until the demand is reached, again from the whole where the log is too short."""
    chance = random.Random(seed)
    drawn: list[Ask] = []
    wanted = 0
    while True:
        shuffled = list(asks)
        chance.shuffle(shuffled)
        for ask in shuffled:
            if wanted >= DEMAND * gpus * WHOLE:
                return drawn
            drawn.append(ask)
            wanted += ask.devices * ask.share


def pack(drawn: Sequence[Ask], machines: Sequence[LoggedWorker], measure_: Fragmentation | None) -> float:
    """Return the share of all GPUs that is allocated in the end. Workers in the same state are as one."""
    states: Counter[Left] = Counter(
        Left(round(machine.cpus * 1000), round(machine.mem_mb), (WHOLE,) * machine.gpus) for machine in machines
    )
    placed = 0
    for ask in drawn:
        found = _best_fit(states, ask) if measure_ is None else _least_fragments(states, ask, measure_)
        if found is None:
            continue
        state, after = found
        states[state] -= 1
        if not states[state]:
            del states[state]
        states[after] += 1
        placed += ask.devices * ask.share
    return placed / (WHOLE * sum(machine.gpus for machine in machines))


def _least_fragments(states: Mapping[Left, int], ask: Ask, measure_: Fragmentation) -> tuple[Left, Left] | None:
    best: tuple[float, Left, Left] | None = None
    for state in states:
        step = measure_.step(state, ask)
        if step is not None and (best is None or step[0] < best[0]):
            best = step[0], state, step[1]
    return None if best is None else best[1:]


def _best_fit(states: Mapping[Left, int], ask: Ask) -> tuple[Left, Left] | None:
    fitting = [state for state in states if state.fits(ask)]
    if not fitting:
        return None
    state = min(fitting, key=lambda left: (sum(left.devices), left.cpus_milli, left.memory_mb))
    return state, next(iter(state.after(ask)))


def charts(figures: Mapping[str, Any]) -> list[Chart]:
    ours: list[tuple[str | float, float]] = [(str(seed), value) for seed, value in enumerate(figures["per_seed"])]
    plain: list[tuple[str | float, float]] = [
        (str(seed), value) for seed, value in enumerate(figures["best_fit_per_seed"])
    ]
    return [Chart("GPUs allocated at 130 % demand", "%", {"default": ours, "best fit": plain}, x_unit="seed")]
