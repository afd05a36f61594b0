"""Which failures take a worker out, and which are the jobs' own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.harvester.quarantine import WINDOW_MS, Began, Failed, Quarantine, Quarantined
from swarmsync.model.lifecycle import EndReason

R = EndReason


def failed(worker_id, job_id, reason=R.DOCKER_ERROR, group=None):
    return Failed(worker_id, job_id, job_id if group is None else group, reason, "no runc")


def test_docker_fails_for_different_jobs_and_nothing_starts():
    quarantine = Quarantine(3)
    assert quarantine.handle([failed(1, 11), failed(1, 12)], 0) == []
    said = "3 different jobs failed here before they started, and nothing started in between; the last one: no runc"
    assert quarantine.handle([failed(1, 13)], 10) == [Quarantined(1, said, 13)]
    assert quarantine.handle([failed(1, 14)], 20) == [], "it begins anew"


def test_one_job_counts_once_however_often_it_fails():
    quarantine = Quarantine(3)
    assert quarantine.handle([failed(1, 11)] * 20, 0) == []


def test_an_array_counts_once():
    quarantine = Quarantine(3)
    assert quarantine.handle([failed(1, member, group=7) for member in range(100, 200)], 0) == []


def test_what_starts_here_clears_it():
    quarantine = Quarantine(3)
    for job in range(20):
        assert quarantine.handle([failed(1, job), failed(1, 100 + job), Began(1, 1_000 + job)], job) == []


def test_a_job_that_fails_on_two_workers_quarantines_nobody():
    quarantine = Quarantine(3)
    for job in range(20):
        assert quarantine.handle([failed(1, job), failed(2, job), failed(1, job), failed(3, job)], job) == []


@pytest.mark.parametrize("reason", [R.DOCKER_ERROR, R.IMAGE_PULL_FAILED])
def test_jobs_that_ran_elsewhere_count_although_others_start_here(reason):
    quarantine = Quarantine(3)
    said = []
    for job in range(3):
        said += quarantine.handle([failed(1, job, reason)], job)
        said += quarantine.handle([Began(2, job), Began(1, 50 + job)], job)
    assert [entry.worker_id for entry in said] == [1]
    assert "ran on other workers" in said[0].message


def test_a_registry_that_is_away_takes_nobody_out():
    quarantine = Quarantine(3)
    assert (
        quarantine.handle([failed(worker, job, R.IMAGE_PULL_FAILED) for job in range(30) for worker in (1, 2)], 0) == []
    )


@pytest.mark.parametrize("reason", [R.EXIT_CODE, R.START_FAILED, R.IMAGE_NOT_FOUND, R.CREATE_FAILED, R.WORKER_LOST])
def test_other_ends_do_not_count(reason):
    assert Quarantine(1).handle([failed(1, job, reason) for job in range(9)], 0) == []


def test_old_failures_are_forgotten_and_zero_switches_it_off():
    quarantine = Quarantine(2)
    assert quarantine.handle([failed(1, 1)], 0) == []
    assert quarantine.handle([failed(1, 2)], WINDOW_MS + 1) == []
    assert Quarantine(0).handle([failed(1, job) for job in range(9)], 0) == []


NEWS = st.one_of(
    st.builds(
        Failed, st.integers(1, 3), st.integers(1, 9), st.integers(1, 5), st.sampled_from([R.DOCKER_ERROR, R.IMAGE_PULL_FAILED]),
        st.just("x"),
    ),
    st.builds(Began, st.integers(1, 3), st.integers(1, 9)),
)  # fmt: skip


@given(st.lists(st.lists(NEWS, max_size=5), max_size=30))
def test_it_keeps_its_books_whatever_comes(turns):
    quarantine = Quarantine(3)
    for now_ms, news in enumerate(turns):
        quarantine.handle(news, now_ms * 50_000)
        for group, where in quarantine._where.items():
            assert all(group in quarantine._suspects[worker_id] for worker_id in where)
        for worker_id, suspects in quarantine._suspects.items():
            assert all(worker_id in quarantine._where[group] for group in suspects)
