"""`/v1/jobs/{id}/outputs`: the files that a job left behind; and whether all is stored as it was."""

import base64
from collections.abc import AsyncGenerator
from typing import Any, Final

from api.access import Access
from api.answers.jobs import Findings, StoredOutput, StoredOutputs
from api.endpoint import Call, Resource, endpoint
from api.finding import find_job
from api.resources.job import read_detail
from api.streams import Broken, Pulse, Stream
from api.verifying import verify
from swarmsync.clock import rfc3339
from swarmsync.errors import NotFound
from swarmsync.store import tars
from swarmsync.store.lists import Row

TAR: Final = "application/x-tar"


class Outputs(Resource):
    @endpoint(Access.USER, "The outputs of a job: names, files, sizes and SHA-256", answer=StoredOutputs)
    async def on_get(self, call: Call, job: str) -> Any:
        job_id = await find_job(call, job)
        await read_detail(call, job_id, job)
        return {"items": [_document(row) for row in await tars.listed(call.services.store, call.caller, job_id)]}


class OneOutput(Resource):
    @endpoint(Access.USER, "The collected files as a tar", answer="a tar", media=TAR)
    async def on_get(self, call: Call, job: str, output: str) -> Any:
        """`Repr-Digest` is the SHA-256 of the tar; a body shorter than `Content-Length` is not the whole."""
        job_id = await find_job(call, job)
        await read_detail(call, job_id, job)
        rows = await tars.listed(call.services.store, call.caller, job_id)
        found = next((row for row in rows if row["name"] == output), None)
        if found is None:
            known = ", ".join(row["name"] for row in rows) or "none"
            raise NotFound(f"job {job[:40]} has no output {output[:80]!r}; it has {known}")
        call.response.content_type = TAR
        call.response.content_length = found["size"]
        call.response.set_header("Repr-Digest", f"sha-256=:{base64.b64encode(found['sha256']).decode()}:")
        call.response.set_header("X-Content-Type-Options", "nosniff")
        call.response.set_header("Cache-Control", "no-store")
        call.response.downloadable_as = f"{found['name']}.tar"
        call.response.stream = Stream(call, _pieces(call, job_id, found))


class Verify(Resource):
    @endpoint(
        Access.USER, "Compare what is stored of a job with the lengths and SHA-256 of its worker", answer=Findings
    )
    async def on_get(self, call: Call, job: str) -> Any:
        job_id = await find_job(call, job)
        return await verify(call, job_id, (await read_detail(call, job_id, job)).job)


async def _pieces(call: Call, job_id: int, tar: Row) -> AsyncGenerator[bytes, None]:
    pulse, sent = Pulse(call), 0
    async for data in tars.read(call.services.store, call.caller, job_id, tar):
        await pulse.check()
        sent += len(data)
        yield data
    if sent != tar["size"]:
        raise Broken


def _document(row: Row) -> StoredOutput:
    return {
        "name": row["name"],
        "attempt": row["fence"],
        "files": row["files"],
        "bytes": row["bytes"],
        "tar_bytes": row["size"],
        "sha256": row["sha256"].hex(),
        "stored_at": rfc3339(row["stored_at"]),
    }
