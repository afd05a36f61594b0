"""A job's outputs and the check of all that is stored of it, over HTTP."""

import base64
import hashlib

import pytest

from swarmsync import ids

pytestmark = pytest.mark.integration

TAR = bytes(range(256)) * 9_000
DIGEST = hashlib.sha256(TAR)


@pytest.fixture
async def job(ann, engine):
    """A job of Ann's that has ended, with output and one output `out`."""
    made = await ann.submit()
    await engine.starts(made["id"])
    await engine.writes(made["id"], b"hello\n")
    job_id = ids.decode(made["id"])
    for start in range(0, len(TAR), 1 << 18):
        await engine.sql.execute(
            "INSERT INTO output_tar_chunks (job_id, user_id, fence, stream, start, data)"
            " SELECT id, user_id, 1, 3, $2, $3 FROM jobs WHERE id = $1",
            job_id, start, TAR[start : start + (1 << 18)],
        )  # fmt: skip
    await engine.sql.execute(
        "INSERT INTO output_tars (job_id, user_id, fence, stream, name, size, files, bytes, sha256)"
        " SELECT id, user_id, 1, 3, 'out', $2, 2, 9, $3 FROM jobs WHERE id = $1",
        job_id, len(TAR), DIGEST.digest(),
    )  # fmt: skip
    stream = {"size": 6, "kept": 6, "sha256": hashlib.sha256(b"hello\n").hexdigest()}
    out = {"name": "out", "size": len(TAR), "sha256": DIGEST.hexdigest(), "files": 2, "bytes": 9}
    result = {"stdout": stream, "stderr": {"size": 0, "kept": 0, "sha256": ""}, "outputs": [out]}
    await engine.ends(made["id"], result=result)
    return made["id"]


async def test_an_output_is_listed_and_comes_back_as_it_was_stored(ann, job):
    (item,) = (await ann.get(f"/v1/jobs/{job}/outputs")).json["items"]
    assert (item["name"], item["files"], item["bytes"], item["tar_bytes"], item["attempt"]) == (
        "out",
        2,
        9,
        len(TAR),
        1,
    )
    assert item["sha256"] == DIGEST.hexdigest()
    answer = await ann.get(f"/v1/jobs/{job}/outputs/out")
    assert (answer.status, answer.content) == (200, TAR)
    assert answer.headers["content-length"] == str(len(TAR))
    assert answer.headers["repr-digest"] == f"sha-256=:{base64.b64encode(DIGEST.digest()).decode()}:"
    (shown,) = (await ann.get(f"/v1/jobs/{job}/result")).json["outputs"]
    assert (shown["name"], shown["sha256"], shown["files"]) == ("out", DIGEST.hexdigest(), 2)


async def test_what_is_not_there_and_what_is_not_ones_own_are_the_same(ann, bob, job):
    missing = await ann.get(f"/v1/jobs/{job}/outputs/other")
    assert (missing.status, "it has out" in missing.text) == (404, True)
    for path in ("outputs", "outputs/out", "verify"):
        assert (await bob.get(f"/v1/jobs/{job}/{path}")).status == 404


async def test_everything_is_as_it_was_sent(ann, job):
    found = (await ann.get(f"/v1/jobs/{job}/verify")).json
    assert found["ok"]
    assert [(item["name"], item["ok"]) for item in found["items"]] == [
        ("spec", True), ("stdout", True), ("stderr", True), ("out", True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "statement"),
    [
        ("stdout", "UPDATE output_chunks SET data = 'hellO' || E'\\\\012'::bytea WHERE job_id = $1"),
        ("stdout", "DELETE FROM output_chunks WHERE job_id = $1"),
        ("out", "UPDATE output_tar_chunks SET data = set_byte(data, 7, 0) WHERE job_id = $1 AND start > 0"),
        ("out", "DELETE FROM output_tar_chunks WHERE job_id = $1 AND start = 262144"),
        ("spec", "UPDATE specs s SET document = document || ' ' FROM jobs j WHERE j.id = $1 AND s.id = j.spec_id"),
    ],
)
async def test_a_byte_that_changed_in_the_database_is_found_and_named(ann, engine, job, name, statement):
    await engine.sql.execute(statement, ids.decode(job))
    found = (await ann.get(f"/v1/jobs/{job}/verify")).json
    assert not found["ok"]
    assert [item["name"] for item in found["items"] if item["ok"] is False] == [name]


async def test_a_stream_that_was_cut_says_so_everywhere(ann, engine):
    made = await ann.submit()
    await engine.starts(made["id"])
    await engine.writes(made["id"], b"kept")
    whole, kept = (hashlib.sha256(text).hexdigest() for text in (b"kept, and not", b"kept"))
    cut = {"size": 13, "kept": 4, "sha256": whole, "kept_sha256": kept}
    await engine.ends(made["id"], result={"stdout": cut, "stderr": {"size": 0, "kept": 0, "sha256": ""}})
    job = made["id"]
    assert (await ann.get(f"/v1/jobs/{job}")).json["output_truncated"] == ["stdout"]
    listed = (await ann.get("/v1/jobs?limit=5")).json["items"]
    assert next(item for item in listed if item["id"] == job)["output_truncated"] == ["stdout"]
    assert (await ann.get(f"/v1/jobs/{job}/result")).json["stdout"]["truncated"] is True
    text = await ann.get(f"/v1/jobs/{job}/logs")
    assert (text.content, text.headers["output-truncated"]) == (b"kept", "stdout")
    lines = (await ann.get(f"/v1/jobs/{job}/logs?format=jsonl")).text
    assert '"output_truncated":["stdout"]' in lines
    stdout = next(i for i in (await ann.get(f"/v1/jobs/{job}/verify")).json["items"] if i["name"] == "stdout")
    assert (stdout["ok"], stdout["note"]) == (True, "truncated: 4 of 13 bytes were kept")


async def test_deleting_the_job_deletes_its_outputs(ann, engine, job):
    assert (await ann.call("DELETE", f"/v1/jobs/{job}")).status == 204
    for table in ("output_tars", "output_tar_chunks"):
        assert await engine.sql.fetchval(f"SELECT count(*) FROM {table} WHERE job_id = $1", ids.decode(job)) == 0
