"""`plan`: where and when a job of this spec would start if it were submitted now, and why not at once. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from api.waiting import PARENTS_NAMED, dependency, shown
from swarmsync.clock import rfc3339
from swarmsync.model.explanation import Explanation, in_order
from swarmsync.model.job import Waiting
from swarmsync.model.lifecycle import FINAL, JobState, WaitReason
from swarmsync.model.rules import line_of, read_rules
from swarmsync.model.spec import After
from swarmsync.store.submit import Draft, start_of
from swarmsync.store.waits import Parent

W = WaitReason
#: The last of all ids: what is only planned stands behind everything that was submitted.
PLANNED_ID: Final = (1 << 63) - 1
_NEVER: Final = frozenset({W.UNSATISFIABLE.value, W.DEPENDENCY_NEVER_SATISFIED.value})
_UNSUCCESSFUL: Final = frozenset({JobState.FAILED, JobState.TIMED_OUT})
_FINAL: Final = frozenset(FINAL)


def waiting_of(made: Draft, user_id: int) -> Waiting:
    """Return the job as the Scheduler would see it; of an array any one member."""
    array_id = PLANNED_ID if made.spec.array is not None else None
    line = line_of(made.shape, user_id, made.spec.queue, made.rules, array_id)
    rules = read_rules(made.rules)
    spec = made.spec
    return Waiting(PLANNED_ID, made.shape, made.need, spec.priority, user_id, spec.queue, line, rules, array_id)


def unmet(after: Sequence[After], numbers: Sequence[int | None], states: Mapping[int, str]) -> list[Parent]:
    """Return the parents whose condition does not hold yet, as `store.waits` would once the job is there."""
    found = []
    for entry, parent in zip(after, numbers, strict=True):
        if parent is not None and parent in states:
            met = _met(entry.when, states[parent])
            if met is not True:
                found.append(Parent(parent, entry.when, met, states[parent]))
    return found


def _met(condition: str, state: str) -> bool | None:
    if state not in _FINAL:
        return None
    if condition == "finished":
        return True
    return state == JobState.SUCCEEDED if condition == "succeeded" else state in _UNSUCCESSFUL


def plan(
    made: Draft,
    now: datetime,
    answer: Explanation,
    parents: Sequence[Parent] = (),
    siblings: Sequence[int] = (),
    refused: str = "",
) -> dict[str, Any]:
    """Return the answer of `POST /v1/jobs/plan`. `refused` is why it would not even be taken.

    `siblings` are the places of specs of the same request that it comes after; they have no ids yet.
    """
    start, moment = start_of(made.spec, now), rfc3339(now)
    blockers: list[dict[str, Any]] = []
    if start.run_at is not None and start.run_at > now:
        sentence = f"starts at {rfc3339(start.run_at)}"
        blockers.append({"reason": W.START_TIME.value, "message": sentence, "since": moment})
    blockers += dependency(parents, moment)
    if siblings:
        sentence = f"waits for {', '.join(f'#{place}' for place in siblings[:PARENTS_NAMED])} of the same request"
        blockers.append({"reason": W.DEPENDENCY.value, "message": sentence, "since": moment, "parents": []})
    first = len(blockers)  # of those so far each keeps it from starting at once
    blockers += [shown(blocker, moment) for blocker in answer.blockers if blocker.reason is not W.EVALUATING]
    blockers = in_order(blockers)
    if refused:
        blockers.insert(0, {"reason": W.CONCURRENCY_LIMIT.value, "message": refused, "since": moment})
    never = bool(refused) or answer.verdict == "never" or any(entry["reason"] in _NEVER for entry in blockers)
    waits = bool(first) or answer.hindered or answer.verdict == "waits"
    verdict = "never" if never else "later" if waits else "now"
    expected = None if parents or siblings else _starts_at(now, start.run_at, answer)
    return {
        "verdict": verdict,
        "message": _sentence(verdict, answer, blockers),
        "worker": answer.worker if verdict == "now" else None,
        "starts_at": None if never else rfc3339(expected),
        "state": start.state.value,
        "blockers": blockers,
        "position": answer.position,
        "would_start_if": list(answer.would_start_if),
        "jobs": 1 if made.spec.array is None else made.spec.array.size(),
    }


def _starts_at(now: datetime, run_at: datetime | None, answer: Explanation) -> datetime | None:
    """When it is expected to start; None where that is not known."""
    if answer.start_in_ms is None and answer.hindered:
        return None
    expected = now + timedelta(milliseconds=min(max(answer.start_in_ms or 0, 0), 10**14))
    return expected if run_at is None else max(expected, run_at)


def _sentence(verdict: str, answer: Explanation, blockers: Sequence[Mapping[str, Any]]) -> str:
    if verdict == "now":
        return f"it would start at once{f' on worker {answer.worker}' if answer.worker else ''}"
    lead = "it would never start" if verdict == "never" else "it would wait"
    first = next((entry for entry in blockers if entry.get("blocking", True)), None)
    return lead if first is None else f"{lead}: {first['reason']}, {first['message']}"
