import os
from itertools import count

import pytest

from engine.pulse_system.pulse_page import ModuleState, PulsePage
from engine.shared_resource.segment import Segment, unlink_leftovers

MODULES = ("scheduler", "harvester")
MS = 1_000_000
_numbers = count()


@pytest.fixture
def instance():
    name = f"pulse_{os.getpid()}_{next(_numbers)}"
    yield name
    unlink_leftovers(name)


@pytest.fixture
def page(instance):
    return PulsePage.create(Segment.create(instance, "pulses", PulsePage.segment_bytes(MODULES)), MODULES)


def test_a_beat_is_seen_by_who_knows_only_the_name(page, instance):
    page.expect("scheduler", epoch=5, now_ns=100 * MS)
    page.started("scheduler", pid=4711)
    slot = page.slot("scheduler")
    slot.enter(ModuleState.RUNNING, 150 * MS)
    slot.beat(170 * MS)
    slot.beat(200 * MS)
    seen = PulsePage.attach(Segment.attach(instance, "pulses"))
    assert seen.modules == MODULES
    pulse = seen.read("scheduler")
    assert (pulse.pid, pulse.epoch, pulse.restarts, pulse.turns) == (4711, 5, 0, 2)
    assert (pulse.state, pulse.pulse_ns, pulse.started_ns) == (ModuleState.RUNNING, 200 * MS, 100 * MS)
    assert pulse.age_ms(1_234 * MS + 999_999) == 1_034
    assert [pulse.module for pulse in seen.read_all()] == list(MODULES)
    assert seen.read("harvester").pid == 0


def test_until_the_first_beat_age_counts_from_the_start(page):
    page.expect("scheduler", epoch=1, now_ns=500 * MS)
    pulse = page.read("scheduler")
    assert (pulse.state, pulse.pulse_ns, pulse.age_ms(700 * MS)) == (ModuleState.STARTING, 0, 200)


def test_the_pulse_of_a_predecessor_counts_for_nothing(page):
    page.expect("scheduler", epoch=1, now_ns=100 * MS)
    page.slot("scheduler").enter(ModuleState.RUNNING, 200 * MS)
    page.gone("scheduler")
    assert page.read("scheduler").pid == 0
    page.expect("scheduler", epoch=2, now_ns=9_000 * MS)
    pulse = page.read("scheduler")
    assert (pulse.state, pulse.restarts, pulse.epoch) == (ModuleState.STARTING, 1, 2)
    assert pulse.age_ms(9_100 * MS) == 100


def test_a_replaced_process_can_see_it(page):
    page.expect("scheduler", epoch=1, now_ns=1)
    slot = page.slot("scheduler")
    assert slot.epoch() == 1
    page.expect("scheduler", epoch=2, now_ns=2)
    assert slot.epoch() == 2


def test_a_beat_after_the_readers_clock_is_no_negative_age(page):
    page.expect("scheduler", epoch=1, now_ns=1)
    page.slot("scheduler").beat(10 * MS)
    assert page.read("scheduler").age_ms(9 * MS) == 0


def test_a_damaged_state_does_not_fell_the_supervisor(page, instance):
    page.expect("scheduler", epoch=1, now_ns=1)
    page.slot("scheduler").enter(77, 2)
    assert page.read("scheduler").state is ModuleState.STARTING


def test_modules_do_not_touch_each_other(page):
    for number, module in enumerate(MODULES, 1):
        page.expect(module, epoch=number, now_ns=number)
        page.started(module, pid=number * 10)
        page.slot(module).enter(ModuleState(number), number * 100)
    assert [(p.epoch, p.pid, p.state, p.pulse_ns) for p in page.read_all()] == [(1, 10, 1, 100), (2, 20, 2, 200)]


def test_unknown_modules_are_refused(page):
    with pytest.raises(KeyError):
        page.slot("nobody")


def test_the_lag_of_each_beat_is_seen(page):
    page.expect("scheduler", epoch=1, now_ns=1)
    page.slot("scheduler").lagged("medium", 7 * MS)
    assert page.read("scheduler").lag_ns == {"fast": 0, "medium": 7 * MS, "slow": 0}
