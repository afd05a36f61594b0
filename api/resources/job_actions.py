"""`POST /v1/jobs/{id}/cancel, kill, hold, release, rerun`."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from api import documents
from api.access import Access
from api.answers.jobs import JobDocument
from api.endpoint import Call, Resource, convert, endpoint
from api.finding import find_job
from api.inputs import check_inputs
from api.resources.job import read_detail
from api.resources.jobs import submit_drafts
from api.strict_json import decode
from api.submissions import Reader
from swarmsync.errors import Conflict
from swarmsync.model.lifecycle import FINAL, JobState
from swarmsync.model.spec import Array, JobSpec, range_text
from swarmsync.protocol.codec import decode_stored_spec
from swarmsync.store import actions, lists
from swarmsync.store.actions import Done
from swarmsync.store.lists import Row
from swarmsync.store.submit import draft

REASON_MAX: Final = 1_000


class Because(Struct, frozen=True, forbid_unknown_fields=True):
    """Why, in the user's words; it becomes part of the job's message."""

    reason: Annotated[str, Meta(max_length=REASON_MAX)] = ""


class Again(Struct, frozen=True, forbid_unknown_fields=True):
    """`failed`: of an array only the members that did not succeed."""

    failed: bool = False


class Nothing(Struct, frozen=True, forbid_unknown_fields=True):
    """An empty object, or no body."""


async def _answer(call: Call, done: Done) -> Any:
    if done.changed:
        await call.services.hub.tell_changed(done.changed)
    return documents.job_detail(done.detail)


class Cancel(Resource):
    """With the suffix `kill` the containers get no time to end by themselves."""

    @endpoint(Access.USER, "Cancel a job: stop signal, grace, then kill", body=Because, answer=JobDocument, status=202)
    async def on_post(self, call: Call, job: str) -> Any:
        return await _stop(call, job, kill=False)

    @endpoint(Access.USER, "Kill a job at once", body=Because, answer=JobDocument, status=202)
    async def on_post_kill(self, call: Call, job: str) -> Any:
        return await _stop(call, job, kill=True)


async def _stop(call: Call, job: str, *, kill: bool) -> Any:
    because = await call.document(Because, optional=True)
    message = f"{'killed' if kill else 'cancelled'} by {call.caller.username}"
    if because.reason:
        message += f": {because.reason}"
    job_id = await find_job(call, job)
    return await _answer(call, await actions.stop(call.services.store, call.caller, job_id, kill=kill, message=message))


class Hold(Resource):
    @endpoint(Access.USER, "Keep a waiting job from starting", body=Nothing, answer=JobDocument, status=202)
    async def on_post(self, call: Call, job: str) -> Any:
        await call.document(Nothing, optional=True)
        return await _answer(call, await actions.hold(call.services.store, call.caller, await find_job(call, job)))

    @endpoint(Access.USER, "Let a held job wait for its turn again", body=Nothing, answer=JobDocument, status=202)
    async def on_post_release(self, call: Call, job: str) -> Any:
        await call.document(Nothing, optional=True)
        return await _answer(call, await actions.release(call.services.store, call.caller, await find_job(call, job)))


class Rerun(Resource):
    @endpoint(
        Access.USER, "Submit a job that has ended again, as a new job", body=Again, answer=JobDocument, status=202
    )
    async def on_post(self, call: Call, job: str) -> Any:
        """Start at once, whatever time the old spec named. A member of an array becomes an array of one."""
        body = await call.body()
        wanted: Again = convert(decode(body) if body.strip() else {}, Again)
        job_id = await find_job(call, job)
        row = (await read_detail(call, job_id, job)).job
        if row["state"] not in FINAL:
            raise Conflict(f"the job is {row['state']}; only a job that has ended can be run again")
        spec = _again(row)
        if wanted.failed:
            spec = await _only_failed(call, job_id, row, spec)
        now = datetime.now(UTC)
        Reader(await call.services.queue_names(call.caller), now).check(spec)
        await check_inputs(call, [("$", spec)])
        return await submit_drafts(call, [draft(spec)], body, now, is_batch=False, rerun_of=job_id)


async def _only_failed(call: Call, job_id: int, row: Row, spec: JobSpec) -> JobSpec:
    """Narrow an array to its members that did not succeed. Raises Conflict where there is nothing to run again."""
    if row["state"] == JobState.SUCCEEDED:
        raise Conflict("it succeeded; there is nothing that failed")
    if spec.array is None or row["array_index"] is not None:
        return spec
    indexes = await lists.unsuccessful(call.services.store, call.caller, job_id)
    if not indexes:
        raise Conflict("none of its members failed")
    return msgspec.structs.replace(spec, array=msgspec.structs.replace(spec.array, range=range_text(indexes)))


def _again(row: Row) -> JobSpec:
    """The spec with what was changed of the job since, and without the times that are past."""
    spec = decode_stored_spec(row["document"])
    index = row["array_index"]
    now = {"name": row["name"], "queue": row["queue"], "priority": row["priority"]}
    now |= {"labels": msgspec.json.decode(row["labels"]), "run_at": None, "delay": None, "deadline": None, "after": ()}
    if index is not None:
        now["array"] = Array(f"{index}-{index}")
    return msgspec.structs.replace(spec, **{name: value for name, value in now.items() if value != getattr(spec, name)})
