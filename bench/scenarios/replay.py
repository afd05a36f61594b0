"""A job log through the Scheduler's own core on a virtual clock, under several policies.

Slowdown is bounded: max(1, (wait + run) / max(run, 10 s)), over all jobs. `jain_users` is Jain's index of the users'
mean slowdowns: 1 where all fare alike, 1/n where one has it all. A low mean bought with a huge maximum is starvation.
`never` counts the jobs that fit no worker; they are in no other figure. Shares of a GPU are added up: three jobs of 0.6
run side by side on a worker of two GPUs, although each device has room for one of them.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bench.joblogs import NUMBER_MAX, LoggedJob, LoggedWorker, read_jobs, read_workers
from bench.plots import Chart
from bench.results import Say
from bench.virtual import Outcome, Pool, run
from engine.scheduler.ranking import POLICIES
from swarmsync.errors import RequestError
from swarmsync.model.resources import NOTHING

QUICK_JOBS = 3_000
POLICIES_DEFAULT = ("default", "easy", "easy-sjf")
YEAR_S: Final = 365.25 * 86_400
YEARS_MAX: Final = 10_000
SAID_EVERY_S: Final = 10.0


def measure(
    *,
    file: Path,
    policies: Sequence[str] = POLICIES_DEFAULT,
    cpus: float | None = None,
    gpus: int | None = None,
    workers: Path | None = None,
    clairvoyant: bool = False,
    time_scale: float = 1.0,
    quick: bool = False,
    say: Say = lambda _: None,
) -> dict[str, Any]:
    unknown = [name for name in policies if name not in POLICIES]
    if unknown:
        raise RequestError(f"{unknown[0]!r} is no policy; there are {', '.join(sorted(POLICIES))}")
    if not 0 <= time_scale < NUMBER_MAX:
        raise RequestError(f"--time-scale is {time_scale}; give a number that is not negative, 1 for the log as it is")
    jobs = read_jobs(file)[: QUICK_JOBS if quick else None]
    years = jobs[-1].submit_s * time_scale / YEAR_S
    if time_scale > 1 and years > YEARS_MAX:
        raise RequestError(
            f"--time-scale {time_scale:g} lets the last job come after {years:,.0f} years; {YEARS_MAX:,} are the most"
        )
    pool = _pool(cpus, gpus, workers)
    if all(pool.need(job) == NOTHING for job in jobs):
        what = {"cpus": "cpus", "gpus": "GPUs"}.get(pool.only, "cpus, memory or GPUs")
        raise RequestError(f"{file}: no job asks for {what}, so that none would ever wait")
    figures = {}
    for name in policies or POLICIES_DEFAULT:
        began = time.monotonic()
        progress = every_10_s(name, len(jobs), say)
        outcome = run(jobs, pool, POLICIES[name], clairvoyant=clairvoyant, time_scale=time_scale, progress=progress)
        say(f"{name}: {len(jobs)} jobs, mean slowdown {sum(outcome.slowdowns) / len(outcome.slowdowns):.2f}")
        if outcome.never:
            say(f"{name}: {outcome.never:,} of {len(jobs):,} jobs fit no worker and never run")
        figures[name] = {**_figures(jobs, outcome), "took_s": round(time.monotonic() - began, 2)}
    return {"jobs": len(jobs), "policies": figures}


def _pool(cpus: float | None, gpus: int | None, workers: Path | None) -> Pool:
    given = [entry for entry in (cpus, gpus, workers) if entry is not None]
    if len(given) != 1:
        raise RequestError("say what the jobs run on: one of --cpus N, --gpus N and --workers FILE")
    if workers is not None:
        return Pool(tuple(read_workers(workers)))
    if gpus is not None:
        return Pool((LoggedWorker("pool", 0, 0, gpus),), "gpus")
    return Pool((LoggedWorker("pool", cpus or 0, 0, 0),), "cpus")


def every_10_s(policy: str, jobs: int, say: Say, clock: Callable[[], float] = time.monotonic) -> Callable[[int], None]:
    """Return a `progress` for `run`: it says how many jobs are over, at most once in so many seconds."""
    said_s = clock()

    def progress(over: int) -> None:
        nonlocal said_s
        now_s = clock()
        if now_s - said_s >= SAID_EVERY_S:
            said_s = now_s
            say(f"{policy}: {over:,} of {jobs:,} jobs are over")

    return progress


def _figures(jobs: Sequence[LoggedJob], outcome: Outcome) -> dict[str, Any]:
    slow, waits = sorted(outcome.slowdowns), sorted(outcome.waits_s)
    users: dict[str, list[float]] = {}
    for place, slowdown in zip(outcome.placed, outcome.slowdowns, strict=True):
        users.setdefault(jobs[place].user, []).append(slowdown)
    means = {user: sum(values) / len(values) for user, values in users.items()}
    return {
        "placed": len(slow),
        "never": outcome.never,
        "bsld_mean": round(sum(slow) / len(slow), 4),
        "bsld_p50": round(_at(slow, 0.5), 3),
        "bsld_p95": round(_at(slow, 0.95), 3),
        "bsld_p99": round(_at(slow, 0.99), 3),
        "bsld_max": round(slow[-1], 2),
        "wait_mean_s": round(sum(waits) / len(waits), 1),
        "wait_p95_s": round(_at(waits, 0.95), 1),
        "utilisation": round(outcome.utilisation, 4),
        "queue_max": outcome.queue_max,
        "jain_users": round(_jain(list(means.values())), 4),
        "worst_user_bsld": round(max(means.values()), 2),
        "users": {user: round(mean, 2) for user, mean in sorted(means.items())} if len(means) <= 32 else {},
    }


def _at(ordered: Sequence[float], share: float) -> float:
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def _jain(values: Sequence[float]) -> float:
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 1.0


def charts(figures: Mapping[str, Any]) -> list[Chart]:
    def points(figure: str) -> list[tuple[str | float, float]]:
        return [(name, float(entry[figure])) for name, entry in figures["policies"].items()]

    return [
        Chart("Bounded slowdown", "times", {"mean": points("bsld_mean"), "95 %": points("bsld_p95")}, logarithmic=True),
        Chart("Largest slowdown", "times", {"max": points("bsld_max")}, logarithmic=True),
    ]
