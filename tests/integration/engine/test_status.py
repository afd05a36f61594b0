"""What CoreInspect is told of the engine's children: soon when one changes or somebody looks, seldom otherwise."""

import json
import os

import pytest
import redis

from engine.pulse_system.pulse_page import PulsePage
from engine.service_channels import Wiring
from engine.service_handles import ChildSpec, Handle, Phase
from engine.shared_resource.segment import Segment
from engine.status import STATUS_KEY, UNWATCHED_EVERY_NS, WATCHED_EVERY_NS, WATCHED_KEY, Status

SECOND_NS = 1_000_000_000


class Desk:
    """A supervisor's figures of one child, which is this process; `look` passes time and returns what is new."""

    def __init__(self, url, wiring, pulses):
        self.valkey = redis.Redis.from_url(url)
        self.status = Status(url, wiring, pulses)
        self.handle = Handle(ChildSpec("postgres", Phase.SERVER, os.getpid))
        self.now_ns = SECOND_NS
        self.handle.start(0)

    def look(self, after_ns):
        self.valkey.delete(STATUS_KEY)
        self.now_ns += after_ns
        self.status.tell([self.handle], self.now_ns)
        kept = self.valkey.hget(STATUS_KEY, "postgres")
        return None if kept is None else json.loads(kept)


@pytest.fixture
def desk(servers):
    name = f"status{os.getpid()}"
    segment, wiring = Segment.create(name, "pulses", PulsePage.segment_bytes(["scheduler"])), Wiring(name)
    desk = Desk(servers.redis_url, wiring, PulsePage.create(segment, ["scheduler"]))
    desk.valkey.delete(WATCHED_KEY)
    desk.look(0)
    desk.look(WATCHED_EVERY_NS)
    yield desk
    desk.valkey.delete(STATUS_KEY, WATCHED_KEY)
    desk.valkey.close()
    wiring.close()
    segment.close()
    segment.unlink()


def test_figures_that_nobody_asks_for_are_told_every_five_seconds(desk):
    told = [desk.look(UNWATCHED_EVERY_NS) is not None for _ in range(20)]
    assert told.count(True) == 4


def test_who_begins_to_look_gets_figures_within_a_second_and_then_four_a_second(desk):
    assert desk.look(UNWATCHED_EVERY_NS) is None
    desk.valkey.set(WATCHED_KEY, 1)
    assert desk.look(UNWATCHED_EVERY_NS)["memory_bytes"] > 0
    assert [desk.look(WATCHED_EVERY_NS) is not None for _ in range(8)] == [True] * 8
    desk.valkey.delete(WATCHED_KEY)
    desk.look(WATCHED_EVERY_NS)
    assert desk.look(WATCHED_EVERY_NS) is None


def test_what_could_not_be_told_is_told_as_soon_as_valkey_is_back(desk):
    away, there = redis.Redis.from_url("redis://127.0.0.1:1"), desk.status._redis
    desk.handle.start(1)
    desk.status._redis = away
    assert desk.look(UNWATCHED_EVERY_NS) is None
    desk.status._redis = there
    assert desk.look(UNWATCHED_EVERY_NS)["restarts"] == 1
    away.close()


def test_a_child_that_was_started_again_is_told_of_although_nobody_looks(desk):
    assert desk.look(UNWATCHED_EVERY_NS) is None
    desk.handle.start(1)
    assert desk.look(UNWATCHED_EVERY_NS)["restarts"] == 1
    desk.handle.pid = 0
    assert desk.look(UNWATCHED_EVERY_NS)["state"] == "stopped"
    assert desk.look(UNWATCHED_EVERY_NS) is None
