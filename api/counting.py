"""Counts of jobs: of those that ended long ago they are kept in Redis, since a final state never changes."""

import contextlib
from typing import Final

import msgspec

from api.services import Services
from swarmsync.errors import Unavailable
from swarmsync.store import overview
from swarmsync.store.overview import Past, Stats
from swarmsync.store.sessions import answering
from swarmsync.store.users import Caller

#: How many records were deleted; counts of before that are counted anew.
DELETIONS_KEY: Final = "swarmsync:deletions"
#: Without a deletion they are counted anew after this long: should Redis not hear of one, a count is wrong no longer.
PAST_MS: Final = 600_000


async def stats(services: Services, caller: Caller) -> Stats:
    """Count what the caller sees. Without Redis all rows are counted."""
    past = None
    with contextlib.suppress(Unavailable):
        past = await _past(services, caller)
    return await overview.stats(services.store, caller, past)


async def tell_deleted(services: Services) -> None:
    """Say that records were deleted, once that is committed."""
    with contextlib.suppress(Unavailable), answering():
        await services.redis.incr(DELETIONS_KEY)


async def _past(services: Services, caller: Caller) -> Past:
    key = f"swarmsync:past:{'all' if caller.is_operator else caller.user_id}"
    with answering():
        kept, deletions = await services.redis.mget(key, DELETIONS_KEY)
    number = int(deletions or 0)
    if kept is not None:
        with contextlib.suppress(msgspec.DecodeError):
            past = msgspec.json.decode(kept, type=Past)
            if past.deletions == number:
                return past
    past = await overview.past(services.store, caller, deletions=number)
    with answering():
        await services.redis.set(key, msgspec.json.encode(past), px=PAST_MS)
    return past
