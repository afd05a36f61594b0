"""Times as the API writes them."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from swarmsync.clock import rfc3339

ZONES = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.integers(-62_000_000_000, 253_000_000_000), st.integers(0, 999_999), ZONES | st.just(UTC))
def test_every_time_has_one_form_and_can_be_read_back(seconds, micros, zone):
    moment = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds, microseconds=micros)).astimezone(zone)
    written = rfc3339(moment)
    assert len(written) == len("2026-01-02T03:04:05.000006Z")
    assert datetime.fromisoformat(written) == moment


def test_no_time_stays_none():
    assert rfc3339(None) is None
