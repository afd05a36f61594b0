"""A job's trace, made from its times."""

import pytest
from msgspec import structs

from swarmsync.model.spans import Attempt, Ended, Parent, read_parent, spans

SPENT = {"pull_ms": 10, "create_ms": 20, "start_ms": 30, "collect_ms": 5, "stop_ms": 0}
FIRST = Attempt(1, "w1", "failed", "WorkerLost", 2_000_000, 2_100_000, 3_000_000, None, {})
SECOND = Attempt(2, "w2", "succeeded", "Completed", 4_000_000, 4_100_000, 5_000_000, 800, SPENT)
JOB = Ended(
    "0abc", "n", "ann", "default", "i", "succeeded", "Completed", "exit code 0", 0, 1_000_000, 1_010_000, 5_000_000, (FIRST, SECOND)
)  # fmt: skip


def stretches(made, **wanted):
    return [
        (span.name, span.began_us, span.ended_us)
        for span in made
        if all(span.attributes.get(f"swarmsync.{key}") == value for key, value in wanted.items())
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Parent(0x4BF92F3577B34DA6A3CE929D0E0E4736, 0xF067AA0BA902B7, True)),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", Parent(0x4BF92F3577B34DA6A3CE929D0E0E4736, 0xF067AA0BA902B7, False)),
        ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", None),
        ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", None),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", None),
        ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", None),
        ("00-4bf92f35-00f067aa0ba902b7-01", None),
        ("", None),
    ],
)  # fmt: skip
def test_a_traceparent_counts_or_does_not(text, found):
    assert read_parent(text) == found


def test_the_steps_of_an_attempt_touch_each_other():
    steps = stretches(spans(JOB, "s"), attempt=2)
    assert steps == [
        ("queue", 3_000_000, 4_000_000),
        ("attempt", 4_000_000, 5_000_000),
        ("dispatch", 4_000_000, 4_040_000),
        ("pull", 4_040_000, 4_050_000),
        ("create", 4_050_000, 4_070_000),
        ("start", 4_070_000, 4_100_000),
        ("run", 4_100_000, 4_900_000),
        ("collect", 4_900_000, 4_905_000),
        ("verdict", 4_905_000, 5_000_000),
    ]


def test_measurements_that_do_not_fit_are_cut():
    odd = structs.replace(SECOND, ran_ms=99_000, spent={"pull_ms": 99_000, "start_ms": 40})
    steps = {
        name: (began, ended)
        for name, began, ended in stretches(spans(structs.replace(JOB, attempts=(odd,)), "s"), attempt=2)
    }
    assert steps["pull"] == (4_000_000, 4_060_000)
    assert steps["dispatch"] == (4_000_000, 4_000_000)
    assert steps["run"] == (4_100_000, 5_000_000)
    assert steps["verdict"] == (5_000_000, 5_000_000)


def test_a_job_that_never_started_waited():
    made = spans(structs.replace(JOB, attempts=(), state="cancelled", message="by ann"), "s")
    assert stretches(made)[1:] == [("submit", 1_000_000, 1_010_000), ("queue", 1_010_000, 5_000_000)]
    assert made[0].error == "by ann"


def test_ids_are_the_same_each_time_and_differ_between_spans_jobs_and_cores():
    made = spans(JOB, "s")
    assert made == spans(JOB, "s")
    assert len({span.span_id for span in made}) == len(made)
    assert len({span.trace_id for span in made}) == 1
    others = {spans(structs.replace(JOB, job_id="0abd"), "s")[0].trace_id, spans(JOB, "t")[0].trace_id}
    assert made[0].trace_id not in others
    assert made[0].parent_id is None
    mine = spans(structs.replace(JOB, parent=Parent(7, 8, sampled=True)), "s")
    assert {(span.trace_id) for span in mine} == {7}
    assert mine[0].parent_id == 8
    assert [span.error for span in mine if span.name == "attempt"] == ["WorkerLost", ""]
