"""What the feed of events tells of moments that are over."""

from datetime import datetime, timedelta

import pytest

pytestmark = pytest.mark.integration


async def history(api, **query) -> list[dict]:
    """All pages of the history."""
    items, cursor = [], ""
    while cursor is not None:
        pairs = "&".join(f"{name}={value}" for name, value in {**query, "cursor": cursor}.items())
        page = (await api.get(f"/v1/events/history?{pairs}")).json
        items += page["items"]
        cursor = page["next_cursor"]
    return items


async def snapshot(api, at="", limit=1000) -> dict[str, dict]:
    """The jobs that had not ended, by id, from all pages."""
    items, cursor = [], ""
    while cursor is not None:
        page = (await api.get(f"/v1/events/snapshot?at={at}&limit={limit}&cursor={cursor}")).json
        items, cursor, at = items + page["items"], page["next_cursor"], page["at"]
    return {item["job"]: item for item in items}


def before(moment: str) -> str:
    return (datetime.fromisoformat(moment) - timedelta(microseconds=1)).isoformat().replace("+00:00", "Z")


async def test_history_has_pages_and_bounds(ann):
    job = (await ann.submit(name="past"))["id"]
    for verb in ("hold", "release", "cancel"):
        await ann.post(f"/v1/jobs/{job}/{verb}")
    told = await history(ann, job=job)
    assert [event["state"] for event in told] == ["queued", "held", "queued", "cancelled"]
    assert {event["name"] for event in told} == {"past"}
    assert await history(ann, job=job, limit=1) == told
    assert await history(ann, job=job, since=told[1]["at"], until=told[2]["at"]) == told[1:3]
    assert await history(ann, job=job, until="1h") == []


async def test_a_snapshot_of_the_past_is_what_was_seen_then(ann):
    job = (await ann.submit(resources={"cpus": 2}))["id"]
    await ann.post(f"/v1/jobs/{job}/hold")
    taken = (await ann.get("/v1/events/snapshot")).json
    seen = await snapshot(ann, taken["at"])
    assert (seen[job]["state"], seen[job]["cpus"]) == ("held", 2.0)
    await ann.post(f"/v1/jobs/{job}/cancel")
    assert await snapshot(ann, taken["at"]) == seen
    assert job not in await snapshot(ann)
    events = await history(ann, job=job)
    assert (await snapshot(ann, events[0]["at"]))[job]["state"] == "queued"
    assert job not in await snapshot(ann, before(events[0]["at"]))


async def test_a_snapshot_tells_where_to_read_on(ann):
    place = (await ann.get("/v1/events/snapshot")).json["place"]
    job = (await ann.submit())["id"]
    later = (await ann.get(f"/v1/events?follow=0&after={place}")).text
    assert job in later


async def test_pages_of_a_snapshot_are_whole(ann):
    made = [(await ann.submit())["id"] for _ in range(5)]
    at = (await ann.get("/v1/events/snapshot")).json["at"]
    assert await snapshot(ann, at, limit=2) == await snapshot(ann, at)
    assert set(made) <= set(await snapshot(ann, at, limit=2))


async def test_the_past_shows_only_ones_own_jobs(ann, bob, oscar):
    job = (await ann.submit())["id"]
    at = (await ann.get("/v1/events/snapshot")).json["at"]
    assert job not in await snapshot(bob, at)
    assert job in await snapshot(oscar, at)
    assert job not in [event["job"] for event in await history(bob, since="1m")]
    assert await history(bob, job=job) == []


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("history?since=soon", "?since"),
        ("history?cursor=x", "?cursor"),
        ("history?limit=0", "?limit"),
        ("history?from=1", "?from"),
        ("snapshot?at=soon", "?at"),
        ("snapshot?cursor=%21", "?cursor"),
        ("snapshot?limit=9999", "?limit"),
    ],
)
async def test_bad_queries_are_named(ann, query, path):
    answer = await ann.get(f"/v1/events/{query}")
    assert answer.status == 400
    assert answer.wrong_paths == [path]
