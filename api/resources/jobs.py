"""`/v1/jobs`: submit one job or many, check a spec, list."""

import contextlib
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from api import documents, query_strings, strict_json
from api.access import Access
from api.answers.jobs import JobDocument, JobIds, ListedJob, Specs
from api.answers.pages import Page
from api.endpoint import Call, Resource, endpoint
from api.finding import find_job, find_schedule
from api.idempotency import again, first_answer, key_of, with_answer
from api.inputs import check_inputs
from api.submissions import Reader, check_size
from swarmsync import ids
from swarmsync.errors import NotFound, RequestError, SpecError, Unavailable
from swarmsync.model.spans import read_parent
from swarmsync.model.spec import JobSpec
from swarmsync.protocol.codec import encode_json
from swarmsync.store import dependencies, job_pages, submit, traces
from swarmsync.store.job_pages import JobFilter
from swarmsync.store.submit import Draft, Wanted

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
        try:
            drafts, is_batch = await _read(call, body, now)
            return await submit_drafts(call, drafts, body, now, is_batch=is_batch)
        except RequestError:
            # What it names may have gone since it was answered: a secret, a queue, the job that it comes after.
            first = await first_answer(call, key_of(call, body))
            if first is None:
                raise
            return _located(call, first)


class Validate(Resource):
    @endpoint(Access.USER, "Check a spec and show it in full; changes nothing", body=JobSpec, answer=JobSpec | Specs)
    async def on_post(self, call: Call) -> Any:
        drafts, is_batch = await _read(call, await call.body(), datetime.now(UTC))
        await _check_parents(call, drafts, is_batch=is_batch)
        full = [_full(draft) for draft in drafts]
        return {"jobs": full} if is_batch else full[0]


async def _check_parents(call: Call, drafts: list[Draft], *, is_batch: bool) -> None:
    """Raise SpecError where a job that another is to come after is not there, as submitting them would."""
    places = range(1, len(drafts) + 1)  # stand for ids: all real ones are larger
    wanted = [
        (place, entry.spec.after, f"$.jobs[{place - 1}]" if is_batch else "$")
        for place, entry in zip(places, drafts, strict=True)
        if entry.spec.after
    ]
    if wanted:
        async with call.services.store.connection(**call.caller.settings) as connection:
            await dependencies.check(connection, wanted, places)


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
    wanted = Wanted(caller, submission, with_answer(key_of(call, body), answer))
    if rerun_of is None and wanted.rides_along:
        first = await services.gatherer.submit(wanted)
    else:
        first = (await submit.insert_all(services.store, [wanted], rerun_of=rerun_of))[0]
        if first is None:
            await services.hub.tell_submitted([wanted])
    if first is None:
        await _remember_trace(call, [job.job_id for job in submission.jobs])
    else:
        answer = again(call, first)
    return answer if is_batch else _located(call, answer)


def _located(call: Call, answer: bytes) -> bytes:
    """Say where the job is, if it is one."""
    made = msgspec.json.decode(answer).get("id")
    if made is not None:
        call.response.location = f"/v1/jobs/{made}"
    return answer


async def _remember_trace(call: Call, job_ids: list[int]) -> None:
    """Note the caller's trace for those whose times are sent to a collector. The jobs are committed: it may be lost."""
    header = call.request.get_header("traceparent")
    if header is None or not call.services.tracer.on or read_parent(header) is None:
        return
    with contextlib.suppress(Unavailable):
        await traces.remember(call.services.store, call.caller, job_ids, header.strip())


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
    return JobFilter(
        limit=query.limit,
        before_id=query_strings.cursor("cursor", query.cursor),
        states=query_strings.states(query.state),
        username=query.user or None,
        queue=query.queue or None,
        name=query.name or None,
        labels=query_strings.labels("label", query.label),
        schedule_id=await _schedule_id(call, query.schedule) if query.schedule else None,
        worker=query.worker or None,
        since=query_strings.moment("since", query.since, now),
        array_id=await find_job(call, query.array) if query.array else None,
    )


async def _schedule_id(call: Call, text: str) -> int:
    try:
        found: int = (await find_schedule(call, text))["id"]
    except NotFound:
        whole = ids.decode(text)
        if whole is None:
            raise
        return whole  # jobs outlive their schedule
    return found
