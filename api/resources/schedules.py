"""`/v1/schedules`: rules that make jobs, what became of their due instants, and when they would fire."""

import re
import secrets
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from api import documents, query_strings, schedule_documents
from api.access import Access
from api.answers.jobs import JobDocument
from api.answers.pages import Page
from api.answers.system import FireDocument, PreviewDocument, ScheduleDocument
from api.endpoint import Call, Resource, convert, endpoint
from api.finding import find_schedule
from api.idempotency import first_answer, key_of, with_answer
from api.inputs import check_inputs
from api.query_strings import QueryError
from api.resources.job import read_detail
from api.resources.job_actions import Nothing
from api.strict_json import decode
from swarmsync import ids
from swarmsync.errors import FieldError, SpecError
from swarmsync.model.schedule import ScheduleSpec, check_schedule
from swarmsync.protocol.codec import convert_schedule, decode_stored_schedule, encode_json
from swarmsync.protocol.schedule_forms import as_written_flat, is_flat, is_flat_patch, nested, nested_patch
from swarmsync.store import answers, schedules
from swarmsync.store.schedules import HistoryCursor, ScheduleFilter
from swarmsync.store.submit import Key

LIMIT_MAX: Final = 1_000
PREVIEW_MAX: Final = 100
#: What stands for a schedule's name and job where only its times are asked about.
_ANY_NAME: Final = "preview"
_ANY_JOB: Final = {"image": "preview"}
_YEARS: Final = range(1970, 2900)
_HISTORY_CURSOR: Final = re.compile(r"(\d{1,17})-(\d{1,18})")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class SchedulesQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """`name` may end in `*`."""

    name: str = ""
    paused: Literal["", "true", "false"] = ""
    user: str = ""
    limit: Annotated[int, Meta(ge=1, le=LIMIT_MAX)] = 100
    cursor: str = ""


class HistoryQuery(Struct, frozen=True, forbid_unknown_fields=True):
    limit: Annotated[int, Meta(ge=1, le=LIMIT_MAX)] = 100
    cursor: str = ""


class PreviewRange(Struct, frozen=True, forbid_unknown_fields=True, rename={"after": "from"}):
    """What a preview takes beside the fields of a schedule."""

    count: Annotated[int, Meta(ge=1, le=PREVIEW_MAX)] = 5
    after: datetime | None = None


class Schedules(Resource):
    @endpoint(Access.USER, "List schedules, newest first", query=SchedulesQuery, answer=Page[ScheduleDocument])
    async def on_get(self, call: Call) -> Any:
        query: SchedulesQuery = call.query
        filters = ScheduleFilter(
            username=query.user or None,
            name=query.name or None,
            paused=query.paused == "true" if query.paused else None,
        )
        before = query_strings.cursor("cursor", query.cursor)
        rows = await schedules.list_page(call.services.store, call.caller, filters, query.limit, before)
        items = [schedule_documents.schedule(row) for row in rows[: query.limit]]
        return {"items": items, "next_cursor": items[-1]["id"] if len(rows) > query.limit else None}

    @endpoint(Access.USER, "Make a schedule", body=ScheduleSpec, answer=ScheduleDocument, status=201)
    async def on_post(self, call: Call) -> Any:
        """Take `job: {...}`, or a flat spec with `cron` beside it; a name is made if there is none."""
        body = await call.body()
        key = key_of(call, body)
        first = await first_answer(call, key)
        if first is not None:
            return first
        written = decode(body)
        raw = nested(written) if isinstance(written, dict) else written
        if isinstance(raw, dict) and "name" not in raw:
            raw = {**raw, "name": _made_name(raw.get("job"), key)}
        try:
            spec = await _checked(call, raw)
        except SpecError as error:
            raise (as_written_flat(error) if is_flat(written) else error) from None
        made = await schedules.create(
            call.services.store, call.caller, await call.services.id_source(call.caller), spec
        )
        answer = encode_json(schedule_documents.schedule(made))
        call.response.location = f"/v1/schedules/{ids.encode(made['id'])}"
        kept = with_answer(key, answer)
        if kept is not None:
            await answers.keep(call.services.store, call.caller, kept)
        return answer


class Preview(Resource):
    @endpoint(Access.USER, "The next fires of a schedule that need not exist; changes nothing", answer=PreviewDocument)
    async def on_post(self, call: Call) -> Any:
        """Take a schedule, of which name and job may be left out, with `count` and `from`."""
        raw = decode(await call.body())
        own = {name: raw.pop(name) for name in ("count", "from") if name in raw} if isinstance(raw, dict) else {}
        wanted = convert(own, PreviewRange)
        if isinstance(raw, dict):
            raw = {"name": _ANY_NAME, "job": _ANY_JOB, **nested(raw)}
        spec = convert_schedule(raw)
        errors = check_schedule(spec)
        after = wanted.after or datetime.now(UTC)
        if after.tzinfo is None or after.year not in _YEARS:
            errors.append(
                FieldError("$.from", "has no offset or a year out of range; write it like 2026-11-24T02:00:00Z")
            )
        if errors:
            raise SpecError(errors)
        return schedule_documents.preview(spec, after, wanted.count)


class OneSchedule(Resource):
    @endpoint(Access.USER, "Show a schedule, by id, the beginning of one, or name", answer=ScheduleDocument)
    async def on_get(self, call: Call, schedule: str) -> Any:
        return schedule_documents.schedule(await find_schedule(call, schedule))

    @endpoint(
        Access.USER, "Change a schedule by a JSON merge patch", body="any part of a schedule", answer=ScheduleDocument
    )
    async def on_patch(self, call: Call, schedule: str) -> Any:
        """What is absent stays, null takes back to the default. Jobs that were made stay as they are."""
        patch = decode(await call.body())
        if not isinstance(patch, dict):
            raise SpecError([FieldError("$", "must be an object of what is to change")])
        row = await find_schedule(call, schedule)
        queues = await call.services.queue_names(call.caller)
        changes = nested_patch(patch)

        def change(before: ScheduleSpec) -> ScheduleSpec:
            try:
                return _sound(convert_schedule(merge_patch(schedule_documents.written(before), changes)), queues)
            except SpecError as error:
                raise (as_written_flat(error) if is_flat_patch(patch) else error) from None

        await check_inputs(call, [("$.job", change(decode_stored_schedule(row["document"])).job)])
        next_id = await call.services.id_source(call.caller)
        changed = await schedules.update(call.services.store, call.caller, row["id"], change, next_id)
        return schedule_documents.schedule(changed)

    @endpoint(Access.USER, "Delete a schedule and its history; jobs that it made stay", status=204)
    async def on_delete(self, call: Call, schedule: str) -> None:
        row = await find_schedule(call, schedule)
        await schedules.delete(call.services.store, call.caller, row["id"])

    @endpoint(Access.USER, "Let due instants pass without a job", body=Nothing, answer=ScheduleDocument, status=202)
    async def on_post_pause(self, call: Call, schedule: str) -> Any:
        await call.document(Nothing, optional=True)
        row = await find_schedule(call, schedule)
        return schedule_documents.schedule(await schedules.pause(call.services.store, call.caller, row["id"]))

    @endpoint(Access.USER, "Let a paused schedule fire again", body=Nothing, answer=ScheduleDocument, status=202)
    async def on_post_resume(self, call: Call, schedule: str) -> Any:
        await call.document(Nothing, optional=True)
        row = await find_schedule(call, schedule)
        return schedule_documents.schedule(await schedules.resume(call.services.store, call.caller, row["id"]))

    @endpoint(Access.USER, "Make a job of a schedule now", body=Nothing, answer=JobDocument, status=202)
    async def on_post_trigger(self, call: Call, schedule: str) -> Any:
        """Paused or not, and whatever its overlap policy says; its instants stay as they are."""
        await call.document(Nothing, optional=True)
        services = call.services
        row = await find_schedule(call, schedule)
        job_id = await schedules.trigger(services.store, call.caller, row["id"], await services.id_source(call.caller))
        detail = await read_detail(call, job_id, ids.encode(job_id))
        await services.hub.tell_changed([job_id] if detail.members is None else [])
        call.response.location = f"/v1/jobs/{ids.encode(job_id)}"
        return documents.job_detail(detail)

    @endpoint(
        Access.USER,
        "What became of each due instant, the latest first",
        query=HistoryQuery,
        answer=Page[FireDocument],
    )
    async def on_get_history(self, call: Call, schedule: str) -> Any:
        query: HistoryQuery = call.query
        row = await find_schedule(call, schedule)
        before = _history_cursor(query.cursor)
        rows = await schedules.history(call.services.store, call.caller, row["id"], query.limit, before)
        items = [schedule_documents.outcome(entry) for entry in rows[: query.limit]]
        last = rows[query.limit - 1] if len(rows) > query.limit else None
        cursor = None if last is None else f"{(last['due_at'] - _EPOCH) // _MICROSECOND}-{last['id']}"
        return {"items": items, "next_cursor": cursor}


def merge_patch(target: Any, patch: Any) -> Any:
    """Apply a JSON merge patch (RFC 7396): null removes, objects are merged, all else is replaced."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge_patch(result.get(name), value)
    return result


async def _checked(call: Call, raw: Any) -> ScheduleSpec:
    spec = _sound(convert_schedule(raw), await call.services.queue_names(call.caller))
    await check_inputs(call, [("$.job", spec.job)])
    return spec


def _sound(spec: ScheduleSpec, queues: frozenset[str]) -> ScheduleSpec:
    """Return the schedule. Raises SpecError that names every wrong place."""
    errors = check_schedule(spec)
    if spec.job.queue not in queues:
        known = ", ".join(sorted(queues)[:20])
        errors.append(FieldError("$.job.queue", f"there is no queue {spec.job.queue[:64]!r}; known are {known}"))
    if errors:
        raise SpecError(errors[:20])
    return spec


def _made_name(job: Any, key: Key | None) -> str:
    """Return the job's name, else one of its image. The same idempotency key makes the same name."""
    job = job if isinstance(job, dict) else {}
    if isinstance(job.get("name"), str) and job["name"]:
        return str(job["name"])
    image = re.sub(r"[@:].*", "", str(job.get("image") or "job").rpartition("/")[2])[:64]
    number = secrets.token_hex(4) if key is None else sha256(key.text.encode()).hexdigest()[:8]
    return f"{image}-{number}"


def _history_cursor(text: str) -> HistoryCursor | None:
    if not text:
        return None
    match = _HISTORY_CURSOR.fullmatch(text)
    if match is None:
        raise QueryError("cursor", "is not a cursor of this list; take next_cursor of the page before")
    return HistoryCursor(_EPOCH + int(match[1]) * _MICROSECOND, int(match[2]))
