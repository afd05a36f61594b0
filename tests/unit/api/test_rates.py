from hypothesis import given
from hypothesis import strategies as st

from api import rates
from api.rates import Rates

ONE, TWO = b"1" * 32, b"2" * 32


def test_a_burst_passes_and_then_one_at_a_time():
    limit = Rates(per_s=10, burst=3)
    assert [limit.take(ONE, 0) for _ in range(5)] == [0, 0, 0, 100, 100]
    assert [limit.take(ONE, 100) for _ in range(2)] == [0, 100]
    assert limit.take(TWO, 100) == 0


@given(st.lists(st.integers(0, 50), max_size=300))
def test_no_schedule_of_requests_gets_more_than_burst_and_rate(pauses):
    limit, now, passed = Rates(per_s=100, burst=5), 0, 0
    for pause in pauses:
        now += pause
        passed += limit.take(ONE, now) == 0
    assert passed <= 5 + now / 10


@given(st.lists(st.integers(0, 50), max_size=100))
def test_who_waits_as_told_is_let_in(pauses):
    limit, now = Rates(per_s=100, burst=3), 0
    for pause in pauses:
        now += pause
        wait = limit.take(ONE, now)
        if wait:
            now += wait
            assert limit.take(ONE, now) == 0


def test_many_tokens_do_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(rates, "TRACKED_MAX", 4)
    limit = Rates(per_s=1, burst=1)
    assert [limit.take(bytes([number]), 0) for number in range(6)] == [0, 0, 0, 0, 1_000, 1_000]
    assert limit.take(b"x", 1_000) == 0
