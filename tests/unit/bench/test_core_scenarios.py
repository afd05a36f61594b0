"""The scenarios of the pure core, with tiny clusters."""

import os

import pytest

from bench import apart, clusters
from bench.scenarios import backlog, latency, placement, throughput
from swarmsync.protocol.messages import AssignmentEnded


def _quiet(_text):
    pass


def test_the_same_seed_makes_the_same_cluster_and_distinct_shapes():
    assert clusters.workers(5) == clusters.workers(5)
    assert clusters.workers(5, seed=1) != clusters.workers(5, seed=9)
    needs = clusters.shapes(50)
    assert len({(need.cpus_milli, need.memory_bytes) for need in needs}) == 50


def test_a_flow_places_ends_and_places_again():
    flow = clusters.Flow(clusters.workers(3), clusters.shapes(5))
    frames = list(flow.jobs(clusters.JOBS_PER_FRAME + 1))
    assert [len(frame.jobs) for frame in frames] == [clusters.JOBS_PER_FRAME, 1]
    placed = sum(flow.turn([frame]) for frame in frames) + flow.settle()
    assert 0 < placed == len(flow.running)
    ended = flow.ended(2)
    assert all(isinstance(event, AssignmentEnded) for event in ended)
    flow.turn(ended)
    assert len(flow.running) >= placed - 2


def test_hopeless_jobs_are_never_placed():
    flow = clusters.Flow(clusters.workers(3), clusters.shapes(5))
    assert sum(flow.turn([frame]) for frame in flow.jobs(20, hopeless=1.0)) == 0


def test_placement_measures_rate_quality_and_memory(monkeypatch):
    monkeypatch.setattr(placement, "_CELLS", {True: ((10, 20), (5,), 2)})
    figures = placement.measure(quick=True, say=_quiet)
    cell = figures["cells"]["20 workers, 5 shapes"]
    assert cell["fill_per_s"] > 0
    assert cell["churn_per_s"] > 0
    assert 0.5 < cell["cpus_placed"] <= 1
    (chart,) = placement.charts(figures)
    assert [x for x, _ in chart.series["fill, 5 shapes"]] == [10, 20]


def test_backlog_measures_one_depth(monkeypatch):
    monkeypatch.setattr(backlog, "WORKERS", 3)
    cell = backlog.cell(600, 2)
    assert cell["decisions_per_s"] > 0
    assert cell["bytes_per_waiting_job"] >= 0


def test_what_fails_apart_is_raised_here_with_its_traceback():
    with pytest.raises(apart.Apart, match="ZeroDivisionError"):
        apart.apart(lambda: 1 // 0)
    assert apart.apart(lambda a, b: a + b, 1, 2) == 3


def test_what_is_printed_apart_is_no_part_of_the_result(capfd):
    apart.apart(os.system, "echo noise")
    apart.apart(print, "more")
    assert capfd.readouterr() == ("", "noise\nmore\n")


def test_arrivals_have_the_wanted_rate_and_the_same_seed_gives_the_same():
    moments = latency.arrivals(100, 20)
    assert moments == latency.arrivals(100, 20)
    assert moments == sorted(moments)
    assert len(moments) == pytest.approx(2_000, rel=0.1)
    assert moments[-1] < 20


def test_the_rate_of_each_tenth_counts_from_the_beginning():
    moments = [0.0] + [number * 0.1 for number in range(1, 51)] + [5 + number * 0.2 for number in range(1, 51)]
    assert throughput.tenths(moments) == [10] * 5 + [5] * 5
