import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.hibernator.due import LOOK_MS_MAX, next_look_ms


@pytest.mark.parametrize(
    ("until_due_ms", "found", "wait_ms"),
    [
        (None, 0, LOOK_MS_MAX),
        (250, 0, 250),
        (250, 9, 250),
        (-40, 3, 0),
        (0, 0, 0),
        (86_400_000, 0, LOOK_MS_MAX),
        (250, 10, 0),
        (None, 10, 0),
        (86_400_000, 11, 0),
    ],
)
def test_how_long_to_wait(until_due_ms, found, wait_ms):
    assert next_look_ms(until_due_ms, found, limit=10) == wait_ms


@given(st.none() | st.integers(), st.integers(0, 20))
def test_the_wait_is_never_negative_and_never_longer_than_somebody_else_may_take(until_due_ms, found):
    assert 0 <= next_look_ms(until_due_ms, found, limit=10) <= LOOK_MS_MAX
