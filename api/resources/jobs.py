"""`/v1/jobs`: submit one job or many, check a spec, list."""

import contextlib
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from api import documents, query_strings, strict_json
from api.access import Access
from api.answers.jobs import JobDocument, JobIds, ListedJob, Specs
from api.answers.pages import Page
from api.endpoint import Call, Resource, endpoint
from api.finding import find_job
from api.inputs import check_inputs
from api.submissions import Reader, check_size
from swarmsync import ids
from swarmsync.errors import FieldError, RequestError, SpecError, Unavailable
from swarmsync.model.spans import read_parent
from swarmsync.model.spec import JobSpec
from swarmsync.protocol.codec import encode_json
from swarmsync.store import job_pages, submit, traces
from swarmsync.store.job_pages import JobFilter
from swarmsync.store.submit import Draft, Key, Wanted

KEY_MAX: Final = 255
LIMIT_DEFAULT: Final = 100
LIMIT_MAX: Final = 1_000


class JobsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """`state` takes states and the groups waiting, active, finished, separated by commas; `name` may end in `*`.

    `array` lists the members of an array, which other lists leave out; `since` is a time or a duration.
    """

    state: str = ""
    user: str = ""
    queue: str = ""
    name: str = ""
    label: tuple[str, ...] = ()
    schedule: str = ""
    worker: str = ""
    since: str = ""
    array: str = ""
    limit: Annotated[int, Meta(ge=1, le=LIMIT_MAX)] = LIMIT_DEFAULT
    cursor: str = ""


class Jobs(Resource):
    @endpoint(Access.USER, "List jobs, newest first", query=JobsQuery, answer=Page[ListedJob])
    async def on_get(self, call: Call) -> Any:
        query: JobsQuery = call.query
        rows = await job_pages.page(call.services.store, call.caller, await _filter(call, query))
        items = [documents.job(row) for row in rows[: query.limit]]
        more = len(rows) > query.limit
        return {"items": items, "next_cursor": items[-1]["id"] if more else None}

    @endpoint(
        Access.USER,
        "Submit a job, or several as {'jobs': [spec, ...]}",
        body=JobSpec,
        answer=JobDocument | JobIds,
        status=201,
    )
    async def on_post(self, call: Call) -> Any:
        """Take the header `Idempotency-Key`: the same key and body give the first answer again, another body 409."""
        body = await call.body()
        now = datetime.now(UTC)
        drafts, is_batch = await _read(call, body, now)
        return await submit_drafts(call, drafts, body, now, is_batch=is_batch)


class Validate(Resource):
    @endpoint(Access.USER, "Check a spec and show it in full; changes nothing", body=JobSpec, answer=JobSpec | Specs)
    async def on_post(self, call: Call) -> Any:
        drafts, is_batch = await _read(call, await call.body(), datetime.now(UTC))
        full = [_full(draft) for draft in drafts]
        return {"jobs": full} if is_batch else full[0]


async def _read(call: Call, body: bytes, now: datetime) -> tuple[list[Draft], bool]:
    try:
        return await _read_with(call, body, now)
    except SpecError as error:
        # a queue may have been made a moment ago, by another process of the API
        if not any(wrong.path.endswith(".queue") for wrong in error.errors) or not call.services.forget_queues():
            raise
        return await _read_with(call, body, now)


async def _read_with(call: Call, body: bytes, now: datetime) -> tuple[list[Draft], bool]:
    reader = Reader(await call.services.queue_names(call.caller), now)
    members = strict_json.split(body)
    if members is None or "jobs" not in members:
        drafts = [reader.one(body)]
        await check_inputs(call, [("$", drafts[0].spec)])
        return drafts, False
    drafts = await reader.batch(members, call.services.config.batch_jobs_max)
    check_size(drafts)
    places = {id(entry): (f"$.jobs[{index}]", entry.spec) for index, entry in reversed(list(enumerate(drafts)))}
    await check_inputs(call, list(places.values()))  # drafts of the same text are one, and checked once
    return drafts, True


async def submit_drafts(
    call: Call, drafts: list[Draft], body: bytes, now: datetime, *, is_batch: bool, rerun_of: int | None = None
) -> bytes:
    """Commit what these drafts make, tell the engine, and return the answer; or the first answer of the same key."""
    services, caller = call.services, call.caller
    submission = submit.plan(drafts, now, await services.id_source(caller))
    if is_batch:
        answer = encode_json({"ids": [ids.encode(number) for number in submission.ids]})
    else:
        answer = encode_json(documents.new_job(caller, submission, submission.jobs[0], rerun_of))
    wanted = Wanted(caller, submission, _key(call, body, answer))
    if rerun_of is None and wanted.rides_along:
        first = await services.gatherer.submit(wanted)
    else:
        first = (await submit.insert_all(services.store, [wanted], rerun_of=rerun_of))[0]
        if first is None:
            await services.hub.tell_submitted([wanted])
    if first is None:
        await _remember_trace(call, [job.job_id for job in submission.jobs])
    else:
        call.response.status = first.status
        call.response.set_header("Idempotent-Replay", "true")
        answer = first.response
    if not is_batch:
        call.response.location = f"/v1/jobs/{msgspec.json.decode(answer)['id']}"
    return answer


async def _remember_trace(call: Call, job_ids: list[int]) -> None:
    """Note the caller's trace for those whose times are sent to a collector. The jobs are committed: it may be lost."""
    header = call.request.get_header("traceparent")
    if header is None or not call.services.tracer.on or read_parent(header) is None:
        return
    with contextlib.suppress(Unavailable):
        await traces.remember(call.services.store, call.caller, job_ids, header.strip())


def _key(call: Call, body: bytes, answer: bytes) -> Key | None:
    text = call.request.get_header("Idempotency-Key")
    if text is None:
        return None
    if not 1 <= len(text) <= KEY_MAX or not text.isascii() or not text.isprintable():
        raise HeaderError("Idempotency-Key", f"must be 1 to {KEY_MAX} printable ASCII characters")
    target = f"{call.request.method} {call.request.path}\n".encode()
    return Key(text, sha256(target + body).digest(), call.response.status_code, answer)


class HeaderError(RequestError):
    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.errors = [FieldError(name, message)]


def _full(draft: Draft) -> Any:
    """The spec with its defaults filled in."""
    return msgspec.to_builtins(_builtin(draft.spec))


def _builtin(value: Any) -> Any:
    """Structs leave out defaults when they are encoded; a checked spec is shown with all of them."""
    if isinstance(value, Struct):
        return {name: _builtin(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, tuple) and type(value) is tuple:
        return [_builtin(entry) for entry in value]
    return msgspec.json.decode(encode_json(value))


async def _filter(call: Call, query: JobsQuery) -> JobFilter:
    now = datetime.now(UTC)
    schedule_id = None
    if query.schedule:
        schedule_id = ids.decode(query.schedule) or 0
    return JobFilter(
        limit=query.limit,
        before_id=query_strings.cursor("cursor", query.cursor),
        states=query_strings.states(query.state),
        username=query.user or None,
        queue=query.queue or None,
        name=query.name or None,
        labels=query_strings.labels("label", query.label),
        schedule_id=schedule_id,
        worker=query.worker or None,
        since=query_strings.moment("since", query.since, now),
        array_id=await find_job(call, query.array) if query.array else None,
    )
