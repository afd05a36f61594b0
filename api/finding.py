"""From an address to a job's id: a whole id, the unique beginning of one, or an array's member `ID[7]`."""

import re
from typing import Final

from api.endpoint import Call
from swarmsync import ids
from swarmsync.errors import Conflict, NotFound
from swarmsync.store import lists

PREFIX_MIN: Final = 4
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
