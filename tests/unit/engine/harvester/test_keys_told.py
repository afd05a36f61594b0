"""The Harvester tells NATS of workers' keys when they changed, and leaves it alone otherwise: being told disturbs all."""

import pytest

from engine.harvester import enrolment
from engine.harvester.enrolment import Enrolment


class _Config:
    """Keeps what the server was told; `away`: there is none."""

    def __init__(self, known):
        self.known, self.told, self.away = dict(known), [], False

    def known_keys(self):
        return self.known

    def tell(self, keys):
        self.told.append(keys)
        if not self.away:
            self.known = dict(keys)


@pytest.fixture
def live(monkeypatch):
    keys = {"w1": "K1"}

    async def live_keys(_store):
        return dict(keys)

    monkeypatch.setattr(enrolment.worker_keys, "live_keys", live_keys)
    return keys


@pytest.fixture
def said():
    return []


@pytest.fixture
def begin(said):
    return lambda config: Enrolment(None, config, lambda _level, text: said.append(text))


async def test_a_new_harvester_tells_a_server_nothing_that_it_knows(live, begin):
    config = _Config(live)
    enrolment = begin(config)
    await enrolment.refresh()
    assert config.told == []
    assert enrolment.knows("w1")


async def test_a_server_that_was_away_is_told_at_the_next_look(live, begin):
    config = _Config({})
    config.away = True
    enrolment = begin(config)
    await enrolment.refresh()
    config.away = False
    await enrolment.refresh()
    await enrolment.refresh()
    assert config.told == [live, live]


async def test_who_lost_the_key_is_named_also_by_the_next_harvester(live, begin, said):
    config = _Config({"w1": "K1", "w2": "K2"})
    enrolment = begin(config)
    await enrolment.refresh()
    assert config.told == [live]
    assert said == ["worker w2 has no key any more and was cut off"]
    assert not enrolment.knows("w2")
