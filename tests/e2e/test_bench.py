"""Each scenario that needs a Core, tiny, on one Core for all: that it runs and says what it should."""

from contextlib import nullcontext

import pytest

from bench import harness
from bench.scenarios import api, backlog, cli, containers, latency, lists, logs, throughput

pytestmark = pytest.mark.e2e


def _quiet(_text):
    pass


@pytest.fixture(scope="module")
def simulated():
    config = (
        f"simulated_count = {throughput.WORKERS}\ncpus = {throughput.WORKER_CPUS}\n[api]\nrequests_per_s = 100000\n"
    )
    with harness.core("simulated", config=config) as there:
        yield there


@pytest.fixture
def use(monkeypatch):
    """Give a scenario this Core instead of one of its own."""

    def use(module, there):
        monkeypatch.setattr(module, "core", lambda *_names, **_config: nullcontext(there))

    return use


def test_throughput_says_where_the_time_went(simulated, use):
    use(throughput, simulated)
    figures = throughput.measure(quick=True, say=_quiet, jobs=2_000)
    assert figures["jobs_per_s"] > 100
    assert {"postgres", "worker.program", "gunicorn"} <= figures["cpu_us_per_job_by_process"].keys()
    assert len(figures["tenths_per_s"]) == 10


def test_api_measures_every_route(simulated, use, monkeypatch):
    use(api, simulated)
    monkeypatch.setattr(api, "_CELLS", {True: (0.05, (2,))})
    figures = api.measure(quick=True, say=_quiet)
    assert all(cell["requests_per_s"] > 0 for cells in figures["routes"].values() for cell in cells.values())
    assert figures["routes"]["POST /v1/jobs, 100"]["4 connections"]["jobs_per_s"] > 0
    assert len(api.charts(figures)) == 1


def test_latency_counts_every_arrival(simulated, use, monkeypatch):
    use(latency, simulated)
    monkeypatch.setattr(latency, "_PLANS", {True: (((50, 0.5),), (), 0)})
    simulated.client().get("/v1/stats")
    monkeypatch.setattr(latency, "_ALONE", {True: 3})
    figures = latency.measure(quick=True, say=_quiet, docker=False, celery=False)
    (cell,) = figures["simulated"].values()
    assert cell["refused"] == 0
    assert cell["to_start"]["n"] == cell["to_answer"]["n"] == len(latency.arrivals(50, 0.5))
    assert 0 < cell["to_start"]["p50"] <= cell["to_verdict"]["p50"]
    assert figures["alone"]["SwarmSync"]["n"] == 3


def test_logs_are_counted_once_they_are_stored(simulated, use, monkeypatch):
    use(logs, simulated)
    monkeypatch.setattr(logs, "_SIZES", {True: (0.01, 2, 0)})
    figures = logs.measure(quick=True, say=_quiet, docker=False)
    assert figures["simulated to store"]["mb_per_s"] > 0


def test_cli_times_whole_processes(simulated, use, monkeypatch):
    use(cli, simulated)
    monkeypatch.setattr(cli, "_ROUNDS", {True: 1})
    commands = cli.measure(quick=True, say=_quiet)["commands"]
    assert commands["consumer job list"]["p50"] > commands["python -c pass"]["p50"]


def test_backlog_measures_a_start_with_rows(simulated, use, monkeypatch):
    use(backlog, simulated)
    monkeypatch.setattr(backlog, "_SIZES", {True: ((), 1, 500)})
    monkeypatch.setattr(backlog, "cell", lambda *_values: {"decisions_per_s": 1})
    monkeypatch.setattr(backlog, "_SIZES", {True: ((10,), 1, 500)})
    figures = backlog.measure(quick=True, say=_quiet)
    assert figures["start_up"]["rows"] == 500
    assert figures["start_up"]["kill_to_ready_s"] > 0


def test_lists_are_asked_by_every_filter(simulated, use, monkeypatch):
    use(lists, simulated)
    monkeypatch.setattr(lists, "_SIZES", {True: (1_000, 1)})
    figures = lists.measure(quick=True, say=_quiet)
    assert set(lists.ASKED) < figures["lists"].keys()
    assert all(cell["p50"] > 0 for both in figures["lists"].values() for cell in both.values())
    assert simulated.client().get("/v1/jobs", {"label": "team=rare"})["items"][0]["state"] == "expired"


@pytest.mark.docker
def test_containers_stand_beside_raw_calls(monkeypatch):
    monkeypatch.setattr(containers, "_SIZES", {True: (2, 1, ("none",))})
    monkeypatch.setattr(containers, "CONCURRENT", 2)
    figures = containers.measure(quick=True, say=_quiet)
    assert figures["network none"]["ratio"] > 0
    assert figures["network none"]["our_cpu_ms"] > 0
