"""Who asks whether an output arrived is answered, however many ask at once."""

import asyncio

from engine.logger import checks
from engine.logger.checks import AT_ONCE, Checks
from swarmsync.errors import Unavailable
from swarmsync.model.job import JobRef
from swarmsync.protocol.messages import CheckOutput, OutputChecked, OutputSum


def question(job_id, sha256="a"):
    return CheckOutput("session", JobRef(job_id, 1), 3, OutputSum("out", 1, sha256))


class Desk:
    """Answers nothing until `open`; then everything, and says how many were looked at side by side."""

    def __init__(self, begins=1):
        """`begun` is set when so many are being looked at side by side."""
        self.begins = begins
        self.open, self.busy, self.most, self.looked, self.answers = asyncio.Event(), 0, 0, [], []
        self.away = 0
        self.answered, self.begun, self.left = asyncio.Condition(), asyncio.Event(), asyncio.Event()
        self.checks = Checks(self.check, self.answer)

    async def check(self, word):
        self.busy += 1
        self.most = max(self.most, self.busy)
        self.looked.append(word.ref.job_id)
        if self.busy == self.begins:
            self.begun.set()
        try:
            await self.open.wait()
        finally:
            self.busy -= 1
            self.left.set()
        if self.away:
            self.away -= 1
            raise Unavailable("PostgreSQL is away")
        return OutputChecked(same=word.total.sha256 == "a")

    async def answer(self, message, word, result):
        async with self.answered:
            self.answers.append((message, word.ref.job_id, result.same))
            self.answered.notify_all()

    async def until(self, count):
        async with asyncio.timeout(10), self.answered:
            await self.answered.wait_for(lambda: len(self.answers) >= count)
        return self.answers


async def test_all_are_answered_a_few_at_a_time_in_order():
    desk = Desk(begins=AT_ONCE)
    for job_id in range(100):
        desk.checks.ask(f"m{job_id}", question(job_id))
    await desk.begun.wait()
    desk.open.set()
    assert await desk.until(100) == [(f"m{job_id}", job_id, True) for job_id in range(100)]
    assert (desk.most, desk.looked) == (AT_ONCE, list(range(100)))


async def test_who_asks_again_gets_the_answer_and_it_is_looked_at_once():
    desk = Desk()
    desk.checks.ask("first", question(1))
    desk.checks.ask("again", question(1))
    desk.open.set()
    assert await desk.until(1) == [("again", 1, True)]
    assert desk.looked == [1]


async def test_another_question_of_the_same_output_gets_an_answer_of_its_own():
    desk = Desk()
    desk.checks.ask("first", question(1))
    await desk.begun.wait()
    desk.checks.ask("other", question(1, "b"))
    desk.open.set()
    assert await desk.until(2) == [("first", 1, True), ("other", 1, False)]


async def test_while_postgresql_is_away_it_is_looked_at_again_and_then_answered(monkeypatch):
    monkeypatch.setattr(checks, "RETRY_S", 0)
    desk = Desk()
    desk.away = 3
    desk.open.set()
    desk.checks.ask("first", question(1))
    assert await desk.until(1) == [("first", 1, True)]
    assert desk.looked == [1] * 4


async def test_beyond_a_bound_a_question_is_left_alone(monkeypatch):
    monkeypatch.setattr(checks, "WAITING_MAX", 2)
    desk = Desk()
    for job_id in range(3):
        desk.checks.ask(f"m{job_id}", question(job_id))
    desk.open.set()
    await desk.until(2)
    desk.checks.ask("later", question(4))
    assert [message for message, _, _ in await desk.until(3)] == ["m0", "m1", "later"]


async def test_closing_ends_what_is_being_looked_at():
    desk = Desk()
    desk.checks.ask("first", question(1))
    await desk.begun.wait()
    desk.checks.close()
    await desk.left.wait()
    assert (desk.looked, desk.busy, desk.answers) == ([1], 0, [])
