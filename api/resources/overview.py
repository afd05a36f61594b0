"""`/v1/stats`, `/v1/modules`: the whole at a glance."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from api import counting, documents
from api.access import Access
from api.answers.pages import Page
from api.answers.system import Curve, CurveStep, ModuleDocument, StatsDocument
from api.endpoint import Call, Resource, endpoint
from swarmsync.clock import rfc3339
from swarmsync.errors import NotFound, Unavailable
from swarmsync.model.durability import Judgement
from swarmsync.store import overview, records
from swarmsync.store.records import RecordFilter
from swarmsync.store.sessions import answering

#: The supervisor's figures of each module: a Redis hash, one JSON object per field.
MODULES_KEY: Final = "swarmsync:modules"
#: While it is there, the supervisor renews them four times a second, and else once.
WATCHED_KEY: Final = "swarmsync:modules:watched"
WATCHED_MS: Final = 5_000
RECENT_LOGS: Final = 20
ERRORS_KEY: Final = "swarmsync:errors"
ERRORS_MS: Final = 2_000
STATS_MS: Final = 1_000
CURVE_STEPS: Final = 90
PURPOSES: Final = {
    "harvester": "The only listener: takes what workers and the API say, writes verdicts, and feeds the Scheduler.",
    "scheduler": "Decides which job goes to which worker; no network, reads PostgreSQL only at its start.",
    "dispatcher": "The only speaker: turns placements into assignments and sends orders to workers.",
    "hibernator": "Wakes what waits for its time: delayed and retried jobs, schedules, time-outs in the queue.",
    "logger": "Writes the modules' journals and the output of containers into PostgreSQL, and keeps them in bounds.",
}


class Stats(Resource):
    @endpoint(Access.USER, "Counts by state, rates and latencies; users count their own jobs", answer=StatsDocument)
    async def on_get(self, call: Call) -> Any:
        services, caller = call.services, call.caller

        async def count() -> bytes:
            return msgspec.json.encode(_stats(await counting.stats(services, caller)))

        return await _kept(call, "stats", count)


class StatsRange(Struct, frozen=True, forbid_unknown_fields=True):
    """How far back; the answer has 90 steps however long that is."""

    minutes: Annotated[int, Meta(ge=5, le=1_440)] = 15


class StatsHistory(Resource):
    @endpoint(
        Access.USER,
        "Jobs that ended, and their time from submission to start, in 90 steps of the last minutes",
        query=StatsRange,
        answer=Curve,
    )
    async def on_get(self, call: Call) -> Any:
        query: StatsRange = call.query

        async def count() -> bytes:
            step_s = query.minutes * 60 // CURVE_STEPS
            last_s = int(call.services.clock.wall_ms() / 1_000) // step_s * step_s
            first_s = last_s - (CURVE_STEPS - 1) * step_s
            rows = await overview.curve(call.services.store, call.caller, step_s=step_s, from_s=first_s)
            found = {row["at"]: row for row in rows}
            items = [_step(at_s, found.get(at_s)) for at_s in range(first_s, last_s + 1, step_s)]
            return msgspec.json.encode({"step_s": step_s, "items": items})

        return await _kept(call, f"curve:{query.minutes}", count)


async def _kept(call: Call, name: str, count: Callable[[], Awaitable[bytes]]) -> bytes:
    """Answer from Redis for a second, or ten times as long as counting took."""
    services, caller = call.services, call.caller
    key = f"swarmsync:{name}:{'all' if caller.is_operator else caller.user_id}"
    with answering():
        kept: bytes | None = await services.redis.get(key)
    if kept is not None:
        return kept
    began_ms = services.clock.monotonic_ms()
    document = await count()
    took_ms = services.clock.monotonic_ms() - began_ms
    with answering():
        await services.redis.set(key, document, px=max(STATS_MS, 10 * took_ms))
    return document


def _step(at_s: int, row: Any) -> CurveStep:
    p50, p99 = (row["ms"] if row is not None else None) or (None, None)
    return {
        "at": rfc3339(datetime.fromtimestamp(at_s, UTC)),
        "ended": row["ended"] if row is not None else 0,
        "failed": row["failed"] if row is not None else 0,
        "submit_to_start_ms": {"p50": _rounded(p50), "p99": _rounded(p99)},
    }


def _stats(found: overview.Stats) -> StatsDocument:
    return {
        "jobs": found.jobs,
        "workers": found.workers,
        "waiting": found.waiting,
        "finished_last_minute": found.finished_last_minute,
        "submit_to_start_ms": {
            "p50": _rounded(found.submit_to_start_p50_ms),
            "p99": _rounded(found.submit_to_start_p99_ms),
            "jobs": found.measured,
        },
        "leader": found.leader,
    }


def _rounded(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(float(milliseconds), 3)


class Durability(Resource):
    @endpoint(
        Access.OPERATOR,
        "What an acknowledged job outlives: nothing, its machine's crashes, the machine's loss",
        answer=Judgement,
    )
    async def on_get(self, call: Call) -> Any:
        return await overview.durability(call.services.store, call.caller)


async def module_figures(call: Call) -> dict[str, dict[str, Any]]:
    """Return each module with its purpose and the figures of the last seconds; without those its state is unknown."""
    with answering():
        async with call.services.redis.pipeline(transaction=False) as pipeline:
            pipeline.hgetall(MODULES_KEY)
            pipeline.set(WATCHED_KEY, b"1", px=WATCHED_MS)
            kept, _ = await pipeline.execute()
    found: dict[str, dict[str, Any]] = {
        name: {"name": name, "purpose": text, "state": "unknown"} for name, text in PURPOSES.items()
    }
    for raw_name, raw in sorted(kept.items()):
        name = raw_name.decode(errors="replace").lower()
        try:
            figures = msgspec.json.decode(raw, type=dict[str, Any])
        except msgspec.DecodeError:
            continue
        found[name] = {"name": name, "purpose": "", "state": "unknown", **found.get(name, {}), **figures}
    return found


async def _last_errors(call: Call) -> dict[str, Any]:
    """Return the modules' last errors, kept for two seconds; none while nobody can be asked."""
    services = call.services
    try:
        with answering():
            kept: bytes | None = await services.redis.get(ERRORS_KEY)
        if kept is not None:
            return msgspec.json.decode(kept, type=dict[str, Any])
        rows = await overview.last_errors(services.store, call.caller, list(PURPOSES))
        found = {row["source"]: {"at": rfc3339(row["at"]), "message": row["message"]} for row in rows}
        with answering():
            await services.redis.set(ERRORS_KEY, msgspec.json.encode(found), px=ERRORS_MS)
    except (Unavailable, msgspec.DecodeError):
        return {}
    return found


class Modules(Resource):
    @endpoint(
        Access.USER,
        "The engine's modules: purpose, state, pulse lag, ring fill, rates, restarts, last error",
        answer=Page[ModuleDocument],
    )
    async def on_get(self, call: Call) -> Any:
        found = await module_figures(call)
        errors = await _last_errors(call) if call.caller.is_operator else {}
        items = [{**figures, "last_error": errors.get(name)} for name, figures in found.items()]
        return {"items": items, "next_cursor": None}


class OneModule(Resource):
    @endpoint(Access.USER, "One module; for operators with its recent log records", answer=ModuleDocument)
    async def on_get(self, call: Call, module: str) -> Any:
        figures = (await module_figures(call)).get(module.lower())
        if figures is None:
            raise NotFound(f"there is no module {module[:40]!r}; known are {', '.join(PURPOSES)}")
        if call.caller.is_operator:
            figures["last_error"] = (await _last_errors(call)).get(figures["name"])
            wanted = RecordFilter(limit=RECENT_LOGS, source=figures["name"])
            rows = await records.page(call.services.store, call.caller, wanted)
            figures["recent_logs"] = [documents.record(row) for row in rows[:RECENT_LOGS]]
        return figures
