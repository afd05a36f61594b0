"""`/v1/jobs/{id}/why` and `/v1/jobs/plan`: what keeps a job waiting, or would keep one that is not there yet."""

from datetime import UTC, datetime
from typing import Any, Final, Literal

import asyncpg

from api import planning, strict_json
from api.access import Access
from api.answers.jobs import PlanDocument, Plans, WhyDocument
from api.endpoint import Call, Resource, endpoint
from api.finding import find_job, missing
from api.obituary import obituary
from api.submissions import Reader
from api.waiting import explain
from swarmsync.errors import FieldError, SpecError, Unavailable
from swarmsync.model.explanation import Blocker, Explanation, read
from swarmsync.model.job import Waiting
from swarmsync.model.lifecycle import FINAL, WAITING, JobState, WaitReason
from swarmsync.model.spec import JobSpec
from swarmsync.protocol.messages import Ask
from swarmsync.store import dependencies, details, ledgers, lists, waits
from swarmsync.store.details import JobDetail
from swarmsync.store.jobs import waiting_of
from swarmsync.store.ledgers import Past
from swarmsync.store.submit import Draft
from swarmsync.store.waits import Parent, Waits

ASK_S: Final = 1.0
#: Specs of one request to plan: each is a question of its own.
PLANS_MAX: Final = 20
_FINAL: Final = frozenset(FINAL)
_WAITING: Final = frozenset(WAITING)


class Why(Resource):
    @endpoint(
        Access.USER,
        "Why a job does not run yet and what would help; what ended one that is over",
        answer=WhyDocument,
    )
    async def on_get(self, call: Call, job: str) -> Any:
        job_id = await find_job(call, job)
        detail, past, unmet = await _read(call, job_id, job)
        row, position, answer = detail.job, None, None
        if row["state"] in _WAITING and not _is_array(row):
            kind: Literal["why", "plan"] = "why" if row["state"] == JobState.QUEUED else "plan"
            answer = await _ask(call, kind, waiting_of(row))
        if row["state"] == JobState.QUEUED and (answer is None or answer.position is None):
            ahead = await lists.ahead(call.services.store, call.caller, job_id)
            position = None if ahead is None else ahead + 1
        return explain(row, position, answer, unmet) | {"ended": obituary(detail, past.stopped)}


async def _read(call: Call, job_id: int, text: str) -> tuple[JobDetail, Past, Waits]:
    async def work(connection: asyncpg.Connection) -> tuple[JobDetail, Past, Waits] | None:
        found = await details.read(connection, job_id, reasons=True)
        if found is None:
            return None
        over = found.job["state"] in _FINAL
        past = await ledgers.read(connection, found) if over else Past([], "")
        return found, past, Waits([], []) if over else await waits.read(connection, found.job)

    whole = await call.services.store.run(work, **call.caller.settings)
    if whole is None:
        raise missing(text)
    return whole


def _is_array(row: lists.Row) -> bool:
    return row["array_size"] is not None and row["array_id"] is None


async def _ask(call: Call, kind: Literal["why", "plan"], job: Waiting) -> Explanation | None:
    """Ask the Scheduler; None where the rows must do."""
    text = await call.services.hub.ask(Ask("", kind, job), ASK_S)
    answer = None if text is None else read(text)
    return None if answer is None or answer.busy else answer


class Plan(Resource):
    @endpoint(
        Access.USER,
        "Where and when a job of this spec would start, and why not now; changes nothing",
        body=JobSpec,
        answer=PlanDocument | Plans,
    )
    async def on_post(self, call: Call) -> Any:
        body, now = await call.body(), datetime.now(UTC)
        reader = Reader(await call.services.queue_names(call.caller), now)
        members = strict_json.split(body)
        if members is None or "jobs" not in members:
            return await _plan(call, reader.one(body), now, "$", 0)
        drafts = await reader.batch(members, PLANS_MAX)
        return {"jobs": [await _plan(call, made, now, f"$.jobs[{index}]", index) for index, made in enumerate(drafts)]}


async def _plan(call: Call, made: Draft, now: datetime, root: str, before: int) -> dict[str, Any]:
    """`before`: how many specs stand before this one in the request."""
    places = [dependencies.sibling_of(entry) for entry in made.spec.after]
    siblings = [place for place in places if place is not None and place < before]

    async def work(connection: asyncpg.Connection) -> tuple[list[Parent], str, lists.Row | None]:
        numbers = await dependencies.parents_of(connection, made.spec.after)
        states = await waits.states(connection, [number for number in numbers if number is not None])
        for index, (number, place) in enumerate(zip(numbers, places, strict=True)):
            if number not in states and place not in siblings:
                name = made.spec.after[index].job[:40]
                raise SpecError([FieldError(f"{root}.after[{index}].job", f"there is no job {name!r}")])
        job = planning.waiting_of(made, call.caller.user_id)
        told = await connection.fetchrow("SELECT reason, message FROM waiting_lines WHERE line = $1", job.line)
        parents = planning.unmet(made.spec.after, numbers, states)
        return parents, await _refused(connection, made), told

    parents, refused, told = await call.services.store.run(work, **call.caller.settings)
    answer = await _ask(call, "plan", planning.waiting_of(made, call.caller.user_id))
    if answer is None:
        if told is None:
            raise Unavailable("the Scheduler does not answer; try again in a moment")
        answer = Explanation((Blocker(WaitReason(told["reason"]), told["message"]),), verdict="waits")
    return planning.plan(made, now, answer, parents, siblings, refused)


async def _refused(connection: asyncpg.Connection, made: Draft) -> str:
    """Say why a submission would be refused now, as `store.concurrency` would."""
    wanted = made.spec.concurrency
    if wanted is None or wanted.on_limit != "reject":
        return ""
    there = await connection.fetchval("SELECT jobs_of_key($1)", wanted.key)
    count = 1 if made.spec.array is None else made.spec.array.size()
    if there + count <= wanted.limit:
        return ""
    return f"concurrency key {wanted.key!r} has {there} of {wanted.limit} jobs already, and on_limit is reject"
