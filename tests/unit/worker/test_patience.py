"""A killed Harvester or Logger answers never, a busy one late: how long a worker waits tells them apart."""

import pytest

from swarmsync.errors import Unavailable
from worker import patience as patience_file
from worker.patience import FACTOR, FIRST_S, MAX_S, MIN_S, Patience


class Bus:
    """Answers after `took_s` of its own clock; None: never. `listening`: else NATS says so at once."""

    def __init__(self, monkeypatch):
        self.now_s, self.took_s, self.listening = 100.0, 0.0, True
        monkeypatch.setattr(patience_file.time, "monotonic", lambda: self.now_s)

    async def request(self, _subject, payload, timeout_s):
        if not self.listening:
            raise Unavailable("nobody listens")
        if self.took_s is None:
            self.now_s += timeout_s
            raise Unavailable("no answer")
        self.now_s += self.took_s
        return payload


@pytest.fixture
def bus(monkeypatch):
    return Bus(monkeypatch)


@pytest.mark.parametrize(("took_s", "seconds"), [(0.0, MIN_S), (0.01, MIN_S), (0.3, 0.3 * FACTOR), (3.0, MAX_S)])
async def test_the_wait_follows_the_last_answer_within_limits(bus, took_s, seconds):
    patience = Patience()
    bus.took_s = took_s
    assert await patience.ask(bus, "s", b"word") == b"word"
    assert patience.seconds == pytest.approx(seconds)


async def test_each_answer_that_is_missing_doubles_the_wait_up_to_a_limit(bus):
    patience, seen = Patience(), []
    bus.took_s = None
    for _ in range(5):
        seen.append(patience.seconds)
        with pytest.raises(Unavailable):
            await patience.ask(bus, "s", b"")
    assert seen == [FIRST_S, 2.0, 4.0, MAX_S, MAX_S]


async def test_that_nobody_listens_is_told_at_once_and_says_nothing_of_the_next_answer(bus):
    patience = Patience()
    bus.listening = False
    with pytest.raises(Unavailable):
        await patience.ask(bus, "s", b"")
    assert patience.seconds == FIRST_S


async def test_what_must_not_be_said_twice_waits_always_as_long(bus):
    patience = Patience(MAX_S)
    await patience.ask(bus, "s", b"")
    assert patience.seconds == MAX_S
