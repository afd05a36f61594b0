import asyncio
import base64
import json

import pytest

pytestmark = pytest.mark.integration


@pytest.fixture
async def job(ann, engine) -> str:
    """A job whose first attempt runs."""
    job = (await ann.submit())["id"]
    await engine.starts(job)
    return job


def pieces(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines() if line.strip()]


async def test_both_streams_are_merged_by_time(ann, engine, job):
    await engine.writes(job, b"out 1\n")
    await engine.writes(job, b"err 1\n", stream=2)
    await engine.writes(job, b"out 2\n")
    answer = await ann.get(f"/v1/jobs/{job}/logs")
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text == "out 1\nerr 1\nout 2\n"
    assert (await ann.get(f"/v1/jobs/{job}/logs?stream=stdout")).text == "out 1\nout 2\n"
    assert (await ann.get(f"/v1/jobs/{job}/logs?stream=stderr")).text == "err 1\n"


@pytest.mark.parametrize(
    ("tail", "expected"),
    [(0, ""), (1, "5"), (2, "4\n5"), (3, "err\n4\n5"), (4, "3\nerr\n4\n5"), (100, "1\n2\n3\nerr\n4\n5")],
)
async def test_the_last_lines(ann, engine, job, tail, expected):
    await engine.writes(job, b"1\n2\n3\n")
    await engine.writes(job, b"err\n", stream=2)
    await engine.writes(job, b"4\n5")
    assert (await ann.get(f"/v1/jobs/{job}/logs?tail={tail}")).text == expected


async def test_output_comes_as_json_lines_with_offsets(ann, engine, job):
    await engine.writes(job, b"caf\xc3\xa9\n")
    await engine.writes(job, b"\xff\x00\n")
    await engine.ends(job, "failed", 3)
    lines = pieces((await ann.get(f"/v1/jobs/{job}/logs?format=jsonl")).text)
    assert lines[0] == {"state": "failed", "reason": "Completed", "message": "exit code 0", "attempt": 1}
    first, second = lines[1:3]
    assert (first["stream"], first["attempt"], first["offset"], first["data"]) == ("stdout", 1, 0, "caf\u00e9\n")
    assert (second["offset"], base64.b64decode(second["data_b64"])) == (6, b"\xff\x00\n")
    (last,) = lines[3:]
    end = {"state": "failed", "reason": "Completed", "message": "exit code 0", "exit_code": 3, "attempt": 1}
    assert last == {"end": {**end, "output_truncated": []}}


async def test_reading_resumes_at_offsets_in_the_middle_of_a_chunk(ann, engine, job):
    await engine.writes(job, b"0123456789")
    await engine.writes(job, b"abcdef", stream=2)
    answer = await ann.get(f"/v1/jobs/{job}/logs?attempt=1&stdout_from=7&stderr_from=6&format=jsonl")
    assert [(p["stream"], p["offset"], p["data"]) for p in pieces(answer.text) if "stream" in p] == [
        ("stdout", 7, "789")
    ]


async def test_a_chunk_that_was_stored_twice_is_read_once(ann, engine, job):
    await engine.writes(job, b"hello ")
    await engine.writes(job, b"hello ", start=0)
    await engine.writes(job, b"lo world", start=3)
    assert (await ann.get(f"/v1/jobs/{job}/logs")).text == "hello world"


async def test_more_bytes_than_one_read_takes(ann, engine, job):
    blocks = [bytes([65 + number]) * (200 << 10) + b"\n" for number in range(12)]
    for block in blocks:
        await engine.writes(job, block)
    assert (await ann.get(f"/v1/jobs/{job}/logs")).content == b"".join(blocks)
    assert (await ann.get(f"/v1/jobs/{job}/logs?tail=9")).content == b"".join(blocks[-9:])


async def test_more_chunks_than_one_read_takes(ann, engine, job, monkeypatch):
    monkeypatch.setattr("swarmsync.store.outputs.CHUNKS_MAX", 16)
    whole = b""
    for number in range(150):
        data = f"line {number}\n".encode()
        await engine.writes(job, data, stream=1 + number % 2, start=None)
        whole += data
    assert (await ann.get(f"/v1/jobs/{job}/logs")).content == whole
    last = b"".join(whole.splitlines(keepends=True)[-140:])
    assert (await ann.get(f"/v1/jobs/{job}/logs?tail=140")).content == last


async def test_since_is_a_time_or_an_age(ann, engine, job):
    await engine.writes(job, b"old\n")
    await engine.sql.execute("UPDATE output_chunks SET at = at - interval '2 hours' WHERE data = 'old\n'")
    await engine.writes(job, b"new\n")
    assert (await ann.get(f"/v1/jobs/{job}/logs?since=1h")).text == "new\n"
    assert (await ann.get(f"/v1/jobs/{job}/logs?since=3h")).text == "old\nnew\n"
    assert (await ann.get(f"/v1/jobs/{job}/logs?since=3h&tail=1")).text == "new\n"
    assert (await ann.get(f"/v1/jobs/{job}/logs?since=1h&tail=5")).text == "new\n"
    assert (await ann.get(f"/v1/jobs/{job}/logs?since=2099-01-01T00:00:00Z")).text == ""


async def test_attempts(ann, engine, job):
    await engine.writes(job, b"first\n")
    await engine.fails_once(job)
    await engine.starts(job)
    assert (await ann.get(f"/v1/jobs/{job}/logs")).text == "first\n"
    await engine.writes(job, b"second\n", fence=2)
    assert (await ann.get(f"/v1/jobs/{job}/logs")).text == "second\n"
    assert (await ann.get(f"/v1/jobs/{job}/logs?attempt=1")).text == "first\n"
    assert (await ann.get(f"/v1/jobs/{job}/logs?attempt=1&stdout_from=2")).text == "rst\nsecond\n"
    assert (await ann.get(f"/v1/jobs/{job}/logs?attempt=3")).status == 404


async def test_a_followed_job_is_told_live_through_its_attempts_to_its_end(ann, engine):
    job = (await ann.submit())["id"]
    async with ann.stream(f"/v1/jobs/{job}/logs?follow=1&format=jsonl") as response, asyncio.timeout(60):
        lines = response.lines()
        assert (await anext(lines))["state"] == "queued"
        await engine.starts(job)
        await engine.writes(job, b"one\n")
        seen = [await anext(lines), await anext(lines)]
        assert [entry.get("state") or entry["data"] for entry in seen] == ["running", "one\n"]
        await engine.fails_once(job)
        await engine.starts(job)
        await engine.writes(job, b"two\n", fence=2)
        seen = [entry async for entry in take_until(lines, "stream")]
        assert (seen[-1]["attempt"], seen[-1]["offset"], seen[-1]["data"]) == (2, 0, "two\n")
        await engine.ends(job, "succeeded", 0)
        seen = [entry async for entry in take_until(lines, "end")]
        assert seen[-1]["end"]["state"] == "succeeded"
        assert seen[-1]["end"]["attempt"] == 2
        with pytest.raises(StopAsyncIteration):
            await anext(lines)


async def take_until(lines, name):
    async for entry in lines:
        yield entry
        if name in entry:
            return


async def test_following_a_job_that_has_ended_ends_at_once(ann, engine, job):
    await engine.writes(job, b"out\n")
    await engine.ends(job)
    async with asyncio.timeout(60):
        assert (await ann.get(f"/v1/jobs/{job}/logs?follow=1")).text == "out\n"
        assert (await ann.get(f"/v1/jobs/{job}/logs?follow=1&attempt=1&tail=0")).text == ""


async def test_following_one_attempt_ends_with_it(ann, engine, job):
    await engine.writes(job, b"first\n")
    await engine.fails_once(job)
    await engine.starts(job)
    async with asyncio.timeout(60):
        assert (await ann.get(f"/v1/jobs/{job}/logs?follow=1&attempt=1")).text == "first\n"


async def test_an_array_has_no_output_of_its_own(ann):
    array = (await ann.submit(array={"range": "0-1"}))["id"]
    answer = await ann.get(f"/v1/jobs/{array}/logs")
    assert answer.status == 409
    assert f"{array}[INDEX]" in answer.json["detail"]
    assert (await ann.get(f"/v1/jobs/{array}[0]/logs")).status == 200


async def test_a_cancelled_job_that_never_ran_has_empty_output(ann):
    job = (await ann.submit())["id"]
    await ann.post(f"/v1/jobs/{job}/cancel")
    lines = pieces((await ann.get(f"/v1/jobs/{job}/logs?follow=1&format=jsonl")).text)
    assert lines[-1]["end"]["attempt"] == 0
    assert lines[-1]["end"]["exit_code"] is None


async def test_open_streams_are_limited(start_api, people, engine):
    api = (await start_api(streams_max=1)).by(people.ann)
    job = (await api.submit())["id"]
    async with api.stream(f"/v1/jobs/{job}/logs?follow=1&format=jsonl") as response, asyncio.timeout(60):
        await anext(response.lines())
        refused = await api.get("/v1/events")
        assert refused.status == 429
        assert int(refused.headers["retry-after"]) > 0
        await engine.ends(job)
    assert (await api.get("/v1/events?follow=0")).status == 200
