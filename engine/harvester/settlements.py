"""From the end of an assignment to the row that records it. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from engine.harvester.registry import Gone
from engine.harvester.verdicts import INFRASTRUCTURE, End, decide, grown_memory
from swarmsync.model.job import Grown, JobRef, Settlement
from swarmsync.model.lifecycle import EndReason, JobState, WaitReason
from swarmsync.model.resources import DURATION_MAX_MS as SPENT_MAX_MS
from swarmsync.model.resources import Need
from swarmsync.model.result import EMPTY_SHA256, NOTHING_SPENT
from swarmsync.model.rules import line_of
from swarmsync.model.spec import JobSpec, shape_of
from swarmsync.protocol.codec import decode_stored_spec
from swarmsync.protocol.messages import Ended, OutputSum, Progress, Reports, Spent, Started, StreamSum

_NOTHING_SPENT: Final = Spent()
_SILENT: Final = StreamSum(0, 0, EMPTY_SHA256)


def last_words(messages: Iterable[Reports]) -> tuple[list[Started], list[Progress], list[Ended]]:
    """Sort reports by kind, one of each per assignment; what has ended is not told as started or moved any more.

    But a beginning that names the image is, unless all went well: later attempts of the job get that very image.
    """
    starts: dict[JobRef, Started] = {}
    steps: dict[JobRef, Progress] = {}
    ends: dict[JobRef, Ended] = {}
    for message in messages:
        for report in message.reports:
            match report:
                case Ended():
                    ends[report.ref] = report
                case Started():
                    starts[report.ref] = report
                case Progress():
                    steps[report.ref] = report
    return (
        [
            start
            for ref, start in starts.items()
            if ref not in ends or (start.image and ends[ref].reason is not EndReason.COMPLETED)
        ],
        [step for ref, step in steps.items() if ref not in ends],
        list(ends.values()),
    )


def succeeded(end: Ended) -> Settlement:
    """The common case, which needs no look at the job."""
    return Settlement(
        end.ref,
        JobState.SUCCEEDED,
        EndReason.COMPLETED,
        end.message,
        end.exit_code,
        0,
        0,
        0,
        ran_ms(end),
        result_of(end),
        "ended",
        JobState.SUCCEEDED,
        EndReason.COMPLETED,
        end.message,
    )


def judge(end: Ended, row: Mapping[str, Any], crash_limit: int, chance: float) -> Settlement:
    """Judge an end that is no success; `row` as `store.jobs.ends` reads it."""
    stop = EndReason(row["stop_reason"]) if row["stop_reason"] else None
    facts = End(end.reason, end.message, end.exit_code, row["tries"], row["crashes"], stop)
    spec = decode_stored_spec(row["document"])
    verdict = decide(facts, spec.retry, crash_limit=crash_limit, chance=chance)
    again = verdict.state in (JobState.QUEUED, JobState.SCHEDULED)
    grown = _grown(spec, row) if again and end.reason is EndReason.OOM_KILLED else None
    return Settlement(
        end.ref,
        verdict.state,
        verdict.reason,
        verdict.message,
        end.exit_code,
        verdict.delay_ms,
        verdict.tries,
        verdict.crashes,
        ran_ms(end),
        result_of(end),
        "lost" if end.reason is EndReason.WORKER_LOST else "ended",
        _outcome(end.reason),
        end.reason,
        end.message,
        grown=grown,
    )


def _grown(spec: JobSpec, row: Mapping[str, Any]) -> Grown | None:
    """What the next attempt needs after an OOM kill, or None where it is the same."""
    memory_bytes = grown_memory(spec.retry, row["memory_bytes"])
    if memory_bytes == row["memory_bytes"]:
        return None
    wanted = Need(row["cpus_milli"], memory_bytes, row["gpus"], row["disk_bytes"])
    shape = shape_of(wanted, spec.constraints)
    return Grown(memory_bytes, shape, line_of(shape, row["user_id"], row["queue"], row["rules"], row["array_id"]))


def of_gone(gone: Gone, *, delay_ms: int = 0) -> Settlement:
    """A first draft for an assignment without a report; `judge_gone` fills in the job's next state.

    `delay_ms` is for refusals: at once, the same job would come to the same worker, and be refused, as fast as it goes.
    """
    return Settlement(
        gone.ref,
        JobState.SCHEDULED if delay_ms else JobState.QUEUED,
        WaitReason.RETRY_BACKOFF if delay_ms else "",
        gone.message,
        None,
        delay_ms,
        0,
        1 if gone.began else 0,
        None,
        None,
        "lost",
        "lost",
        gone.reason,
        gone.message,
        gone.orders,
    )


def judge_gone(draft: Settlement, row: Mapping[str, Any], crash_limit: int, chance: float) -> Settlement:
    """What the loss means for the job. An order that never began costs nothing, unless the job was to stop anyway."""
    stop = EndReason(row["stop_reason"]) if row["stop_reason"] else None
    if not draft.crashes and stop is None:
        return draft
    facts = End(EndReason.WORKER_LOST, draft.message, None, row["tries"], row["crashes"], stop)
    retry = decode_stored_spec(row["document"]).retry
    verdict = decide(facts, retry, crash_limit=crash_limit, chance=chance)
    return Settlement(
        draft.ref,
        verdict.state,
        verdict.reason,
        verdict.message,
        None,
        verdict.delay_ms,
        0,
        verdict.crashes,
        None,
        None,
        draft.assignment_state,
        draft.outcome,
        draft.assignment_reason,
        draft.assignment_message,
        draft.orders,
    )


def not_before(entry: Settlement, delay_ms: int) -> Settlement:
    """Let what is tried again wait for so long at least."""
    if entry.state not in (JobState.QUEUED, JobState.SCHEDULED) or entry.delay_ms >= delay_ms:
        return entry
    return msgspec.structs.replace(entry, state=JobState.SCHEDULED, reason=WaitReason.RETRY_BACKOFF, delay_ms=delay_ms)


def ran_ms(end: Ended) -> int | None:
    """How long the container ran by the worker's clock: only the difference is used, so its zone and skew are not."""
    return None if end.started_ms is None else max(0, end.at_ms - end.started_ms)


def result_of(end: Ended) -> dict[str, Any]:
    """Return what is stored of an end: no more than where it differs from one that wrote and measured nothing."""
    result: dict[str, Any] = {}
    if end.stdout != _SILENT:
        result["stdout"] = _stream(end.stdout)
    if end.stderr != _SILENT:
        result["stderr"] = _stream(end.stderr)
    if end.cpu_ms is not None:
        result["cpu_ms"] = end.cpu_ms
    if end.memory_peak_bytes is not None:
        result["memory_peak_bytes"] = end.memory_peak_bytes
    if (ran := ran_ms(end)) is not None:
        result["ran_ms"] = ran
    if end.spent != _NOTHING_SPENT:
        result["spent"] = spent_of(end.spent)
    if end.outputs:
        result["outputs"] = [_output(output) for output in end.outputs]
    return result


def _output(output: OutputSum) -> dict[str, Any]:
    return {name: getattr(output, name) for name in OutputSum.__struct_fields__}


def spent_of(spent: Spent) -> dict[str, int]:
    """What a worker measured, within bounds: a wrong clock there must not make a wrong row here."""
    if spent == _NOTHING_SPENT:
        return dict(NOTHING_SPENT)
    return {name: min(max(getattr(spent, name), 0), SPENT_MAX_MS) for name in Spent.__struct_fields__}


def _stream(stream: StreamSum) -> dict[str, Any]:
    kept = {"kept_sha256": stream.kept_sha256} if stream.kept_sha256 else {}
    return {"size": stream.size, "kept": stream.kept, "sha256": stream.sha256, **kept}


def _outcome(reason: EndReason) -> str:
    if reason in INFRASTRUCTURE:
        return "lost"
    if reason in (EndReason.TIMEOUT, EndReason.DEADLINE_PASSED):
        return JobState.TIMED_OUT
    if reason in (EndReason.CANCELLED_BY_USER, EndReason.CANCELLED_BY_POLICY):
        return JobState.CANCELLED
    return JobState.FAILED
