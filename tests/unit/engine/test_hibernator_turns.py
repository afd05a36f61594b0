"""Turns of the Hibernator: what it asks PostgreSQL for, by what the timetable says."""

from types import SimpleNamespace

import pytest
from rigs import Rig

from engine.hibernator.service import HibernatorService
from engine.pulse_system.pulses import Beat
from swarmsync.errors import Unavailable

PRESSING = ["expire", "deadlines", "schedule_waiting"]
DUE = ["schedule_due", "due"]


def table(until_ms, *, pressing=False):
    return [{"pressing": pressing, "until_ms": until_ms}]


@pytest.fixture
async def rig():
    rig = Rig(HibernatorService)
    rig.service._ids = SimpleNamespace(next=lambda: 1)
    rig.service._due.clear()
    yield rig
    if rig.service._alarm is not None:
        rig.service._alarm.cancel()


@pytest.mark.parametrize(
    ("tables", "medium", "calls"),
    [
        ([table(None)], True, ["timetable"]),
        ([table(60_000)], True, ["timetable"]),
        ([table(None, pressing=True)], True, ["timetable", *PRESSING]),
        ([table(None, pressing=True)], False, ["timetable"]),
        ([table(0), table(500)], False, ["timetable", *DUE, "timetable"]),
        ([table(-9, pressing=True), table(None)], True, ["timetable", *PRESSING, *DUE, "timetable"]),
    ],
)
async def test_it_looks_closer_where_something_presses_at_a_medium_pulse_and_where_something_is_due(
    rig, tables, medium, calls
):
    rig.store.answers["timetable"] = tables
    if medium:
        rig.service._due.add(Beat.MEDIUM)
    await rig.service.duty()
    assert rig.store.calls == calls


async def test_until_the_next_is_due_it_asks_nothing_but_for_the_medium_pulse(rig, monkeypatch):
    now = [10_000]
    monkeypatch.setattr(rig.service.clock, "monotonic_ms", lambda: now[0])
    rig.store.answers["timetable"] = [table(400), table(0), table(None)]
    asked = []
    for at_ms, beat in ((10_000, None), (10_399, None), (10_399, Beat.MEDIUM), (10_400, None)):
        now[0] = at_ms
        rig.service._due |= {beat} - {None}
        rig.store.calls.clear()
        await rig.service.duty()
        asked.append(rig.store.calls.count("timetable"))
    assert asked == [1, 0, 2, 0]


async def test_a_look_that_failed_is_made_again_at_once(rig):
    rig.store.answers["timetable"] = [Unavailable("away"), table(None)]
    with pytest.raises(Unavailable):
        await rig.service.duty()
    await rig.service.duty()
    assert rig.store.calls == ["timetable", "timetable"]
