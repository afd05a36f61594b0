"""Decisions a second of the Scheduler's pure core, without rings, rows and workers; every check that it makes.

*fill*: jobs of random shapes, in random order, come in frames of 500 until their cpus make 95 % of the cluster's;
nothing ends. This is also the hardest packing case: `cpus_placed` is the share of the cpus asked for that found a
place. *churn*: the full cluster; in each turn the 250 oldest jobs end and 250 new ones come. *memory*: what the process
grew by, per worker and per placed job. Every cell runs in a process of its own.
"""

import gc
import time
from typing import Any, Final

from bench.apart import apart, resident_bytes
from bench.clusters import Flow, shapes, workers
from bench.plots import Chart
from bench.results import Say
from swarmsync.collector import relax
from swarmsync.protocol.messages import ToScheduler

LOAD: Final = 0.95
CHURN: Final = 250
FILL_JOBS_MAX: Final = 1_000_000
#: Quick or not: workers, shapes, turns of churn.
_CELLS: Final = {
    True: ((100, 1_000), (20,), 40),
    False: ((100, 1_000, 10_000, 100_000), (20, 2_000), 400),
}


def measure(*, quick: bool, say: Say) -> dict[str, Any]:
    counts, kinds, turns = _CELLS[quick]
    cells = {}
    for kind in kinds:
        for count in counts:
            say(f"{count:,} workers, {kind:,} shapes")
            cells[f"{count} workers, {kind} shapes"] = apart(cell, count, kind, turns)
    return {"unit": "decisions/s", "load": LOAD, "cells": cells}


def cell(worker_count: int, shape_count: int, turns: int) -> dict[str, Any]:
    """Measure one cluster."""
    needs, views = shapes(shape_count), workers(worker_count)
    gc.collect()
    before = resident_bytes()
    flow = Flow(views, needs)
    relax()  # as the engine's modules do
    with_workers = resident_bytes()
    capacity = sum(view.capacity.cpus_milli for view in views)
    mean = sum(need.cpus_milli for need in needs) / len(needs)
    wanted = min(round(capacity * LOAD / mean), FILL_JOBS_MAX)
    frames = list(flow.jobs(wanted))
    began = time.perf_counter()
    placed = sum(flow.turn([frame]) for frame in frames) + flow.settle()
    fill_s = time.perf_counter() - began
    with_jobs = resident_bytes()
    cpus = sum(flow.cpus_milli[job_id] for job_id, _ in flow.running)
    fresh = list(flow.jobs(CHURN * turns))
    decided, churn_s = 0, 0.0
    for frame in fresh:
        events: list[ToScheduler] = [*flow.ended(CHURN), frame]
        began = time.perf_counter()
        decided += flow.turn(events)
        churn_s += time.perf_counter() - began
    return {
        "jobs": wanted,
        "fill_per_s": round(placed / fill_s),
        "cpus_placed": round(cpus / sum(flow.cpus_milli[job.job_id] for frame in frames for job in frame.jobs), 4),
        "churn_per_s": round(decided / churn_s),
        "bytes_per_worker": round((with_workers - before) / worker_count),
        "bytes_per_placed_job": round(max(0, with_jobs - with_workers) / max(placed, 1)),
    }


def charts(figures: dict[str, Any]) -> list[Chart]:
    series: dict[str, list[tuple[str | float, float]]] = {}
    for name, figure in figures["cells"].items():
        workers_text, shapes_text = name.split(", ")
        for part in ("fill", "churn"):
            points = series.setdefault(f"{part}, {shapes_text}", [])
            points.append((float(workers_text.split()[0]), figure[f"{part}_per_s"]))
    return [Chart("Placements of the pure core", "decisions/s", series, x_unit="workers")]
