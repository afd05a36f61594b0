"""New jobs that a hint describes: told at once and once, and never behind the feed."""

import os

import msgspec
import pytest

from engine.harvester.fresh import HEARD_JOBS_MAX, JOBS_PER_WORD, TOLD_MAX, WORD_BYTES_MAX, Fresh, in_words
from engine.service_channels import Role, Wiring
from swarmsync.model.job import Waiting
from swarmsync.model.resources import Need
from swarmsync.model.rules import Rules
from swarmsync.protocol import codec
from swarmsync.protocol.messages import By, Changed, JobsSubmitted
from swarmsync.store.jobs import Cursor

NEED = Need(500, 1 << 29)
START = Cursor("700", -1)


def job(job_id):
    return Waiting(job_id, 1, NEED, 50, 1)


def submitted(*job_ids, xid=800):
    return Changed(job_ids, By.SUBMISSION, fresh=tuple(job(job_id) for job_id in job_ids), xid=xid)


def told(*job_ids, xid=800):
    fresh = Fresh()
    assert fresh.hear(submitted(*job_ids, xid=xid))
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
        (Cursor("799", 40), False),  # it stopped at its limit, and may have told of what became of the job
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


def test_the_feed_leaves_out_what_was_told_until_it_is_past_it():
    fresh = told(1, xid=800)
    fresh.hear(submitted(2, xid=802))
    assert fresh.told == (800,), "what is heard is told first"
    fresh.take(START)
    assert fresh.told == (800, 802)
    fresh.read(Cursor("800", -1))
    assert fresh.told == (800, 802), "up to there, and not yet it"
    fresh.read(Cursor("802", -1))
    assert fresh.told == (802,)
    fresh.read(Cursor("803", -1))
    assert fresh.told == ()


def test_what_came_behind_the_feed_is_not_left_out():
    fresh = Fresh()
    fresh.hear(submitted(1, xid=800))
    fresh.take(Cursor("801", -1))
    assert fresh.told == ()


def test_words_fit_a_ring_whatever_the_jobs_ask_of_workers():
    """A ring that is asked to take what it never can ends its module."""
    rules = Rules(constraints=("labels.zone == " + "z" * 4_000,) * 20)
    many = [msgspec.structs.replace(job(number), rules=rules) for number in range(1_200)]
    words = in_words(many)
    assert [one for word in words for one in word.jobs] == many
    assert max(len(codec.encode(word)) for word in words) <= WORD_BYTES_MAX
    wiring = Wiring(f"fresh{os.getpid()}")
    try:
        assert not wiring.writer("inbox").offer_or_drop(words), "it is full, and nothing worse"
        assert wiring.readers(Role.SCHEDULER)["inbox"].take()[0] == words[0]
    finally:
        wiring.close()


def test_what_is_heard_in_one_turn_has_a_limit():
    fresh = Fresh()
    jobs_each = HEARD_JOBS_MAX // 2
    assert fresh.hear(submitted(*range(jobs_each), xid=800))
    assert fresh.hear(submitted(*range(jobs_each), xid=801))
    assert not fresh.hear(submitted(1, xid=802)), "the feed is to tell of it"
    fresh.take(START)
    assert fresh.told == (800, 801)
    assert fresh.hear(submitted(1, xid=803))


def test_what_it_remembers_has_a_limit_and_the_oldest_are_forgotten():
    fresh = Fresh()
    for number in range(TOLD_MAX + 2):
        fresh.hear(submitted(number, xid=1_000 + number))
    assert sum(len(word.jobs) for word in fresh.take(START)) == TOLD_MAX + 2
    assert fresh.told == tuple(range(1_002, 1_002 + TOLD_MAX))
