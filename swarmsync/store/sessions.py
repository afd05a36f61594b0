"""Sessions and login throttles in Redis. Emptying it logs everybody out and loses nothing else.

A session is found by the SHA-256 of its token only. While Redis is away, Unavailable is raised: nobody gets in.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

import msgspec
from msgspec import Struct
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from swarmsync.errors import Unavailable
from swarmsync.store.users import new_token

FREE_FAILURES: Final = 5
DELAY_MAX_S: Final = 900
_MEMORY_S: Final = 86_400  # failures are forgotten a day after the last one
#: One round trip: refuse while a delay runs, else count this try as failed (`forget` takes it back) and set the next
#: delay. Two guesses at the same time therefore count as two.
_TRY: Final = """
local left = redis.call('PTTL', KEYS[2])
if left > 0 then return left end
local failures = redis.call('INCR', KEYS[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
if failures > tonumber(ARGV[1]) then
  local delay = math.min(2 ^ (failures - ARGV[1] - 1), tonumber(ARGV[3]))
  redis.call('SET', KEYS[2], '1', 'PX', math.floor(delay * 1000))
end
return 0
"""


class Session(Struct, frozen=True):
    user_id: int
    epoch: int
    expires_at: datetime


@contextmanager
def answering() -> Iterator[None]:
    """Turn what Redis raises while it is away into Unavailable."""
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise Unavailable(f"Redis does not answer ({type(error).__name__})") from error


def open_redis(url: str) -> Redis:
    """Make a client with bounded waits; nothing is connected yet."""
    return Redis.from_url(
        url,
        socket_timeout=2,
        socket_connect_timeout=2,
        retry=Retry(NoBackoff(), 1),
        max_connections=64,
        health_check_interval=15,
    )


class Sessions:
    def __init__(self, redis: Any) -> None:
        self._redis = redis

    async def create(self, user_id: int, epoch: int, hours: int) -> tuple[str, datetime]:
        """Begin a session; returns its token, which is nowhere stored, and its end."""
        token, digest = new_token("s")
        session = Session(user_id, epoch, datetime.now(UTC) + timedelta(hours=hours))
        with answering():
            await self._redis.set(_key(digest), msgspec.json.encode(session), ex=hours * 3600)
        return token, session.expires_at

    async def find(self, digest: bytes) -> Session | None:
        with answering():
            found = await self._redis.get(_key(digest))
        return None if found is None else msgspec.json.decode(found, type=Session)

    async def end(self, digest: bytes) -> None:
        with answering():
            await self._redis.delete(_key(digest))

    async def may_try(self, username: str) -> int:
        """Note a try to log in; returns the milliseconds to wait when it may not be made now, else 0."""
        with answering():
            left = await self._redis.eval(_TRY, 2, *_throttle(username), FREE_FAILURES, _MEMORY_S, DELAY_MAX_S)
        return int(left)

    async def forget_failures(self, username: str) -> None:
        with answering():
            await self._redis.delete(*_throttle(username))

    async def ping(self) -> None:
        with answering():
            await self._redis.ping()


def _key(digest: bytes) -> str:
    return f"swarmsync:session:{digest.hex()}"


def _throttle(username: str) -> tuple[str, str]:
    name = sha256(username.encode()).hexdigest()[:32]
    return f"swarmsync:throttle:{{{name}}}:failures", f"swarmsync:throttle:{{{name}}}:delay"
