"""What a page of jobs is asked for with."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmsync.model.lifecycle import FINAL, WAITING, JobState
from swarmsync.store.job_pages import JobFilter, after_all, statement
from swarmsync.store.users import Caller

ANN = Caller(7, "ann", "user")
ADMIN = Caller(1, "admin", "admin")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


@given(start=TEXT, rest=TEXT, other=TEXT)
def test_what_begins_with_a_text_lies_before_what_is_after_all_of_it(start, rest, other):
    """Python compares text by code points, as the index does."""
    end = after_all(start)
    assert start <= start + rest
    assert end is None or start + rest < end
    if not other.startswith(start):
        assert other < start or (end is not None and other >= end)


def test_the_last_code_points_have_nothing_after_them():
    assert after_all("\U0010ffff\U0010ffff") is None
    assert after_all("a\U0010ffff") == "b"
    assert after_all("\ud7ff") == "\ue000"
    assert after_all("") is None


def test_each_state_is_asked_for_by_itself_and_once():
    wanted = JobFilter(2, states=(JobState.FAILED, JobState.EXPIRED, JobState.FAILED), labels={"a": "b"})
    query, values = statement(ANN, wanted)
    assert values == [7, "a", "b", ["failed"], ["expired"]]
    assert query.count("UNION ALL") == 1
    assert "j.state = ANY ($4::text[]) AND j.finished_at IS NOT NULL" in query
    assert "j.state = ANY ($5::text[]) AND j.finished_at IS NOT NULL" in query
    assert query.count("LIMIT 3") == 3


@pytest.mark.parametrize("fields", [{}, {"worker": "w1"}, {"queue": "gpu"}, {"states": tuple(JobState)}])
def test_every_state_is_asked_for(fields):
    """What a list without states leaves out is only what waits, on a worker: that is on none."""
    query, values = statement(ADMIN, JobFilter(2, **fields))
    said = {state for value in values if isinstance(value, list) for state in value}
    if " j.finished_at IS NOT NULL" in query:
        said |= set(FINAL)
    missing = set(JobState) - said if fields else set()
    assert missing == (set(WAITING) if "worker" in fields else set())


def test_a_page_without_states_is_one_question():
    query, values = statement(ADMIN, JobFilter(10, before_id=99, name="night*"))
    assert values == [99, "night", "nighu"]
    assert "UNION" not in query
