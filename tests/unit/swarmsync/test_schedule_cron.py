"""Cron texts: what is read, what is refused and with which words, and what `H` becomes."""

from itertools import pairwise

import pytest

from swarmsync.model.cron import ALIASES, CronError, read_rule


def test_five_fields_begin_with_the_minute():
    rule = read_rule("5 4 1 2 *", "n")
    assert (rule.seconds, rule.minutes, rule.hours) == ((0,), (5,), (4,))
    assert (rule.days, rule.months, rule.weekdays) == ({1}, {2}, None)


def test_six_fields_begin_with_the_second():
    rule = read_rule("30 5 4 * * *", "n")
    assert (rule.seconds, rule.minutes, rule.hours) == ((30,), (5,), (4,))


@pytest.mark.parametrize(("alias", "text"), ALIASES.items())
def test_aliases_stand_for_five_fields(alias: str, text: str):
    assert read_rule(alias, "n") == read_rule(text, "n")


@pytest.mark.parametrize(
    "text", ["*/5 * * * *", "* 2 * * *", "0 * * * *", "0 */2 * * *", "H/15 * * * *", "0-10/5 2 * * *"]
)
def test_a_star_or_a_step_in_minute_or_hour_runs_by_elapsed_time(text: str):
    assert read_rule(text, "n").elapsed


@pytest.mark.parametrize(
    "text", ["30 2 * * *", "0,30 2 * * *", "0-30 2-4 * * *", "H H * * *", "*/10 30 2 * * *", "0 2 */2 * *"]
)
def test_everything_else_runs_by_the_clock_on_the_wall(text: str):
    assert not read_rule(text, "n").elapsed


def test_sunday_is_0_and_7():
    assert read_rule("0 0 * * 7", "n").weekdays == read_rule("0 0 * * 0", "n").weekdays == {0}
    assert read_rule("0 0 * * sun", "n").weekdays == {0}


def test_h_depends_on_the_name_and_on_nothing_else():
    assert read_rule("H H * * *", "backup") == read_rule("H H * * *", "backup")
    minutes = {read_rule("H * * * *", f"job-{number}").minutes for number in range(300)}
    assert len(minutes) > 50


def test_h_of_two_columns_are_two_numbers():
    pairs = {(rule.minutes[0] % 24, rule.hours[0]) for rule in (read_rule("H H * * *", f"j{n}") for n in range(50))}
    assert any(minute != hour for minute, hour in pairs)


def test_h_stays_in_its_range():
    for number in range(100):
        rule = read_rule("H(10-14) H(0-3) H * *", f"job-{number}")
        assert 10 <= rule.minutes[0] <= 14
        assert 0 <= rule.hours[0] <= 3
        assert rule.days is not None
        assert max(rule.days) <= 28


def test_h_with_a_step_starts_at_its_own_minute():
    for number in range(30):
        minutes = read_rule("H/15 * * * *", f"job-{number}").minutes
        assert len(minutes) == 4
        assert {later - earlier for earlier, later in pairwise(minutes)} == {15}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has 0 fields"),
        ("* * * *", "has 4 fields; write five"),
        ("* * * * * * *", "has 7 fields"),
        ("60 * * * *", "minute '60' is not allowed; write 0-59"),
        ("* 24 * * *", "hour '24' is not allowed; write 0-23"),
        ("* * 0 * *", "day of month '0' is not allowed"),
        ("* * * 13 *", "month '13' is not allowed; write 1-12 or jan-dec"),
        ("* * * * 8", "day of week '8' is not allowed"),
        ("60 * * * * *", "second '60' is not allowed"),
        ("R * * * *", "minute 'R'"),
        ("*/0 * * * *", "minute '*/0'"),
        ("H(50-70) * * * *", "minute 'H(50-70)'"),
        ("H(5-2) * * * *", "minute 'H(5-2)'"),
        ("? * * * *", "minute '?'"),
        ("* * * * fri#6", "day of week 'fri#6'"),
        ("@often", "'@often' is not known; write one of @yearly"),
        ("1,,2 * * * *", "minute '1,,2'"),
        ("\u0661 * * * *", "minute"),
    ],
)
def test_a_refusal_names_the_field_and_what_is_allowed(text: str, words: str):
    with pytest.raises(CronError) as caught:
        read_rule(text, "n")
    assert words in str(caught.value)
