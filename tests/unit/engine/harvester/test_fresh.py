"""New jobs that a hint describes: told at once and once, and nothing else of the feed is lost by it."""

import pytest

from engine.harvester.fresh import TOLD_MAX, Fresh
from swarmsync.model.job import Waiting
from swarmsync.model.lifecycle import FINAL, PLACED, WAITING, JobState
from swarmsync.model.resources import Need
from swarmsync.protocol.messages import By, Changed
from swarmsync.store.jobs import FeedEntry

NEED = Need(500, 1 << 29)


def job(job_id):
    return Waiting(job_id, 1, NEED, 50, 1)


def submitted(*job_ids):
    return Changed(job_ids, By.SUBMISSION, fresh=tuple(job(job_id) for job_id in job_ids))


def entry(job_id, state):
    return FeedEntry(job_id, state, job(job_id) if state is JobState.QUEUED else None, None, None, False)


def told(*job_ids):
    fresh = Fresh()
    assert fresh.hear(submitted(*job_ids))
    fresh.take()
    return fresh


def test_what_a_hint_describes_is_told_once():
    fresh = Fresh()
    assert fresh.hear(submitted(1))
    assert fresh.hear(submitted(2, 3))
    assert fresh.take() == (job(1), job(2), job(3))
    assert fresh.take() == ()


@pytest.mark.parametrize(
    "word",
    [
        Changed((1,), By.SUBMISSION),
        Changed((1, 2), By.SUBMISSION, fresh=(job(1),)),
        Changed((), By.SUBMISSION),
        Changed((1,), By.API, fresh=(job(1),)),
    ],
)
def test_of_any_other_hint_the_feed_tells(word):
    fresh = Fresh()
    assert not fresh.hear(word)
    assert fresh.take() == ()


@pytest.mark.parametrize("state", JobState)
def test_where_a_job_went_by_itself_is_no_news_and_all_else_is(state):
    by_itself = state not in WAITING and state not in (JobState.STOPPING, JobState.CANCELLED, JobState.EXPIRED)
    assert told(1).unknown([entry(1, state)]) == ([] if by_itself else [entry(1, state)])
    assert {*WAITING, *PLACED, *FINAL} == set(JobState)


def test_others_are_left_as_they_are():
    entries = [entry(7, JobState.RUNNING), entry(8, JobState.QUEUED)]
    assert told(1).unknown(entries) == entries
    assert Fresh().unknown(entries) == entries


def test_a_job_is_asked_about_once():
    """What the feed says of it later is of another change."""
    fresh = told(1)
    assert fresh.unknown([entry(1, JobState.RUNNING)]) == []
    assert fresh.unknown([entry(1, JobState.RUNNING)]) == [entry(1, JobState.RUNNING)]


def test_what_it_remembers_has_a_limit():
    fresh = told(*range(TOLD_MAX))
    fresh.hear(submitted(TOLD_MAX))
    fresh.take()
    assert fresh.unknown([entry(TOLD_MAX, JobState.RUNNING), entry(1, JobState.RUNNING)]) == [
        entry(1, JobState.RUNNING)
    ]
