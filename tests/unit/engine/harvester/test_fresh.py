"""New jobs that a hint describes: told at once and once, never behind the feed, and nothing else of the feed is lost."""

import pytest

from engine.harvester.fresh import JOBS_PER_WORD, TOLD_MAX, Fresh
from swarmsync.model.job import Waiting
from swarmsync.model.lifecycle import FINAL, PLACED, WAITING, JobState
from swarmsync.model.resources import Need
from swarmsync.protocol.messages import By, Changed, JobsSubmitted
from swarmsync.store.jobs import Cursor, FeedEntry

NEED = Need(500, 1 << 29)
START = Cursor("700", -1)


def job(job_id):
    return Waiting(job_id, 1, NEED, 50, 1)


def submitted(*job_ids, xid=800):
    return Changed(job_ids, By.SUBMISSION, fresh=tuple(job(job_id) for job_id in job_ids), xid=xid)


def entry(job_id, state):
    return FeedEntry(job_id, state, job(job_id) if state is JobState.QUEUED else None, None, None, False)


def told(*job_ids):
    fresh = Fresh()
    assert fresh.hear(submitted(*job_ids))
    fresh.take(START)
    return fresh


def test_what_a_hint_describes_is_told_once():
    fresh = Fresh()
    assert fresh.hear(submitted(1))
    assert fresh.hear(submitted(2, 3))
    assert fresh.take(START) == [JobsSubmitted((job(1), job(2), job(3)))]
    assert fresh.take(START) == []


@pytest.mark.parametrize(
    "word",
    [
        Changed((1,), By.SUBMISSION, xid=800),
        Changed((1, 2), By.SUBMISSION, fresh=(job(1),), xid=800),
        Changed((), By.SUBMISSION, xid=800),
        Changed((1,), By.API, fresh=(job(1),), xid=800),
        Changed((1,), By.SUBMISSION, fresh=(job(1),)),
    ],
)
def test_of_any_other_hint_the_feed_tells(word):
    fresh = Fresh()
    assert not fresh.hear(word)
    assert fresh.take(START) == []


@pytest.mark.parametrize(
    ("cursor", "is_told"),
    [
        (Cursor("799", -1), True),
        (Cursor("799", 40), True),
        (Cursor("800", -1), True),  # all before it was read, and not yet it
        (Cursor("800", 0), False),  # the feed stands in its middle, and goes on with it
        (Cursor("801", -1), False),
        (Cursor("5000", 3), False),
    ],
)
def test_a_hint_that_comes_behind_the_feed_is_dropped(cursor, is_told):
    """What the feed has told of the job is newer: it may be cancelled, or wait elsewhere."""
    fresh = Fresh()
    assert fresh.hear(submitted(1, xid=800))
    assert fresh.take(cursor) == ([JobsSubmitted((job(1),))] if is_told else [])


def test_many_go_in_words_that_fit_a_ring():
    fresh = Fresh()
    for first in range(0, 2 * JOBS_PER_WORD, 8):
        fresh.hear(submitted(*range(first, first + 8)))
    assert [len(word.jobs) for word in fresh.take(START)] == [JOBS_PER_WORD, JOBS_PER_WORD]


@pytest.mark.parametrize("state", JobState)
def test_where_a_job_went_by_itself_is_no_news_and_all_else_is(state):
    by_itself = state not in WAITING and state not in (JobState.STOPPING, JobState.CANCELLED, JobState.EXPIRED)
    assert told(1).unknown([entry(1, state)]) == ([] if by_itself else [entry(1, state)])
    assert {*WAITING, *PLACED, *FINAL} == set(JobState)


def test_others_are_left_as_they_are():
    entries = [entry(7, JobState.RUNNING), entry(8, JobState.QUEUED)]
    assert told(1).unknown(entries) == entries
    assert Fresh().unknown(entries) == entries


def test_once_the_feed_has_told_of_a_job_what_it_says_later_is_of_another_change():
    fresh = told(1)
    running = [entry(1, JobState.RUNNING)]
    assert fresh.unknown(running) == []
    assert fresh.unknown(running) == []  # a reading that failed is repeated
    fresh.read(running)
    assert fresh.unknown(running) == running


def test_what_it_remembers_has_a_limit():
    fresh = told(*range(TOLD_MAX))
    fresh.hear(submitted(TOLD_MAX))
    fresh.take(START)
    assert fresh.unknown([entry(TOLD_MAX, JobState.RUNNING), entry(1, JobState.RUNNING)]) == [
        entry(1, JobState.RUNNING)
    ]
