import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmsync.model.resources import (
    DURATION_MAX_MS,
    NOTHING,
    SIZE_MAX,
    Need,
    format_cpus,
    format_duration,
    format_size,
    parse_duration_ms,
    parse_size,
)

AMOUNTS = st.integers(0, 6)
NEEDS = st.builds(Need, AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS)


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("90s", 90_000), ("15m", 900_000), ("2h", 7_200_000), ("1d", 86_400_000), ("250ms", 250),
        ("1h30m", 5_400_000), ("1h 30m", 5_400_000), (" 5s ", 5_000), ("1.5h", 5_400_000), ("0.0004s", 0), ("0s", 0),
        ("1d2h3m4s5ms", 93_784_005),
    ],
)  # fmt: skip
def test_durations_as_people_write_them(text, milliseconds):
    assert parse_duration_ms(text) == milliseconds


@pytest.mark.parametrize(
    "text", ["", "5", "s", "5 s", "-5s", "5S", "1w", "1h30", "1e3s", "1.s", ".5s", "5s!", "1" * 13 + "s"]
)
def test_what_is_no_duration_says_how_to_write_one(text):
    with pytest.raises(ValueError, match="write it like 90s, 15m, 2h or 1d"):
        parse_duration_ms(text)


def test_a_duration_ends_at_ten_years():
    assert parse_duration_ms("3650d") == DURATION_MAX_MS
    with pytest.raises(ValueError, match="longer than 10 years"):
        parse_duration_ms("3650d1ms")


@given(st.integers(0, DURATION_MAX_MS))
def test_durations_come_back_exactly(milliseconds):
    assert parse_duration_ms(format_duration(milliseconds)) == milliseconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("256MiB", 256 << 20), ("1GiB", 1 << 30), ("512m", 512 << 20), ("2g", 2 << 30), ("1.5GiB", 3 << 29),
        ("1024", 1024), ("7b", 7), ("3KB", 3 << 10), ("1 gib", 1 << 30), ("1TiB", 1 << 40), ("0", 0),
    ],
)  # fmt: skip
def test_sizes_as_people_and_docker_write_them(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MiB", "-1m", "1e9", "1.m", "5 MiB x", "1PiB", "12MiBs", "0x10"])
def test_what_is_no_size_says_how_to_write_one(text):
    with pytest.raises(ValueError, match="write it like 256MiB, 1GiB or 512m"):
        parse_size(text)


def test_a_size_ends_at_one_pebibyte():
    assert parse_size("1024TiB") == SIZE_MAX
    with pytest.raises(ValueError, match="more than 1 PiB"):
        parse_size("1025TiB")


@given(st.integers(0, 1 << 20), st.sampled_from([1, 1 << 10, 1 << 20, 1 << 30]))
def test_a_size_in_whole_units_comes_back_exactly(count, unit):
    size = count * unit
    if size < 1024 or (size % 1024 == 0 and format_size(size)[:-3].isdigit()):
        assert parse_size(format_size(size)) == size


@given(st.integers(0, SIZE_MAX))
def test_a_shown_size_is_right_to_a_twentieth_of_its_unit(size):
    assert abs(parse_size(format_size(size)) - size) <= max(0.0501 * size, 0)


@pytest.mark.parametrize(("milli", "text"), [(1_000, "1"), (500, "0.5"), (1, "0.001"), (64_000, "64")])
def test_cpus_are_shown_without_needless_digits(milli, text):
    assert format_cpus(milli) == text


@given(NEEDS, NEEDS)
def test_what_fits_lacks_nothing(need, free):
    assert need.fits(free) == (need.lacks(free) == ())


@given(NEEDS, NEEDS)
def test_lacks_names_every_resource_that_is_short(need, free):
    short = {name for name in ("cpus", "memory", "gpus", "disk") if _amount(need, name) > _amount(free, name)}
    assert set(need.lacks(free)) == short


@given(NEEDS, NEEDS)
def test_plus_and_minus_undo_each_other(one, other):
    assert one.plus(other).minus(other) == one
    assert one.plus(NOTHING) == one


def _amount(need, name):
    return {"cpus": need.cpus_milli, "memory": need.memory_bytes, "gpus": need.gpus, "disk": need.disk_bytes}[name]
