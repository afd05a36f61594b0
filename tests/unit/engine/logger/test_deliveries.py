"""Attempts and what becomes of them."""

from hypothesis import given
from hypothesis import strategies as st

from engine.logger.deliveries import PAUSE_MAX_S, Again, Attempt, Delivered, GaveUp, Gone, judge, pause


def after(status, *, tries=1, age_s=0.0, retry_after=""):
    attempt = Attempt(status, "", retry_after)
    return judge(attempt, tries=tries, age_s=age_s, retry_s=86_400, chance=0.5)


def test_any_success_is_a_delivery():
    assert after(200) == after(204) == after(299) == Delivered()


def test_redirects_refusals_and_silence_are_tried_again():
    assert {type(after(status)) for status in (0, 199, 301, 308, 400, 401, 404, 500)} == {Again}


def test_gone_is_the_end_of_the_webhook():
    assert after(410) == Gone()


def test_pauses_double_up_to_an_hour():
    assert [pause(tries, 0.5) for tries in (1, 2, 3, 4)] == [5, 10, 20, 40]
    assert pause(50, 0.5) == PAUSE_MAX_S


def test_a_wish_for_a_pause_is_heeded_within_limits():
    assert after(429, retry_after="90") == Again(90)
    assert after(503, retry_after="999999") == Again(PAUSE_MAX_S)
    assert after(503, retry_after="1") == after(503, retry_after="soon") == after(500, retry_after="90") == Again(5)


def test_what_would_come_too_late_is_given_up():
    assert after(500, tries=20, age_s=82_800) == Again(3_600)
    assert after(500, tries=20, age_s=82_801) == GaveUp()


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_a_pause_is_spread_and_bounded(tries, chance):
    whole = pause(tries, 0.5)
    assert 0.8 * whole <= pause(tries, chance) <= 1.2 * whole <= 1.2 * PAUSE_MAX_S
