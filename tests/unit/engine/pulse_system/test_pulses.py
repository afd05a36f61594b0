import asyncio
import heapq

import pytest
import uvloop

from conf.settings import PulseSettings
from engine.pulse_system.pulses import Beat, Pulses

MS = 1_000_000


class FakeTime:
    """Time that stands still until everybody sleeps, then jumps to the next waking."""

    def __init__(self):
        self.now_ns = 77 * MS
        self.sleeping = []
        self.order = 0

    def monotonic_ns(self):
        return self.now_ns

    async def sleep_ns(self, duration_ns):
        wake = asyncio.get_running_loop().create_future()
        self.order += 1
        heapq.heappush(self.sleeping, (self.now_ns + duration_ns, self.order, wake))
        await wake

    async def run_for_ms(self, duration_ms):
        end_ns = self.now_ns + duration_ms * MS
        for _ in range(5):
            await asyncio.sleep(0)
        while self.sleeping and self.sleeping[0][0] <= end_ns:
            self.now_ns, _, wake = heapq.heappop(self.sleeping)
            if not wake.done():
                wake.set_result(None)
            for _ in range(5):
                await asyncio.sleep(0)
        self.now_ns = max(self.now_ns, end_ns)


@pytest.fixture
def timeline():
    return FakeTime()


@pytest.fixture
def pulses(timeline):
    return Pulses(PulseSettings(), timeline)


@pytest.fixture
def beats(timeline):
    """Milliseconds since the start at which something beat."""
    start_ns = timeline.now_ns
    seen = []
    seen_at = lambda: seen.append((timeline.now_ns - start_ns) // MS)  # noqa: E731 it must stay beside `seen`
    return seen, seen_at


async def _run(pulses, timeline, duration_ms):
    running = asyncio.ensure_future(pulses.run())
    await timeline.run_for_ms(duration_ms)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.mark.parametrize(("beat", "period_ms"), [(Beat.FAST, 100), (Beat.MEDIUM, 1_000), (Beat.SLOW, 10_000)])
async def test_each_beat_keeps_its_rate(pulses, timeline, beats, beat, period_ms):
    seen, see = beats
    pulses.wake_every(beat, see)
    await _run(pulses, timeline, 5 * period_ms)
    assert seen == [period_ms * n for n in range(1, 6)]
    assert pulses.missed_beats == 0


async def test_work_within_the_period_does_not_make_it_drift(pulses, timeline, beats):
    seen, see = beats

    async def work():
        see()
        await timeline.sleep_ns(60 * MS)

    pulses.every(Beat.FAST, work)
    await _run(pulses, timeline, 1_000)
    assert seen == list(range(100, 1_001, 100))


async def test_a_late_call_misses_beats_instead_of_piling_up(pulses, timeline, beats):
    seen, see = beats
    durations = iter([350, 0, 0, 100, 0, 0])

    async def work():
        see()
        await timeline.sleep_ns(next(durations) * MS)

    pulses.every(Beat.FAST, work)
    await _run(pulses, timeline, 900)
    assert seen == [100, 500, 600, 700, 900]
    assert pulses.missed_beats == 3 + 1


async def test_a_loop_that_stood_still_goes_on_with_the_grid(pulses, timeline, beats):
    seen, see = beats

    def stand_still_once():
        see()
        if len(seen) == 2:
            timeline.now_ns += 1_030 * MS

    pulses.wake_every(Beat.FAST, stand_still_once)
    await _run(pulses, timeline, 1_500)
    assert seen == [100, 200, 1_300, 1_400, 1_500]
    assert pulses.missed_beats == 10


async def test_a_timer_that_fires_early_loses_no_beat(pulses, timeline, beats):
    seen, see = beats
    exact = timeline.sleep_ns
    timeline.sleep_ns = lambda duration_ns: exact(max(duration_ns - MS, 0))
    pulses.wake_every(Beat.FAST, see)
    await _run(pulses, timeline, 400)
    assert seen == [99, 199, 299, 399]


async def test_who_has_nothing_to_do_leaves_beats_out_and_misses_none(pulses, timeline, beats):
    seen, see = beats
    skips = iter([0, 4, 0, 2, 0])
    pulses.wake_every(Beat.FAST, see, lambda: next(skips))
    await _run(pulses, timeline, 1_000)
    assert seen == [100, 200, 700, 800]
    assert pulses.missed_beats == 0


async def test_a_slow_call_delays_no_other(pulses, timeline, beats):
    seen, see = beats

    async def never_done():
        await timeline.sleep_ns(10**18)

    pulses.every(Beat.FAST, never_done)
    pulses.wake_every(Beat.FAST, see)
    await _run(pulses, timeline, 500)
    assert seen == [100, 200, 300, 400, 500]


async def test_a_call_that_raises_ends_all_beats(pulses, timeline):
    ended = []

    async def work():
        try:
            await timeline.sleep_ns(10**18)
        finally:
            ended.append("work")

    def fail():
        raise RuntimeError("a bug")

    pulses.every(Beat.FAST, work)
    pulses.wake_every(Beat.FAST, fail)
    running = asyncio.ensure_future(pulses.run())
    await timeline.run_for_ms(150)
    with pytest.raises(ExceptionGroup) as caught:
        await running
    assert caught.group_contains(RuntimeError, match="a bug")
    assert ended == ["work"]


async def test_settings_are_obeyed(timeline, beats):
    seen, see = beats
    pulses = Pulses(PulseSettings(fast_ms=7), timeline)
    pulses.wake_every(Beat.FAST, see)
    await _run(pulses, timeline, 21)
    assert seen == [7, 14, 21]


def test_it_beats_in_real_time_under_uvloop():
    async def story():
        done = asyncio.Event()
        seen = []

        def beat():
            seen.append(None)
            if len(seen) == 5:
                done.set()

        pulses = Pulses(PulseSettings(fast_ms=2))
        pulses.wake_every(Beat.FAST, beat)
        running = asyncio.ensure_future(pulses.run())
        start_s = asyncio.get_running_loop().time()
        await done.wait()
        running.cancel()
        return asyncio.get_running_loop().time() - start_s

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(story()) >= 0.008


async def test_each_beat_says_how_late_it_came(timeline):
    told = []
    pulses = Pulses(PulseSettings(), timeline, lambda beat, lag_ns: told.append((beat, lag_ns)))

    async def busy() -> None:
        timeline.now_ns += 250 * MS

    pulses.every(Beat.FAST, busy)
    running = asyncio.create_task(pulses.run())
    await timeline.run_for_ms(800)
    running.cancel()
    assert told[0] == (Beat.FAST, 0)
    assert {beat for beat, _ in told} == {Beat.FAST}
