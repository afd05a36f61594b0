"""From what somebody wrote to what is meant: a job by its id, the unique beginning of one or `ID[7]`; a schedule."""

import re
from typing import Final

from api.endpoint import Call
from swarmsync import ids
from swarmsync.errors import Conflict, NotFound
from swarmsync.model.spec import NAME_MAX
from swarmsync.store import lists, schedules
from swarmsync.store.lists import Row
from swarmsync.store.schedules import ScheduleFilter

PREFIX_MIN: Final = 4
CANDIDATES_MAX: Final = 5
_INDEX: Final = re.compile(r"([0-9a-z]{4,13})\[(\d{1,9})\]")


async def find_job(call: Call, text: str) -> int:
    """Return the id. A whole id is not looked up here. Raises NotFound, or Conflict that names the candidates."""
    member = _INDEX.fullmatch(text)
    if member is not None:
        array_id = await find_job(call, member[1])
        found = await lists.member(call.services.store, call.caller, array_id, int(member[2]))
        if found is None:
            raise missing(text)
        return found
    whole = ids.decode(text)
    if whole is not None:
        return whole
    bounds = ids.prefix_range(text) if PREFIX_MIN <= len(text) < len(ids.encode(0)) else None
    if bounds is None:
        raise missing(text)
    candidates = await lists.candidates(call.services.store, call.caller, *bounds)
    if not candidates:
        raise missing(text)
    if len(candidates) > 1:
        names = ", ".join(ids.encode(number) for number in candidates)
        raise Conflict(f"several jobs begin with {text}: {names}{', ...' if len(candidates) > 5 else ''}")
    return candidates[0]


def missing(text: str) -> NotFound:
    """The same words for what does not exist and for what belongs to somebody else."""
    return NotFound(f"there is no job {text[:40]!r}")


async def find_schedule(call: Call, text: str) -> Row:
    """Return the schedule of this id, name, or unique beginning of an id, in this order. Raises NotFound, Conflict.

    A name is looked for among the caller's own first; operators see the others' names, too.
    """
    store, caller = call.services.store, call.caller
    if not 0 < len(text) <= NAME_MAX or "\x00" in text:
        raise _no_schedule(text)
    number = ids.decode(text)
    for which in (number, text):
        try:
            if which is not None:
                return await schedules.one(store, caller, which)
        except NotFound:
            continue
    rows: list[Row] = []
    if caller.is_operator and not text.endswith("*"):
        rows = await schedules.list_page(store, caller, ScheduleFilter(name=text), CANDIDATES_MAX)
    bounds = ids.prefix_range(text) if PREFIX_MIN <= len(text) < len(ids.encode(0)) else None
    if not rows and bounds is not None:
        below = await schedules.list_page(
            store, caller, ScheduleFilter(), CANDIDATES_MAX, min(bounds[1] + 1, (1 << 63) - 1)
        )
        rows = [row for row in below if row["id"] >= bounds[0]]
    if not rows:
        raise _no_schedule(text)
    if len(rows) > 1:
        named = ", ".join(
            f"{ids.encode(row['id'])} ({row['username']}'s {row['name']})" for row in rows[:CANDIDATES_MAX]
        )
        raise Conflict(f"several schedules are called or begin with {text}: {named}")
    return rows[0]


def _no_schedule(text: str) -> NotFound:
    """The same words for what does not exist and for what belongs to somebody else."""
    return NotFound(f"there is no schedule {text[:40]!r}")
