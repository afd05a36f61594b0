"""The families of `/metrics`: what was found out, written as Prometheus reads it. Pure.

Names follow its conventions: base units (seconds, bytes), `_total` for what only grows, no unit twice. A family whose
source does not answer is left out; `swarmsync_dependency_up` says which one that is.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, Final

from msgspec import Struct, field
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from swarmsync.store.overview import Fleet, Stats
from swarmsync.store.tallies import BOUNDS_S, Tally

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_SPREADS: Final = {
    "queue_wait": ("job_queue_wait_seconds", "From submission, or its start time, to its first placement"),
    "submit_to_start": (
        "job_submit_to_start_seconds",
        "From submission, or its start time, to the start of its first attempt; jobs that needed one attempt",
    ),
    "run": ("job_run_seconds", "How long the last attempt ran"),
}


class Requests(Struct, frozen=True):
    """What one process of the API has answered."""

    process: str
    method: str
    status: int
    count: int


class Found(Struct):
    """What there is to tell; None where its source did not answer."""

    version: str
    dependencies: Mapping[str, bool]
    stats: Stats | None = None
    fleet: Fleet | None = None
    tally: Tally | None = None
    breaks: Mapping[str, int] | None = None  # of each invariant: how many there are now
    modules: Mapping[str, Mapping[str, Any]] | None = None
    requests: Sequence[Requests] = field(default_factory=list)


def text(found: Found) -> bytes:
    """Return the exposition, version 0.0.4."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(found))
    return generate_latest(registry)


class _Families(Collector):
    def __init__(self, found: Found) -> None:
        self._found = found

    def collect(self) -> Iterator[Metric]:
        found = self._found
        yield _gauge("build_info", "The version of this API process", ("version",), [((found.version,), 1)])
        up = [((name,), int(alive)) for name, alive in found.dependencies.items()]
        yield _gauge("dependency_up", "Whether a server that Core needs answers", ("dependency",), up)
        if found.stats is not None:
            yield from _of_jobs(found.stats)
        if found.fleet is not None:
            yield from _of_workers(found.fleet)
        if found.tally is not None:
            yield from _of_events(found.tally)
        if found.breaks is not None:
            about = "What can never be so, and is, among what is placed and what ended last; anything above 0 is a bug"
            yield _gauge("invariant_breaks", about, ("invariant",), _by(found.breaks))
        if found.modules is not None:
            yield from _of_modules(found.modules)
        rows = [((r.process, r.method, str(r.status)), r.count) for r in found.requests]
        yield _counter("http_requests", "Requests answered", ("process", "method", "status"), rows)


Rows = Iterable[tuple[tuple[str, ...], float]]


def _gauge(name: str, about: str, labels: Sequence[str], rows: Rows) -> Metric:
    family = GaugeMetricFamily(f"swarmsync_{name}", f"{about}.", labels=labels)
    for values, figure in rows:
        family.add_metric(values, figure)
    return family


def _counter(name: str, about: str, labels: Sequence[str], rows: Rows) -> Metric:
    family = CounterMetricFamily(f"swarmsync_{name}", f"{about}.", labels=labels)
    for values, figure in rows:
        family.add_metric(values, figure)
    return family


def _by(counts: Mapping[str, float]) -> Rows:
    return [((name,), count) for name, count in sorted(counts.items())]


def _of_jobs(stats: Stats) -> Iterator[Metric]:
    yield _gauge("jobs", "Jobs that are stored, members of arrays one by one", ("state",), _by(stats.jobs))
    yield _gauge("jobs_waiting", "Jobs that wait, by what for", ("reason",), _by(stats.waiting))
    yield _gauge("workers", "Workers", ("liveness",), _by(stats.workers))
    finished = [((), stats.finished_last_minute)]
    yield _gauge("jobs_finished_last_minute", "Jobs that ended within the last minute", (), finished)


def _of_workers(fleet: Fleet) -> Iterator[Metric]:
    eligible = _by(fleet.eligibility)
    yield _gauge("workers_eligibility", "Workers by what they may take", ("eligibility",), eligible)
    amounts = (
        ("cpus", "CPUs", fleet.cpus, fleet.cpus_used),
        ("memory_bytes", "Memory", fleet.memory_bytes, fleet.memory_bytes_used),
        ("gpus", "GPUs", fleet.gpus, fleet.gpus_used),
    )
    for name, word, offered, used in amounts:
        yield _gauge(f"offered_{name}", f"{word} that ready workers offer", (), [((), offered)])
        yield _gauge(f"assigned_{name}", f"{word} that jobs on them hold", (), [((), used)])


def _of_events(tally: Tally) -> Iterator[Metric]:
    yield _counter("job_events", "Changes of jobs to a state", ("state",), _by(tally.events))
    ended = [
        ((state, reason), count) for state, by in sorted(tally.ended.items()) for reason, count in sorted(by.items())
    ]
    yield _counter("jobs_ended", "Jobs that ended", ("state", "reason"), ended)
    for key, (name, about) in _SPREADS.items():
        spread = tally.spreads[key]
        family = HistogramMetricFamily(f"swarmsync_{name}", f"{about}. Counted at the job's end.")
        bounds = [*(str(bound) for bound in BOUNDS_S), "+Inf"]
        family.add_metric((), list(zip(bounds, accumulate(spread.counts), strict=True)), spread.seconds)
        yield family


#: (name, what for, kind of family, the field of a module's figures, what one unit of it is in the family's unit)
_MODULE: Final[Sequence[tuple[str, str, Callable[..., Metric], str, float]]] = (
    ("module_restarts", "How often the supervisor started it again", _counter, "restarts", 1),
    ("module_turns", "Turns of its loop", _counter, "turns", 1),
    ("module_pulse_age_seconds", "Since its loop last beat", _gauge, "pulse_age_ms", 1e-3),
    ("module_resident_memory_bytes", "Memory that it has in use", _gauge, "memory_bytes", 1),
    ("module_cpu_ratio", "Share of one CPU that it uses", _gauge, "cpu_percent", 1e-2),
)
_RING: Final[Sequence[tuple[str, str, Callable[..., Metric], str, float]]] = (
    ("ring_fill_ratio", "Share of a ring that is taken", _gauge, "fill", 1),
    ("ring_waiting_records", "Records that nobody has read yet", _gauge, "waiting", 1),
    ("ring_oldest_record_age_seconds", "Age of the oldest record that nobody has read", _gauge, "oldest_ms", 1e-3),
    ("ring_put_records", "Records put into a ring", _counter, "put", 1),
    ("ring_taken_records", "Records taken out of a ring", _counter, "taken", 1),
    ("ring_dropped_records", "Records that found no room", _counter, "dropped", 1),
)


def _of_modules(modules: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    up = [((name,), int(figures.get("state") == "running")) for name, figures in sorted(modules.items())]
    yield _gauge("module_up", "Whether a process of the engine runs", ("module",), up)
    for name, about, family, key, unit in _MODULE:
        rows = [
            ((module,), figures[key] * unit) for module, figures in sorted(modules.items()) if _is_figure(figures, key)
        ]
        yield family(name, about, ("module",), rows)
    lags: list[tuple[tuple[str, ...], float]] = [
        ((module, beat), lag / 1e3)
        for module, figures in sorted(modules.items())
        for beat, lag in sorted(figures.get("pulse_lag_ms", {}).items())
    ]
    yield _gauge("module_pulse_lag_seconds", "How late a pulse was", ("module", "pulse"), lags)
    rings = [
        (ring, module, figures)
        for module, about_module in sorted(modules.items())
        for ring, figures in sorted(about_module.get("rings", {}).items())
    ]
    for name, about, family, key, unit in _RING:
        ring_rows: Rows = [
            ((ring, module), figures[key] * unit) for ring, module, figures in rings if _is_figure(figures, key)
        ]
        yield family(name, about, ("ring", "reader"), ring_rows)


def _is_figure(figures: Mapping[str, Any], key: str) -> bool:
    return isinstance(figures.get(key), int | float)
