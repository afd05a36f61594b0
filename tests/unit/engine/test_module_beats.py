"""How often a module that nobody wakes looks at what it has, and says that it lives."""

from types import SimpleNamespace

import pytest
from rigs import Rig

from engine.hibernator.service import HibernatorService
from engine.pulse_system.pulses import Beat


@pytest.fixture
def service():
    return Rig(HibernatorService).service


@pytest.mark.parametrize(
    ("frames", "leads", "restless", "wakes"),
    [(False, True, False, 0), (True, True, False, 1), (False, False, False, 1), (False, True, True, 1)],
)
def test_a_fast_pulse_wakes_a_module_for_a_reason_only(service, monkeypatch, frames, leads, restless, wakes):
    """A ring that was missed is one: nobody else would look before the medium pulse."""
    woken, beats = [], []
    ring = SimpleNamespace(has_frames=lambda: frames)
    monkeypatch.setattr(service, "readers", {"any": SimpleNamespace(end=SimpleNamespace(ring=ring))})
    monkeypatch.setattr(service, "restless", lambda: restless)
    monkeypatch.setattr(service, "_leads", lambda: leads)
    monkeypatch.setattr(service, "_bell", SimpleNamespace(wake=lambda: woken.append(1)))
    monkeypatch.setattr(service, "_beat", lambda: beats.append(1))
    left_out = []
    for sleeping in (False, True):  # who works looks for itself when the turn is over
        service._sleeping = sleeping
        service._on_fast()
        left_out.append(service._skips)
    assert (len(woken), len(beats)) == (wakes, 2)
    assert left_out == [0, 0 if wakes else 2]  # an idle one beats each 300 ms


@pytest.mark.parametrize("woken", [True, False])
@pytest.mark.parametrize(("skips", "restless", "sooner"), [(0, True, False), (2, False, False), (2, True, True)])
async def test_a_reason_that_comes_up_while_beats_are_left_out_waits_for_one_fast_pulse_only(
    service, monkeypatch, skips, restless, sooner, woken
):
    """Also in a module that is woken again and again before a fast pulse is over."""
    slept, now = [], [100.0]

    async def wait_any(_ends, timeout_s, backstop_s, *, also):
        slept.append((timeout_s, backstop_s, also))
        now[0] += timeout_s / 2 if woken else timeout_s
        return woken

    monkeypatch.setattr("engine.service.wait_any", wait_any)
    monkeypatch.setattr("engine.service.time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(service, "readers", {})
    monkeypatch.setattr(service, "_bell", "bell")
    monkeypatch.setattr(service, "restless", lambda: restless)
    service._fast_is_due()
    service._skips = skips
    service._due.clear()
    await service._sleep()
    span_s = pytest.approx(0.1) if sooner else 1
    assert slept == [(span_s, span_s, {"bell"})]
    assert (Beat.FAST in service._due) is (sooner and not woken)
    now[0] += 0.06
    await service._sleep()
    assert (Beat.FAST in service._due) is sooner
    assert len(slept) == 2
    assert slept[1][0] < 0.1 or not (sooner and woken)
