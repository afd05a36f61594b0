import asyncio
import json

import pytest

from swarmsync import ids
from swarmsync.ids import IdSource

pytestmark = pytest.mark.integration


def parsed(text: str) -> list[tuple[str, dict]]:
    """(id, document) of every event of an SSE text; comments and bare ids are passed over."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "data" in fields:
            assert fields["event"] == "job"
            found.append((fields["id"], json.loads(fields["data"])))
    return found


async def all_after(api, place, job="") -> list[tuple[str, dict]]:
    answer = await api.get(f"/v1/events?follow=0&after={place}{f'&job={job}' if job else ''}")
    assert answer.headers["content-type"] == "text/event-stream"
    return parsed(answer.text)


async def test_every_change_is_told_in_order(ann, engine):
    job = (await ann.submit())["id"]
    await ann.post(f"/v1/jobs/{job}/hold")
    await ann.post(f"/v1/jobs/{job}/cancel")
    told = await all_after(ann, 0, job)
    assert [event["state"] for _, event in told] == ["queued", "held", "cancelled"]
    first = told[0][1]
    change = {"id", "job", "state", "reason", "message", "at", "since", "attempt", "worker"}
    assert set(first) == change | {"name", "user", "queue", "cpus", "memory", "array_index", "array_size"}
    assert (first["job"], first["user"], first["cpus"]) == (job, "ann", 1.0)


async def test_a_reader_resumes_behind_the_last_event_it_saw(ann):
    job = (await ann.submit())["id"]
    await ann.post(f"/v1/jobs/{job}/hold")
    await ann.post(f"/v1/jobs/{job}/release")
    told = await all_after(ann, 0, job)
    for index, (place, _) in enumerate(told):
        assert await all_after(ann, place, job) == told[index + 1 :]
    by_header = await ann.get(f"/v1/events?follow=0&job={job}&after=0", Last_Event_ID=told[0][0])
    assert parsed(by_header.text) == told[1:]


async def test_a_reader_that_is_ahead_of_a_restored_core_gets_what_came_since(ann, engine):
    """A new server counts its transactions anew; the events of before the restore were seen."""
    before, ahead = (await ann.submit())["id"], f"{1 << 40}-7"
    assert await all_after(ann, ahead) == []
    await engine.sql.execute("UPDATE engine_epoch SET restored_at = clock_timestamp()")
    try:
        after = (await ann.submit())["id"]
        told = await all_after(ann, ahead)
        assert [event["job"] for _, event in told if event["job"] in (before, after)] == [after]
        assert await all_after(ann, told[-1][0]) == []
    finally:
        await engine.sql.execute("UPDATE engine_epoch SET restored_at = NULL")


async def test_a_stream_begins_now_with_a_place_to_resume_from(ann):
    before = (await ann.submit())["id"]
    text = (await ann.get("/v1/events?follow=0")).text
    assert before not in text
    place = text.partition("\nid: ")[2].partition("\n")[0]
    after = (await ann.submit())["id"]
    assert [event["job"] for _, event in await all_after(ann, place)] == [after]


async def test_a_transaction_that_commits_late_is_not_skipped(ann, engine, people):
    """Its transaction id is lower than those that were read meanwhile: readers must not get ahead of it."""
    job = (await ann.submit())["id"]
    await engine.sql.execute("BEGIN")
    await engine.sql.execute(
        "INSERT INTO job_events (job_id, user_id, state) VALUES ($1, $2, 'held')", ids.decode(job), people.ann.user_id
    )
    later = (await ann.submit())["id"]
    seen = await all_after(ann, 0)
    assert later not in [event["job"] for _, event in seen]
    await engine.sql.execute("COMMIT")
    rest = await all_after(ann, seen[-1][0])
    assert [(event["job"], event["state"]) for _, event in rest] == [(job, "held"), (later, "queued")]


async def test_a_live_stream_tells_what_happens(ann):
    async with ann.stream("/v1/events") as response, asyncio.timeout(60):
        assert b"here are the changes after" in await response.read_some()
        job = (await ann.submit())["id"]
        text = ""
        while job not in text:
            text += (await response.read_some()).decode()
        assert [event["state"] for _, event in parsed(text)] == ["queued"]


async def test_more_events_than_one_read_takes_come_whole(ann, engine, people):
    source = IdSource(1021, lambda: 1_800_000_000_000)
    job = source.next()
    await engine.sql.execute(
        "INSERT INTO job_events (job_id, user_id, state, fence)"
        " SELECT $1, $2, 'queued', n FROM generate_series(1, 1234) n",
        job,
        people.ann.user_id,
    )
    told = await all_after(ann, 0, ids.encode(job))
    assert [event["attempt"] for _, event in told] == list(range(1, 1235))
