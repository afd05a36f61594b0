"""`/v1/jobs/{id}`: one job, what may be changed of it, and its result."""

from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from api import counting, documents
from api.access import Access
from api.answers.jobs import JobDocument, JobResult
from api.endpoint import Call, Resource, endpoint
from api.finding import find_job, missing
from api.inputs import check_policies
from api.obituary import obituary
from api.query_strings import label_errors
from swarmsync.errors import Conflict, FieldError, SpecError
from swarmsync.model.fields import Duration
from swarmsync.model.lifecycle import FINAL
from swarmsync.model.spec import NAME_MAX
from swarmsync.protocol.codec import decode_stored_spec
from swarmsync.store import actions, details, ledgers, lists
from swarmsync.store.actions import Changes
from swarmsync.store.details import JobDetail
from swarmsync.store.ledgers import Past

WAIT_MAX_S: Final = 60
_BACKSTOP_S: Final = 1.0


class JobQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """`wait`: answer when the job is final, or after so many seconds."""

    wait: Annotated[int, Meta(ge=0, le=WAIT_MAX_S)] = 0


class JobChanges(Struct, frozen=True, forbid_unknown_fields=True):
    """A merge patch: what is absent stays; a label or a timeout of null is removed. Most change only while it waits."""

    name: Annotated[str, Meta(max_length=NAME_MAX)] | UnsetType = UNSET
    labels: dict[str, str | None] | UnsetType = UNSET
    priority: Annotated[int, Meta(ge=0, le=100)] | UnsetType = UNSET
    queue: str | UnsetType = UNSET
    timeout: Duration | UnsetType | None = UNSET


async def read_detail(call: Call, job_id: int, text: str) -> JobDetail:
    """Return the job. Raises NotFound, also for somebody else's."""
    async with call.services.store.connection(**call.caller.settings) as connection:
        found = await details.read(connection, job_id)
    if found is None:
        raise missing(text)
    return found


async def read_past(call: Call, job_id: int, text: str) -> tuple[JobDetail, Past]:
    """Return the job and where its time went. Raises NotFound, also for somebody else's."""
    async with call.services.store.connection(**call.caller.settings) as connection:
        found = await details.read(connection, job_id, reasons=True)
        if found is None:
            raise missing(text)
        return found, await ledgers.read(connection, found)


class OneJob(Resource):
    @endpoint(Access.USER, "Show a job with its attempts", query=JobQuery, answer=JobDocument)
    async def on_get(self, call: Call, job: str) -> Any:
        job_id = await find_job(call, job)
        detail, past = await (_read_when_final if call.query.wait else read_past)(call, job_id, job)
        gone_by = documents.gone_by(detail.job, call.services.config.lease_ms)
        return documents.job_detail(detail) | _told(detail, past) | ({"gone_by": gone_by} if gone_by else {})

    @endpoint(Access.USER, "Change what may change", body=JobChanges, answer=JobDocument)
    async def on_patch(self, call: Call, job: str) -> Any:
        wanted = await call.document(JobChanges)
        changes = await _checked(call, wanted)
        job_id = await find_job(call, job)
        if wanted.queue is not UNSET:
            await _check_move(call, job_id, job, wanted.queue)
        next_id = await call.services.id_source(call.caller)
        done = await actions.amend(call.services.store, call.caller, job_id, changes, next_id)
        await call.services.hub.tell_changed(done.changed)
        return documents.job_detail(done.detail)

    @endpoint(Access.USER, "Delete the record of a job that has ended", status=204)
    async def on_delete(self, call: Call, job: str) -> None:
        await actions.remove(call.services.store, call.caller, await find_job(call, job))
        await counting.tell_deleted(call.services)


async def _checked(call: Call, wanted: JobChanges) -> Changes:
    errors = []
    if wanted.labels is not UNSET:
        errors += label_errors(wanted.labels)
    if wanted.queue is not UNSET and wanted.queue not in await call.services.queue_names(call.caller):
        errors.append(FieldError("$.queue", f"there is no queue {wanted.queue[:64]!r}"))
    if isinstance(wanted.timeout, Duration) and wanted.timeout < 1:
        errors.append(FieldError("$.timeout", "must be more than 0"))
    if errors:
        raise SpecError(errors[:20])
    given = {name: value for name, value in msgspec.structs.asdict(wanted).items() if value is not UNSET}
    return Changes(**given)


async def _check_move(call: Call, job_id: int, text: str, queue: str) -> None:
    """Raise SpecError for what the job's present queue lets its spec loosen, and this one does not."""
    document = (await read_detail(call, job_id, text)).job["document"]
    if document is not None:
        spec = msgspec.structs.replace(decode_stored_spec(document), queue=queue)
        await check_policies(call, [("$", spec)])


async def _read_when_final(call: Call, job_id: int, text: str) -> tuple[JobDetail, Past]:
    """As `read_past`, once the job is final, the time is over, or this process stops."""
    services = call.services
    deadline_ms = services.clock.monotonic_ms() + call.query.wait * 1000
    async with services.hub.watch_job(job_id, ends_only=True) as watch:
        hinted = False
        while True:
            if hinted:  # most hints are of the end: then this is the answer already
                detail, past = await read_past(call, job_id, text)
                if detail.job["state"] in FINAL:
                    return detail, past
            else:
                row = await lists.state_of(services.store, call.caller, job_id)
                if row is None:
                    raise missing(text)
                if row["state"] in FINAL:
                    break
            left_s = (deadline_ms - services.clock.monotonic_ms()) / 1000
            if left_s <= 0 or services.stopping():
                break
            hinted = await watch.wait(min(left_s, _BACKSTOP_S))
    return await read_past(call, job_id, text)


class Result(Resource):
    @endpoint(
        Access.USER, "How a job ended: exit code, times, usage, bytes and SHA-256 of its output", answer=JobResult
    )
    async def on_get(self, call: Call, job: str) -> Any:
        detail, past = await read_past(call, await find_job(call, job), job)
        if detail.job["state"] not in FINAL:
            raise Conflict(f"the job is {detail.job['state']}; it has no result yet")
        return documents.result(detail) | _told(detail, past)


def _told(detail: JobDetail, past: Past) -> dict[str, Any]:
    ended = obituary(detail, past.stopped)
    return {"ledger": ledgers.documents(past.parts), "obituary": None if ended is None else ended["line"]}
