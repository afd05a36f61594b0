import json
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from api import strict_json
from api.strict_json import MalformedJson
from api.submissions import ERRORS_MAX, Reader, check_size
from swarmsync.errors import SpecError
from swarmsync.model.lifecycle import JobState
from swarmsync.protocol.codec import convert_spec
from swarmsync.store import submit
from swarmsync.store.submit import draft, start_of

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def reader() -> Reader:
    return Reader(frozenset({"default", "night"}), NOW)


async def batch(*specs, limit=100):
    members = strict_json.split(json.dumps({"jobs": specs}).encode())
    assert members is not None
    return await reader().batch(members, limit)


async def test_equal_texts_are_read_once():
    first, second, other = await batch({"image": "a"}, {"image": "a"}, {"image": "b"})
    assert first is second
    assert other.spec.image == "b"


async def test_each_wrong_entry_is_named():
    with pytest.raises(SpecError) as caught:
        await batch({"image": "a"}, {"image": "a b"}, {"imag": "a"}, {"image": "a", "queue": "day"})
    assert [error.path for error in caught.value.errors] == ["$.jobs[1].image", "$.jobs[2].imag", "$.jobs[3].queue"]
    assert "night" in caught.value.errors[2].message


async def test_one_malformed_entry_makes_the_request_malformed():
    members = strict_json.split(b'{"jobs": [{"image": "a b"}, {"image": "\\u0000"}]}')
    with pytest.raises(MalformedJson) as caught:
        await reader().batch(members, 10)
    assert [error.path for error in caught.value.errors] == ["$.jobs[0].image", "$.jobs[1].image"]


async def test_errors_have_a_limit():
    with pytest.raises(SpecError) as caught:
        await batch(*({"image": "a", "priority": 200 + n} for n in range(60)))
    assert len(caught.value.errors) == ERRORS_MAX


async def test_a_batch_has_a_limit_and_is_not_empty():
    with pytest.raises(SpecError, match="4 jobs; 3 at most"):
        await batch(*[{"image": "a"}] * 4, limit=3)
    with pytest.raises(SpecError, match="one spec at least"):
        await batch()


async def test_a_huge_entry_is_refused_with_its_place():
    with pytest.raises(SpecError) as caught:
        await batch({"image": "a"}, {"image": "a", "command": ["x" * 300_000]})
    assert caught.value.errors[0].path == "$.jobs[1]"


def test_arrays_count_with_their_members():
    array = draft(convert_spec({"image": "a", "array": {"range": "0-99999"}}))
    check_size([array])
    with pytest.raises(SpecError):
        check_size([array, array])


def start(**fields):
    return start_of(convert_spec({"image": "a", **fields}), NOW)


def test_how_a_job_begins():
    assert start().state is JobState.QUEUED
    assert start(delay="0s").state is JobState.QUEUED
    assert start(run_at="2026-11-24T12:00:00Z").state is JobState.QUEUED
    later = start(delay="1h", queue_timeout="1h")
    assert (later.state, later.reason) == (JobState.SCHEDULED, "StartTime")
    assert later.run_at == NOW + timedelta(hours=1)
    assert later.expires_at == NOW + timedelta(hours=2)
    assert start(queue_timeout="1h").expires_at == NOW + timedelta(hours=1)


def test_members_stand_behind_their_array_and_share_its_spec():
    numbers = count(100)
    drafts = [draft(convert_spec({"image": "a", "array": {"range": "5-7"}})), draft(convert_spec({"image": "b"}))]
    plan = submit.plan([drafts[0], drafts[1], drafts[1]], NOW, lambda: next(numbers))
    assert len(plan.specs) == 2
    assert plan.ids == [101, 106, 107]
    assert [(job.array_id, job.array_index) for job in plan.jobs] == [
        (None, None), (101, 5), (101, 6), (101, 7), (None, None), (None, None),
    ]  # fmt: skip
    assert len({job.job_id for job in plan.jobs}) == 6
