import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmsync import ids
from swarmsync.ids import EPOCH_MS, IdSource

NUMBERS = st.integers(0, (1 << 63) - 1)
LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"


class Wall:
    """A clock that the test sets."""

    def __init__(self, now_ms=EPOCH_MS + 1_000):
        self.now_ms = now_ms

    def __call__(self):
        return self.now_ms


@given(NUMBERS)
def test_an_id_comes_back(number):
    text = ids.encode(number)
    assert len(text) == 13
    assert ids.decode(text) == number


@given(NUMBERS, NUMBERS)
def test_text_order_is_number_order(one, other):
    assert (ids.encode(one) < ids.encode(other)) == (one < other)


@pytest.mark.parametrize("number", [-1, 1 << 63])
def test_what_is_no_63_bit_number_has_no_text(number):
    with pytest.raises(ValueError, match="63-bit"):
        ids.encode(number)


@pytest.mark.parametrize(
    "text", ["", "0", "0" * 12, "0" * 14, "000000000000U", "000000000000i", "z" * 13, "8" + "0" * 12, "0" * 12 + "\n"]
)
def test_what_is_no_id_decodes_to_nothing(text):
    assert ids.decode(text) is None


@given(st.text(max_size=15))
def test_any_text_is_an_id_or_nothing(text):
    number = ids.decode(text)
    assert number is None or ids.encode(number) == text


@given(NUMBERS, st.integers(1, 13), NUMBERS)
def test_a_prefix_range_holds_exactly_the_ids_with_the_prefix(number, length, other):
    prefix = ids.encode(number)[:length]
    low, high = ids.prefix_range(prefix)
    assert low <= number <= high
    assert (low <= other <= high) == ids.encode(other).startswith(prefix)


@given(st.text(LETTERS, min_size=1, max_size=13))
def test_a_prefix_has_a_range_exactly_when_an_id_can_begin_so(prefix):
    possible = prefix[0] in "01234567"
    assert (ids.prefix_range(prefix) is not None) == possible


@pytest.mark.parametrize("prefix", ["", "0" * 14, "u", "A", "0 ", "-"])
def test_what_no_id_begins_with_has_no_range(prefix):
    assert ids.prefix_range(prefix) is None


def test_ten_thousand_ids_of_one_millisecond_grow():
    source = IdSource(7, Wall())
    made = [source.next() for _ in range(10_000)]
    assert made == sorted(set(made))


@given(st.lists(st.integers(-5_000, 5_000), max_size=60))
def test_ids_grow_however_the_clock_steps(steps_ms):
    wall = Wall()
    source = IdSource(3, wall)
    made = [source.next()]
    for step_ms in steps_ms:
        wall.now_ms += step_ms
        made.append(source.next())
    assert made == sorted(set(made))


def test_a_clock_before_the_epoch_still_makes_ids():
    wall = Wall(0)
    source = IdSource(0, wall)
    assert 0 < source.next() < source.next()


def test_two_generators_never_make_the_same_id():
    wall = Wall()
    one, other = IdSource(1, wall), IdSource(2, wall)
    made = [source.next() for _ in range(5_000) for source in (one, other)]
    assert len(set(made)) == len(made)


def test_generator_numbers_wrap_into_ten_bits():
    wall = Wall()
    assert IdSource(5, wall).next() == IdSource(5 + ids.GENERATORS, wall).next()


def test_later_ids_sort_behind_those_of_any_other_generator():
    wall = Wall()
    early = IdSource(1_023, wall).next()
    wall.now_ms += 1
    assert ids.encode(early) < ids.encode(IdSource(0, wall).next())


def test_ids_last_until_2093():
    last_ms = EPOCH_MS + (1 << 41) - 1
    assert ids.decode(ids.encode(IdSource(1_023, Wall(last_ms)).next())) is not None
    assert last_ms > 3_881_520_000_000  # 2093-01-01


def test_the_text_is_the_number_in_base_32_of_thirteen_letters():
    for number in (0, 1, 31, 32, 1_023, 1_024, (1 << 60) - 1, 1 << 60, (1 << 63) - 1, 0x1234_5678_9ABC_DEF0):
        digits = [number >> shift & 31 for shift in range(60, -1, -5)]
        assert ids.encode(number) == "".join("0123456789abcdefghjkmnpqrstvwxyz"[digit] for digit in digits)
