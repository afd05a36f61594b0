import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.pulse_system.liveness import Fine, Hung, Kill, Late, Limits, Watch, judge

LIMITS = Limits(late_ms=1_500, abort_ms=3_000, kill_ms=4_000)


def _look_all(ages, step_ms=500, watch=None):
    """Judge one age per look, a step apart."""
    watch = watch or Watch()
    verdicts = []
    for look, age_ms in enumerate(ages):
        watch, verdict = judge(watch, age_ms, look * step_ms, LIMITS)
        verdicts.append(verdict)
    return verdicts


@pytest.mark.parametrize(
    ("age_ms", "verdict"),
    [
        (0, Fine()),
        (1_499, Fine()),
        (1_500, Late(1_500, warn=True)),
        (2_999, Late(2_999, warn=True)),
        (3_000, Hung(3_000, abort=True)),
        (90_000, Hung(90_000, abort=True)),
    ],
)
def test_the_first_look(age_ms, verdict):
    assert judge(Watch(), age_ms, 1_000_000, LIMITS)[1] == verdict


def test_a_module_that_stops_goes_down_the_whole_ladder():
    assert _look_all([0, 500, 1_000, 1_500, 2_000, 2_500, 3_000, 3_500, 4_000, 4_500]) == [
        Fine(),
        Fine(),
        Fine(),
        Late(1_500, warn=True),
        Late(2_000, warn=False),
        Late(2_500, warn=False),
        Hung(3_000, abort=True),
        Hung(3_500, abort=False),
        Kill(4_000),
        Kill(4_500),
    ]


def test_who_beats_again_is_fine_and_is_warned_about_the_next_time():
    assert _look_all([1_600, 100, 1_700]) == [Late(1_600, warn=True), Fine(), Late(1_700, warn=True)]


def test_an_aborted_process_has_no_way_back():
    assert _look_all([3_000, 0, 0]) == [Hung(3_000, abort=True), Hung(0, abort=False), Kill(0)]


def test_everybody_is_excused_when_the_supervisor_itself_stood_still():
    watch, _ = judge(Watch(), 100, 0, LIMITS)
    watch, verdict = judge(watch, 60_100, 60_000, LIMITS)
    assert verdict == Fine()
    watch, verdict = judge(watch, 61_000, 61_000, LIMITS)
    assert verdict == Fine()
    watch, verdict = judge(watch, 61_500, 61_500, LIMITS)
    assert verdict == Late(1_500, warn=True)
    watch, verdict = judge(watch, 63_000, 63_000, LIMITS)
    assert verdict == Hung(3_000, abort=True)


def test_an_aborted_process_gets_its_time_for_the_traceback_after_a_standstill_too():
    watch, _ = judge(Watch(), 3_000, 0, LIMITS)
    watch, verdict = judge(watch, 63_000, 60_000, LIMITS)
    assert verdict == Hung(0, abort=False)
    _, verdict = judge(watch, 64_000, 61_000, LIMITS)
    assert verdict == Kill(1_000)


@pytest.mark.parametrize(("late", "abort", "kill"), [(0, 1, 2), (2, 1, 3), (1, 3, 2), (1, 1, 2)])
def test_limits_must_grow(late, abort, kill):
    with pytest.raises(ValueError, match="must grow"):
        Limits(late, abort, kill)


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 3_000)), max_size=60))
def test_whatever_happens_abort_comes_once_and_before_kill(looks):
    watch, now_ms = Watch(), 0
    aborted_at_ms = None
    for age_ms, step_ms in looks:
        now_ms += step_ms
        watch, verdict = judge(watch, age_ms, now_ms, LIMITS)
        match verdict:
            case Hung(abort=True):
                assert aborted_at_ms is None
                assert age_ms >= LIMITS.abort_ms
                aborted_at_ms = now_ms
            case Kill():
                assert aborted_at_ms is not None
                assert now_ms - aborted_at_ms >= LIMITS.kill_ms - LIMITS.abort_ms
            case Late():
                assert aborted_at_ms is None
                assert age_ms >= LIMITS.late_ms
            case Fine():
                assert aborted_at_ms is None


@given(st.integers(1, 1_500))
def test_a_silent_process_is_always_killed_in_time(step_ms):
    watch, now_ms = Watch(), 0
    while now_ms <= LIMITS.kill_ms + 2 * step_ms:
        watch, verdict = judge(watch, now_ms, now_ms, LIMITS)
        if isinstance(verdict, Kill):
            return
        now_ms += step_ms
    pytest.fail("nobody killed it")
