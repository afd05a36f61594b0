import asyncio
from datetime import UTC, datetime
from itertools import count

import pytest

from api.gathering import FLIGHTS_MAX, RIDERS_MAX, Gatherer
from swarmsync.errors import Conflict, Unavailable
from swarmsync.protocol.codec import convert_spec
from swarmsync.store import submit
from swarmsync.store.submit import Answer, Key, Wanted
from swarmsync.store.users import Caller

NUMBERS = count(1)


def wanted(user_id=1, key=None, **fields):
    drafts = [submit.draft(convert_spec({"image": "a", **fields}))]
    submission = submit.plan(drafts, datetime.now(UTC), lambda: next(NUMBERS))
    named = None if key is None else Key(key, b"", 201, b"{}")
    return Wanted(Caller(user_id, f"user{user_id}", "user"), submission, named)


class Commits:
    """A store whose commits end when the test says so; it refuses what holds a request of `refused`."""

    def __init__(self):
        self.begun, self.ends, self.told = [], [], []
        self.refused, self.problem = None, Conflict("no")
        self.changed = asyncio.Condition()
        self.gatherer = Gatherer(self.commit, self.tell)

    async def commit(self, entries):
        self.begun.append(list(entries))
        self.ends.append(asyncio.Event())
        async with self.changed:
            self.changed.notify_all()
        await self.ends[-1].wait()
        if any(entry is self.refused for entry in entries):
            raise self.problem
        return [None] * len(entries)

    async def tell(self, made):
        self.told.append([entry.submission.jobs[0].job_id for entry in made])

    async def flights(self, number):
        async with asyncio.timeout(60), self.changed:
            await self.changed.wait_for(lambda: len(self.begun) >= number)
        return self.begun[:number]

    def submit(self, entry):
        return asyncio.ensure_future(self.gatherer.submit(entry))

    async def end(self, number):
        await self.flights(number + 1)
        self.ends[number].set()


async def test_a_lone_request_goes_at_once_and_the_engine_hears_of_it():
    commits, entry = Commits(), wanted()
    answer = commits.submit(entry)
    assert await commits.flights(1) == [[entry]]
    await commits.end(0)
    assert await answer is None
    assert commits.told == [[entry.submission.jobs[0].job_id]]


async def test_what_arrives_during_a_flight_goes_as_one():
    commits = Commits()
    first, *later = entries = [wanted() for _ in range(5)]
    answers = [commits.submit(first)]
    await commits.flights(1)
    answers += [commits.submit(entry) for entry in later]
    await commits.end(0)
    assert await commits.flights(2) == [[first], later]
    await commits.end(1)
    assert await asyncio.gather(*answers) == [None] * len(entries)


async def test_one_callers_flights_do_not_overtake_each_other_and_others_need_not_wait():
    commits = Commits()
    mine, next_one, theirs = wanted(1), wanted(1), wanted(2)
    answers = [commits.submit(mine)]
    await commits.flights(1)
    answers += [commits.submit(next_one), commits.submit(theirs)]
    assert await commits.flights(2) == [[mine], [theirs]]
    await commits.end(0)
    assert (await commits.flights(3))[2] == [next_one]
    for number in (1, 2):
        await commits.end(number)
    await asyncio.gather(*answers)


async def test_flights_are_counted_and_so_are_their_riders():
    commits = Commits()
    answers = []
    for user_id in range(FLIGHTS_MAX):
        answers.append(commits.submit(wanted(user_id)))
        await commits.flights(user_id + 1)
    answers += [commits.submit(wanted(100 + number)) for number in range(RIDERS_MAX + 1)]
    await commits.end(0)
    assert len((await commits.flights(FLIGHTS_MAX + 1))[FLIGHTS_MAX]) == RIDERS_MAX
    for number in range(1, FLIGHTS_MAX + 2):
        await commits.end(number)
    await asyncio.gather(*answers)
    assert [len(flight) for flight in commits.begun] == [1] * FLIGHTS_MAX + [RIDERS_MAX, 1]


async def test_two_requests_with_one_key_never_share_a_flight():
    commits = Commits()
    first, second, other = wanted(1, "k"), wanted(1, "k"), wanted(2, "k")
    answers = [commits.submit(entry) for entry in (first, second, other)]
    await commits.end(0)
    assert await commits.flights(2) == [[first, other], [second]]
    await commits.end(1)
    await asyncio.gather(*answers)


async def test_a_refusal_is_for_the_one_that_it_is_for():
    commits = Commits()
    entries = [wanted(1), wanted(1), wanted(2)]
    commits.refused = entries[1]
    answers = [commits.submit(entry) for entry in entries]
    for number in range(5):  # all; the first caller's two; the refused one and the other alone; the second caller's
        await commits.end(number)
    results = await asyncio.gather(*answers, return_exceptions=True)
    assert [type(result) for result in results] == [type(None), Conflict, type(None)]
    assert sorted(job_id for told in commits.told for job_id in told) == [
        entries[0].submission.ids[0],
        entries[2].submission.ids[0],
    ]


async def test_when_postgresql_is_away_nobody_is_tried_twice():
    commits, entries = Commits(), [wanted(1), wanted(2)]
    commits.refused, commits.problem = entries[0], Unavailable("away")
    answers = [commits.submit(entry) for entry in entries]
    await commits.end(0)
    assert all(isinstance(result, Unavailable) for result in await asyncio.gather(*answers, return_exceptions=True))
    assert len(commits.begun) == 1


async def test_an_answer_that_was_given_before_is_no_news():
    first = Answer(201, b"{}")

    async def commit(entries):
        return [first] * len(entries)

    told = []

    async def tell(job_ids):
        told.append(job_ids)

    assert await Gatherer(commit, tell).submit(wanted(1, "k")) is first
    assert told == []


async def test_a_client_that_is_gone_leaves_its_flight_alone():
    commits = Commits()
    answers = [commits.submit(wanted()), commits.submit(wanted())]
    await commits.flights(1)
    answers[0].cancel()
    await commits.end(0)
    assert await answers[1] is None
    later = commits.submit(wanted())
    await commits.end(1)
    assert await later is None


@pytest.mark.parametrize(
    ("fields", "together"),
    [
        ({}, True),
        ({"array": {"range": "0-98"}}, True),
        ({"array": {"range": "0-99"}}, False),
        ({"after": [{"job": "#0", "when": "succeeded"}]}, False),
        ({"concurrency": {"key": "k", "limit": 1, "on_limit": "reject"}}, False),
    ],
)
def test_what_can_be_refused_or_is_large_goes_alone(fields, together):
    assert wanted(**fields).rides_along is together
